"""Running processes: locks name their holder, and what a process held becomes free when it dies, however it dies."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.journal.database import JournalError
from orchestrator.journal.locks import Locks, lane_prefix, root_lock, run_lock
from orchestrator.journal.processes import ProcessRecord
from tests.journal.stores import Place, die, enter_place

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Moments:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def enter(place: Place, run: str, clock: Moments | None = None, boot: str = "b") -> ProcessRecord:
    """Begin to be at work."""
    return enter_place(place, run=run, since=AT, now=clock or Moments(), boot=boot)


def test_a_lock_names_its_holder(place: Place) -> None:
    """Host, process, since when and which run; the holder itself may take it again."""
    one, two = enter(place, "run-1"), enter(place, "run-2")
    mine, yours = Locks(one), Locks(two)
    assert mine.take("x", since=AT) is None
    assert mine.take("x", since=AT) is None
    assert mine.holder("x") is None
    holder = yours.take("x", since=AT)
    assert holder is not None
    assert (holder.run, holder.pid, holder.since) == ("run-1", os.getpid(), AT)
    assert "run run-1 (pid" in str(holder)
    assert "since 2026-01-02 03:04:05 UTC" in str(holder)
    assert yours.holder("x") == holder
    mine.give_back_names(one.database, ["x"])
    assert yours.holder("x") is None
    assert yours.take("x", since=AT) is None
    assert mine.take("x", since=AT) is not None
    one.leave()
    two.leave()


def test_no_process_gives_back_what_another_holds(place: Place) -> None:
    """A lock is let go of by its holder alone."""
    one, two = enter(place, "run-1"), enter(place, "run-2")
    assert Locks(one).take("x", since=AT) is None
    Locks(two).give_back_names(two.database, ["x"])
    assert Locks(two).take("x", since=AT) is not None
    one.leave()
    two.leave()


@pytest.mark.parametrize("in_order", [False, True])
def test_a_lock_goes_with_its_process(in_order: bool, tmp_path: Path) -> None:
    """Whether it leaves in order or dies, and nothing of it stays in the folder."""
    one, two = enter(tmp_path, "run-1"), enter(tmp_path, "run-2")
    assert Locks(one).take("x", since=AT) is None
    one.leave() if in_order else die(one)
    assert Locks(two).take("x", since=AT) is None
    assert two.others() == 0
    two.leave()
    assert not list((tmp_path / "owners").iterdir())


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    """SIGKILL, in a process of its own."""
    program = (
        "import sys, time; from pathlib import Path; from datetime import datetime, UTC\n"
        "from orchestrator.journal.processes import LocalProcess; from orchestrator.journal.locks import Locks\n"
        "o = LocalProcess.enter(Path(sys.argv[1]), run='killed', since=datetime.now(UTC), now=time.monotonic, boot='b')\n"
        "Locks(o).take('x', since=datetime.now(UTC)); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        mine = enter(tmp_path, "run-2")
        holder = Locks(mine).take("x", since=AT)
        assert holder is not None
        assert (holder.run, holder.pid) == ("killed", process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert Locks(mine).take("x", since=AT) is None
        mine.leave()


def test_the_dead_are_looked_for_now_and_then(tmp_path: Path) -> None:
    """Not more often than it is asked for: looking costs a system call for each process."""
    clock = Moments()
    one, two = enter(tmp_path, "run-1"), enter(tmp_path, "run-2", clock)
    die(one)
    assert not two.reap_dead(every_s=1.0)
    clock.now += 1
    assert two.reap_dead(every_s=1.0)
    assert not two.reap_dead()
    two.leave()


def test_an_owner_whose_file_is_gone_is_dead(tmp_path: Path) -> None:
    """Files in the folder were deleted: a process without its locked file holds nothing."""
    one, two = enter(tmp_path, "run-1"), enter(tmp_path, "run-2")
    assert Locks(one).take("x", since=AT) is None
    (tmp_path / "owners" / f"{one.token}.lock").unlink()
    assert Locks(two).take("x", since=AT) is None
    one.leave()
    two.leave()


def test_owners_that_cannot_be_kept_are_an_error(tmp_path: Path) -> None:
    """A file in the folder's place is told before anything is sent."""
    (tmp_path / "owners").write_text("")
    with pytest.raises(JournalError, match="locks cannot be kept"):
        enter(tmp_path, "run-1")


def test_the_active_roots(tmp_path: Path) -> None:
    """Those whose plans a live process works on: not those of the dead, and no other lock."""
    one, two = enter(tmp_path, "run-1"), enter(tmp_path, "run-2")
    assert Locks(one).take(root_lock("r1"), since=AT) is None
    assert Locks(two).take(root_lock("r2"), since=AT) is None
    assert Locks(two).take(lane_prefix("h") + "c", since=AT) is None
    assert Locks(one).locked_roots() == {"r1", "r2"}
    die(two)
    assert Locks(one).locked_roots() == {"r1"}
    one.leave()


def test_names_of_locks() -> None:
    """A manifest and its selection, in whatever order it was said; a run's plan; an instance's connection."""
    assert run_lock("/m.yaml", ["a", "b"]) == run_lock("/m.yaml", ["b", "a"])
    assert (
        len({run_lock("/m.yaml", []), run_lock("/n.yaml", []), run_lock("/m.yaml", ["a"]), run_lock("/m.yamla", [])})
        == 4
    )
    assert run_lock("/m\udce4.yaml", [])
    assert root_lock("r") != lane_prefix("r")
    assert lane_prefix("h\ud800").isascii()
