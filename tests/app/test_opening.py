"""How a run opens a state that machines share."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.app import runs, state
from orchestrator.app.requests import EarlierRunRequest
from tests.app.contexts import make_context


def test_a_state_that_opens_after_its_run_was_cancelled_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread can be cancelled: what it opens late would show its process as at work for as long as the process lives."""
    steps: list[str] = []
    is_opening, may_open = threading.Event(), threading.Event()

    @contextmanager
    def open_slowly(*_: object, **__: object) -> Iterator[object]:
        is_opening.set()
        assert may_open.wait(10)
        steps.append("opened")
        yield object()
        steps.append("closed")

    monkeypatch.setattr(state, "open_state", open_slowly)
    context = make_context(tmp_path, {"OMNI_REFRESH_STATE": "postgresql://db.invalid/omni"})

    async def main() -> None:
        task = asyncio.create_task(runs.resume_run(EarlierRunRequest(), context))
        assert await asyncio.to_thread(is_opening.wait, 10)
        task.cancel()
        asyncio.get_running_loop().call_soon(may_open.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert steps == ["opened", "closed"]
