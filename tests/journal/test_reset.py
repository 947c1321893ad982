"""Damaged state is moved aside as a whole, and never from under a process that uses it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.clock import Clock
from orchestrator.errors import LockedError
from orchestrator.journal.database import JournalError
from orchestrator.journal.journal import Journal
from orchestrator.journal.processes import LocalProcess
from orchestrator.journal.shared_window import SharedWindow
from orchestrator.journal.slots import OwnSlots
from orchestrator.journal.state_folder import read_salt, reset_state
from tests.quota.windows import at_once

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CLOCK = Clock(lambda: 100.0, lambda: AT)


def reset(folder: Path) -> Path | None:
    """Move the state in a folder aside."""
    return reset_state(folder, at=AT, now=100.0, boot="b")


def enter(folder: Path) -> LocalProcess:
    """Begin to be at work."""
    return LocalProcess.enter(folder, run="r", since=AT, now=CLOCK.now, boot="b")


def used(folder: Path) -> None:
    """A state folder with everything in it, the logs of its databases included, as a crash leaves them."""
    read_salt(folder)
    journal, owner = Journal.open(folder, clock=CLOCK, boot="b"), enter(folder)
    owner.leave()
    journal.close()
    for name in ("journal.db", "shared.db"):
        for suffix in ("-wal", "-shm"):
            (folder / f"{name}{suffix}").write_bytes(b"left")


def test_all_of_it_is_moved_and_nothing_else(tmp_path: Path) -> None:
    """Both databases, their logs, the owners and the salt; what others keep in the folder stays."""
    used(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "journal.db").write_bytes(b"damaged")
    aside = reset(tmp_path)
    assert aside == tmp_path / "reset-20260102T030405"
    assert sorted(p.name for p in aside.iterdir()) == [
        *("journal.db", "journal.db-shm", "journal.db-wal", "owners", "salt"),
        *("shared.db", "shared.db-shm", "shared.db-wal"),
    ]
    assert (aside / "journal.db").read_bytes() == b"damaged"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt", aside.name, "shared.db"]
    journal, owner = Journal.open(tmp_path, clock=CLOCK, boot="b"), enter(tmp_path)
    assert journal.runs() == ()
    owner.leave()
    journal.close()
    # a second one does not overwrite the first
    assert reset(tmp_path) == tmp_path / "reset-20260102T030405-2"


def test_the_next_run_waits_for_a_window(tmp_path: Path) -> None:
    """What was sent before is not known any more, so that no key may send for one window."""
    used(tmp_path)
    reset(tmp_path)
    owner = enter(tmp_path)
    window = SharedWindow(OwnSlots(owner, "k", 60.0), requests=5, is_share=False, broke=lambda _: None)
    assert at_once(window.take(100.0, 5)) is None
    assert at_once(window.take(160.0, 5)) is None
    assert at_once(window.take(161.0, 5)) is not None
    owner.leave()


def test_it_is_refused_while_a_process_runs(tmp_path: Path) -> None:
    """Exit code 4, and nothing is moved."""
    owner = enter(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(LockedError, match="another process uses") as locked:
        reset(tmp_path)
    assert locked.value.code == "state-in-use"
    other = enter(tmp_path)
    with pytest.raises(LockedError, match="2 other processes use"):
        reset(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    other.leave()
    owner.leave()


def test_without_state_there_is_nothing_to_move(tmp_path: Path) -> None:
    """An empty folder, or none, is left as it is."""
    assert reset(tmp_path) is None
    assert reset(tmp_path / "nowhere") is None
    assert list(tmp_path.iterdir()) == []


def refuse(*_: object) -> None:
    """What a read-only disk answers."""
    raise OSError(1, "no")


def test_files_that_cannot_be_moved_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, in one line."""
    used(tmp_path)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(JournalError, match="cannot be moved: no"):
        reset(tmp_path)
