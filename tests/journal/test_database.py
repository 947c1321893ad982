"""A database file is made whole or not at all, and one that is not what it should be is refused, never taken for a new one."""

import sqlite3
import time
from pathlib import Path

import pytest

from orchestrator.journal.database import JournalError, Layout, Patience, fit
from orchestrator.journal.sqlite import SqliteDatabase as Database

ONE = Layout(
    name="test",
    application_id=77,
    migrations=("-- a comment; with a semicolon\nCREATE TABLE a (x TEXT);\nCREATE INDEX b ON a (x)",),
    durable=True,
)
TWO = Layout(
    name="test",
    application_id=77,
    migrations=(*ONE.migrations, "ALTER TABLE a ADD COLUMN y TEXT DEFAULT 'new'"),
    durable=True,
)


def made(path: Path, rows: int = 400) -> Path:
    """A database file with some pages of content, closed in order."""
    database = Database.open(path, ONE)
    with database.write() as connection:
        connection.executemany("INSERT INTO a (x) VALUES (?)", [("x" * 100,)] * rows)
    database.close()
    return path


def test_a_new_file_is_private_and_leaves_nothing_beside(tmp_path: Path) -> None:
    """Mode 0600, the right id and version, and no temporary file."""
    path = made(tmp_path / "j.db")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["j.db"]


def test_the_log_beside_it_is_private_too(tmp_path: Path) -> None:
    """What was written and not merged yet is as private as the file."""
    database = Database.open(tmp_path / "j.db", ONE)
    with database.write() as connection:
        connection.execute("INSERT INTO a (x) VALUES ('secret')")
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o600}
    database.close()


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    """WAL, and synchronous=FULL unless a commit may come later."""
    database = Database.open(tmp_path / "j.db", ONE)
    assert database.read("PRAGMA journal_mode") == [("wal",)]
    assert database.read("PRAGMA synchronous") == [(2,)]
    with database.write(soon=True) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    with database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"SQLite format 3\0", b"not a database at all" * 100, b"\0" * 8192, b'{"runs": []}'],
    ids=["empty", "one byte", "magic alone", "text", "zeros", "json"],
)
def test_what_is_no_database_is_refused(content: bytes, tmp_path: Path) -> None:
    """An empty, torn or foreign file is an error that names it and says what to do, and it is left as it is."""
    path = tmp_path / "j.db"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"j\.db.*(damaged|no journal|empty)"):
        Database.open(path, ONE)
    assert path.read_bytes() == content
    assert JournalError.exit_code == 2


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut_is_refused(part: float, tmp_path: Path) -> None:
    """Half a file is an error when it is opened, and not only when a run is missing."""
    path = made(tmp_path / "j.db")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(JournalError, match="damaged or was cut"):
        Database.open(path, ONE)


def test_pages_of_rubbish_are_an_error_when_they_are_read(tmp_path: Path) -> None:
    """A file of the right length whose inside was overwritten ends in the same error."""
    path = made(tmp_path / "j.db")
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(JournalError, match="damaged"):
        Database.open(path, ONE).read("SELECT * FROM a")


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    """A good SQLite file that is not ours is not written to."""
    path = tmp_path / "j.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    with pytest.raises(JournalError, match="another program's"):
        Database.open(path, ONE)


def test_a_newer_version_is_refused_and_an_older_one_migrated(tmp_path: Path) -> None:
    """Forward keeps what was there; backward is an error that says which program reads it."""
    path = made(tmp_path / "j.db", rows=1)
    database = Database.open(path, TWO)
    assert database.read("SELECT y FROM a") == [("new",)]
    assert database.read("PRAGMA user_version") == [(2,)]
    database.close()
    with pytest.raises(JournalError, match="newer omni-refresh"):
        Database.open(path, ONE)


def test_a_migration_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    """One that breaks leaves the version and the tables that were there."""
    path = made(tmp_path / "j.db", rows=1)
    bad = Layout(
        name="test",
        application_id=77,
        migrations=(*ONE.migrations, "CREATE TABLE c (x);\nCREATE TABLE a (x)"),
        durable=True,
    )
    with pytest.raises(JournalError):
        Database.open(path, bad)
    database = Database.open(path, ONE)
    assert database.read("SELECT count(*) FROM sqlite_master WHERE name = 'c'") == [(0,)]
    database.close()


def test_a_folder_in_the_files_place_is_an_error(tmp_path: Path) -> None:
    """The error names the path and the reason."""
    (tmp_path / "j.db").mkdir()
    with pytest.raises(JournalError, match=r"j\.db cannot be used: Is a directory"):
        Database.open(tmp_path / "j.db", ONE)


def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    """An error within a transaction undoes it, and the database stays usable."""
    database = Database.open(tmp_path / "j.db", ONE)

    def break_amid() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO a (x) VALUES ('half')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_amid()
    assert database.read("SELECT count(*) FROM a") == [(0,)]
    with database.write() as connection:
        connection.execute("INSERT INTO a (x) VALUES ('whole')")
    assert database.read("SELECT x FROM a") == [("whole",)]
    database.close()


def test_a_full_disk_and_a_read_only_one_say_so(tmp_path: Path) -> None:
    """What SQLite means by its codes is said in words."""
    database = Database.open(tmp_path / "j.db", ONE)
    database.read("PRAGMA max_page_count = 4")
    with pytest.raises(JournalError, match="the disk is full"), database.write() as connection:
        connection.executemany("INSERT INTO a (x) VALUES (?)", [("x" * 1000,)] * 100)
    database.read("PRAGMA query_only = ON")
    with pytest.raises(JournalError, match="read-only"), database.write() as connection:
        connection.execute("INSERT INTO a (x) VALUES ('x')")
    database.close()


def test_a_file_that_another_process_keeps_locked_is_an_error_in_time(tmp_path: Path) -> None:
    """Waiting for another writer ends."""
    path = made(tmp_path / "j.db", rows=1)
    patience = Patience(sleep=time.sleep, busy_s=0.05)
    holder, waiter = Database.open(path, ONE), Database.open(path, ONE, patience)
    with holder.write(), pytest.raises(JournalError, match="kept it locked"):
        waiter.change("INSERT INTO a (x) VALUES ('x')")
    holder.close()
    waiter.close()


def test_any_text_fits() -> None:
    """Half of a surrogate pair, which JSON may hold and a database not, is spelled out."""
    assert fit("a\ud800b") == "a\\ud800b"
    assert fit("a\0b") == "a\\x00b"
    assert fit(None) is None
