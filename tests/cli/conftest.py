"""What commands do to the process that they run in is undone after each test."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Signal handlers and the log as they were; a working directory of the test's own.

    Commands run as people run them: debugging asyncio would tell on stderr of whatever takes long on a busy machine.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONASYNCIODEBUG")
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    structlog.reset_defaults()
