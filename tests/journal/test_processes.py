"""Several processes use one state folder at the same time: none takes the journal from under another."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.clock import Clock
from orchestrator.journal.database import GroupCommit, JournalError
from orchestrator.journal.journal import FILE, Journal
from orchestrator.journal.processes import FILE as SHARED_FILE
from orchestrator.journal.processes import LocalProcess
from orchestrator.journal.sqlite import SqliteDatabase as Database
from orchestrator.simulator import virtual
from tests.journal.test_database import ONE, made

CLOCK = Clock(time.monotonic, lambda: datetime.now(UTC))

# each line from stdin is written into both databases and told on stdout when it is on the disk; at the end both are closed
WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from orchestrator.clock import Clock
from orchestrator.journal.database import Patience
from orchestrator.journal.journal import Journal
from orchestrator.journal.processes import LocalProcess

folder, clock = Path(sys.argv[1]), Clock(time.monotonic, lambda: datetime.now(UTC))
patience = Patience(sleep=time.sleep)
journal = Journal.open(folder, clock=clock, boot="b", patience=patience)
owner = LocalProcess.enter(folder, run="writer", since=clock.utcnow(), now=clock.now, boot="b", patience=patience)
print("open", flush=True)
for line in sys.stdin:
    with journal._database.write() as connection:
        connection.execute(
            "INSERT INTO durations (base_url, model_id, branch_id, kind, seconds, at) VALUES ('u', ?, '', 'k', 1, '')",
            (line.strip(),),
        )
    with owner.database.write() as connection:
        connection.execute("INSERT INTO locks VALUES (?, ?, '') ON CONFLICT (name) DO UPDATE SET owner = excluded.owner", (line.strip(), owner.token))
    print(line.strip(), flush=True)
owner.leave()
journal.close()
"""


class Writer:
    """A process that writes what it is told to, and can be killed at any moment."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.answer() == "open"

    def answer(self) -> str:
        """The next line that it prints; empty if it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        """Let it write `word`, without waiting for that."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def write(self, word: str) -> str:
        """Let it write `word`; what it answers."""
        self.tell(word)
        return self.answer()

    def end(self) -> int:
        """Let it close its files and end; its exit code."""
        self._close()
        return self.process.wait(10)

    def kill(self) -> None:
        """End it as a machine's crash would, without any tidying up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self._close()

    def _close(self) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def deleted(self) -> list[str]:
        """The state files that it has open and that are not in the folder any more."""
        links = [str(fd.readlink()) for fd in Path(f"/proc/{self.process.pid}/fd").iterdir() if fd.is_symlink()]
        return [link for link in links if ".db" in link and link.endswith("(deleted)")]


@contextmanager
def writers(folder: Path, count: int) -> Iterator[list[Writer]]:
    """Several of them, to which a test may add; those that still live are killed at the end."""
    mine = [Writer(folder) for _ in range(count)]
    try:
        yield mine
    finally:
        for one in mine:
            if one.process.poll() is None:
                one.kill()
            assert one.process.stdout is not None
            one.process.stdout.close()


def old_folder(folder: Path) -> Path:
    """A state folder that an earlier process made and left."""
    with writers(folder, 1) as (one,):
        one.write("first")
        one.end()
    return folder


def kept(folder: Path) -> set[str]:
    """What stands in the journal."""
    journal = Journal.open(folder, clock=CLOCK, boot="b")
    assert journal._database.read("PRAGMA quick_check") == [("ok",)]
    rows = journal._database.read("SELECT model_id FROM durations")
    journal.close()
    return {word for (word,) in rows}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_process_that_ends_leaves_the_log_of_the_others(tmp_path: Path) -> None:
    """Two processes on an old folder: the second ends, the first still writes into linked files, and nothing that it wrote
    is lost when it is killed.
    """
    with writers(old_folder(tmp_path), 2) as (first, second):
        assert first.write("before") == "before"
        assert second.write("beside") == "beside"
        assert second.end() == 0
        assert first.deleted() == []
        assert [first.write(f"after-{n}") for n in range(3)] == ["after-0", "after-1", "after-2"]
        first.kill()
    assert kept(tmp_path) == {"first", "before", "beside", "after-0", "after-1", "after-2"}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_whatever_processes_end_or_are_killed_nothing_is_lost(tmp_path: Path) -> None:
    """Random starts, writes, ends and kills of up to four processes: no live process writes into a removed file, and all
    that was acknowledged is in the journal.
    """
    rng, told = random.Random(7), {"first"}
    with writers(old_folder(tmp_path), 1) as every:
        at_work = list(every)
        for number in range(24):
            act = rng.choice(("start", "write", "write", "write", "end", "kill"))
            if act == "start" and len(at_work) < 4:
                every.append(Writer(tmp_path))
                at_work.append(every[-1])
            elif act == "write" and at_work:
                told.add(rng.choice(at_work).write(f"w{number}"))
            elif act == "end" and at_work:
                assert at_work.pop(rng.randrange(len(at_work))).end() == 0
            elif act == "kill" and at_work:
                one = at_work.pop(rng.randrange(len(at_work)))
                # it may die before, while or after it writes
                one.tell(f"w{number}")
                time.sleep(rng.uniform(0, 0.002))
                one.kill()
                told |= {answer for answer in [one.answer()] if answer}
            for one in at_work:
                assert one.deleted() == []
    assert told <= kept(tmp_path)


def test_one_process_may_open_the_files_twice(tmp_path: Path) -> None:
    """Two runs in one process: when the first has closed its files, those of the second are still there for others."""
    folder = old_folder(tmp_path)

    def opened() -> tuple[Journal, LocalProcess]:
        return (
            Journal.open(folder, clock=CLOCK, boot="b"),
            LocalProcess.enter(folder, run="r", since=CLOCK.utcnow(), now=CLOCK.now, boot="b"),
        )

    (one, mine), (two, yours) = opened(), opened()
    mine.leave()
    one.close()
    with writers(folder, 1) as (other,):
        assert other.write("beside") == "beside"
        assert other.end() == 0
    with two._database.write() as connection:
        connection.execute("DELETE FROM durations")
    with yours.database.write() as connection:
        connection.execute("DELETE FROM locks")
    yours.leave()
    two.close()
    assert kept(folder) == set()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_files_that_were_taken_away_are_an_error(suffix: str, tmp_path: Path) -> None:
    """What is written into a removed or replaced file is lost: the write and the wait for the disk fail and say so."""
    database = Database.open(made(tmp_path / "j.db"), ONE)
    syncing = GroupCommit(database.force)
    virtual.run(syncing.wait())
    path = tmp_path / f"j.db{suffix}"
    path.rename(tmp_path / "away")
    path.write_bytes((tmp_path / "away").read_bytes())
    with pytest.raises(JournalError, match="removed or replaced") as replaced, database.write():
        pass
    assert replaced.value.code == "state-replaced"
    path.unlink()
    with pytest.raises(JournalError, match="removed or replaced"):
        virtual.run(syncing.wait())
    database.close()


@pytest.mark.parametrize("name", [FILE, SHARED_FILE])
def test_a_log_without_its_database_is_refused(name: str, tmp_path: Path) -> None:
    """It would be replayed into a new database: nothing is created, and the error names the command that helps."""
    (tmp_path / f"{name}-wal").write_bytes(b"left")
    with pytest.raises(JournalError, match=r"-wal is there.*omni-refresh state reset"):
        Database.open(tmp_path / name, ONE)
    assert [p.name for p in tmp_path.iterdir()] == [f"{name}-wal"]
