"""The state folder: where it is, that it is private, and that it can be written before anything is sent."""

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.journal.database import JournalError
from orchestrator.journal.moments import boot_id
from orchestrator.journal.state_folder import find_state_folder, open_state_folder, read_salt


def test_the_variable_beats_the_platform(tmp_path: Path) -> None:
    """`OMNI_REFRESH_STATE_DIR`, made absolute; else the platform's own; blanks are no name."""
    assert find_state_folder({"OMNI_REFRESH_STATE_DIR": f"{tmp_path}/x"}) == tmp_path / "x"
    assert find_state_folder({"OMNI_REFRESH_STATE_DIR": "x"}).is_absolute()
    assert find_state_folder({"OMNI_REFRESH_STATE_DIR": " "}) == find_state_folder({})
    assert find_state_folder({}).name == "omni-refresh"


def test_a_folder_that_cannot_be_named_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown user, no home, a deleted working directory: one line with the variable that names a folder."""
    with pytest.raises(UsageError, match="OMNI_REFRESH_STATE_DIR: '~nosuchuser/x'"):
        find_state_folder({"OMNI_REFRESH_STATE_DIR": "~nosuchuser/x"})
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="OMNI_REFRESH_STATE_DIR: 'x' is relative"):
        find_state_folder({"OMNI_REFRESH_STATE_DIR": "x"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    with pytest.raises(UsageError, match="OMNI_REFRESH_STATE_DIR") as raised:
        find_state_folder({})
    assert raised.value.code == "no-state-folder"


def test_a_new_folder_is_private_and_left_empty(tmp_path: Path) -> None:
    """0700, and trying it leaves no trace; what was there before keeps its mode."""
    folder = open_state_folder(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(folder.iterdir())
    folder.chmod(0o750)
    assert open_state_folder(folder).stat().st_mode & 0o777 == 0o750


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    """A file in its place: exit code 2, with the variable that names another."""
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="OMNI_REFRESH_STATE_DIR"):
        open_state_folder(tmp_path / "file" / "state")


def test_the_salt_is_made_once(tmp_path: Path) -> None:
    """Private, random, the same for all who ask; a damaged one is told."""
    salt = read_salt(tmp_path)
    assert read_salt(tmp_path) == salt
    assert len(salt) == 32
    assert (tmp_path / "salt").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["salt"]
    (tmp_path / "salt").write_bytes(b"short")
    with pytest.raises(JournalError, match="damaged"):
        read_salt(tmp_path)
    with pytest.raises(JournalError, match="cannot be used"):
        read_salt(tmp_path / "nowhere")


def test_a_machine_without_a_boot_time_has_none(tmp_path: Path) -> None:
    """The start's id where there is one, else an empty text: then the wall clock is used."""
    (tmp_path / "id").write_text("b1\n")
    assert boot_id(tmp_path / "id") == "b1"
    assert boot_id(tmp_path / "none") == ""
