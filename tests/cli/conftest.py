"""What commands do to the process that they run in is undone after each test."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from tests.cli.commands import KEY
from tests.cli.live import Omni, simulated


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


@pytest.fixture
def omni(own_state: None) -> Iterator[Callable[..., Omni]]:
    """Starts a simulated instance, which serves until the test has ended."""
    with ExitStack() as running:
        yield lambda **sections: running.enter_context(simulated(**sections))


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, and a state folder of the test's own, for commands here and in processes of their own."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)
    monkeypatch.setenv("OMNI_REFRESH_STATE_DIR", str(tmp_path / "state"))
