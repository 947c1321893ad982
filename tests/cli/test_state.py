"""The state folder as people meet it: locked, damaged, moved aside, or nowhere to be found."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import KEY, call, start, write_manifest
from tests.cli.live import Omni, manifest_for, runs, statuses


@pytest.mark.parametrize("locked", [("journal.db",), ("journal.db", "shared.db")], ids=["journal", "both"])
def test_a_signal_ends_a_run_whose_state_is_locked(
    locked: tuple[str, ...], omni: Callable[..., Omni], tmp_path: Path, capfd: Any
) -> None:
    """Another process keeps the files locked: SIGTERM still ends the run in order, soon after its grace, with a report."""
    instance = omni(default_model={"duration": 30})
    manifest = manifest_for(instance, tmp_path, per_s=4)
    with start(
        "run", manifest, "--report", "r.json", "--grace", "300ms",
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        instance.wait_for(lambda o: len(o.posts) >= 3)
        holders = [sqlite3.connect(tmp_path / "state" / name, isolation_level=None) for name in locked]
        for holder in holders:
            holder.execute("BEGIN IMMEDIATE")
        # it is in the middle of waiting for the lock
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        began_at = time.monotonic()
        _, err = process.communicate(timeout=25)
        took_s = time.monotonic() - began_at
        for holder in holders:
            holder.close()
    assert process.returncode == 143, err.decode()
    assert b"Traceback" not in err
    # 0.3 s of grace and at most 2 s; the rest is for a busy machine
    assert took_s < 8
    assert set(statuses(tmp_path / "r.json").values()) <= {"interrupted", "not_started"}
    assert [r["state"] for r in runs(capfd)] == ["unfinished"]


def test_damaged_state_is_moved_aside(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """The error names the command; the command moves all of it, says what is lost, and the next run works."""
    # the run after the reset waits for a window and this timeout
    manifest = manifest_for(omni(default_model={"duration": 0.05}), tmp_path, models=1, request_timeout="3s")
    assert call(capfd, "run", manifest).code == 0
    journal = tmp_path / "state" / "journal.db"
    journal.write_bytes(journal.read_bytes()[:5000])
    done = call(capfd, "history")
    assert done.code == 2
    assert "run `omni-refresh state reset`" in done.err
    done = call(capfd, "state", "reset")
    assert done.code == 0
    assert "resumed" in done.err
    (aside,) = (tmp_path / "state").glob("reset-*")
    assert f"moved to {aside}" in done.err
    assert {"journal.db", "shared.db", "salt", "owners"} <= {p.name for p in aside.iterdir()}
    assert runs(capfd) == []
    assert call(capfd, "run", manifest).code == 0
    assert len(runs(capfd)) == 1


def test_the_state_that_the_environment_names_is_moved(
    omni: Callable[..., Omni], tmp_path: Path, capfd: Any, monkeypatch: Any
) -> None:
    """`OMNI_REFRESH_STATE` decides, as for every command: the folder of its own stays whole. A shared store is refused."""
    manifest = manifest_for(omni(default_model={"duration": 0.05}), tmp_path, models=1)
    assert call(capfd, "run", manifest).code == 0
    whole = {path.name for path in (tmp_path / "state").iterdir()}
    monkeypatch.setenv("OMNI_REFRESH_STATE", str(tmp_path / "named"))
    assert call(capfd, "run", manifest).code == 0
    (tmp_path / "named" / "journal.db").write_bytes(b"damaged" * 1000)
    assert call(capfd, "history").code == 2
    assert call(capfd, "state", "reset").code == 0
    assert list((tmp_path / "named").glob("reset-*"))
    assert runs(capfd) == []
    monkeypatch.setenv("OMNI_REFRESH_STATE", "postgresql://db.invalid/omni")
    assert call(capfd, "state", "reset").code == 2
    monkeypatch.delenv("OMNI_REFRESH_STATE")
    assert {path.name for path in (tmp_path / "state").iterdir()} == whole
    assert len(runs(capfd)) == 1


def test_state_is_not_moved_from_under_a_run(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """Exit code 4 while a run is active, and its journal is not pruned; afterwards the state can be moved."""
    instance = omni(default_model={"duration": 30})
    with start(
        "run", manifest_for(instance, tmp_path), "--grace", "100ms", cwd=tmp_path, stderr=subprocess.PIPE
    ) as process:
        instance.wait_for(lambda o: len(o.posts) >= 1)
        done = call(capfd, "state", "reset")
        assert (done.code, "state-in-use" in done.err) == (4, True)
        assert call(capfd, "history", "--prune", "--keep-days", "0", "--keep-runs", "0").code == 0
        assert len(runs(capfd)) == 1
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert call(capfd, "history", "--prune", "--keep-days", "800000").code == 0
    assert call(capfd, "state", "reset").code == 0


def test_the_group_alone_prints_its_help(capfd: Any) -> None:
    """Once, with exit code 2; a wrong name is told with its usage."""
    done = call(capfd, "state")
    assert (done.code, done.err.count("Usage: omni-refresh state"), "reset" in done.err) == (2, 1, True)
    assert call(capfd, "state", "rest").err.startswith(
        "error[unknown-command]: no command 'rest'\n  = help: did you mean reset?"
    )


def test_without_state_there_is_nothing_to_reset(own_state: None, capfd: Any) -> None:
    """No folder yet: said in a line, exit code 0."""
    done = call(capfd, "state", "reset")
    assert (done.code, done.out) == (0, "")
    assert "nothing to reset" in done.err


@pytest.mark.parametrize(
    "command",
    [
        "run M",
        "run M --resume",
        "plan M",
        "check M --online",
        "discover",
        "resume",
        "retry",
        "history",
        "report",
        "state reset",
    ],
)
@pytest.mark.parametrize("folder", ["no home", "~nosuchuser/state"])
def test_state_that_is_nowhere(
    command: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """No home folder, or that of an unknown user: exit code 2 and one line that names the variable, from every command."""
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)
    monkeypatch.setenv("OMNI_BASE_URL", "http://127.0.0.1:9")
    if folder == "no home":
        for name in ("HOME", "XDG_STATE_HOME"):
            monkeypatch.delenv(name)
        monkeypatch.setattr("os.getuid", lambda: 54_321)
    else:
        monkeypatch.setenv("OMNI_REFRESH_STATE_DIR", folder)
    manifest = write_manifest(tmp_path)
    done = call(capfd, *[manifest if word == "M" else word for word in command.split()])
    assert done.code == 2
    assert "OMNI_REFRESH_STATE_DIR" in done.err
    first, *rest = done.err.splitlines()
    assert first.startswith("error[no-state-folder]: ")
    assert all(line.startswith("  = help: ") for line in rest)
    assert done.out == ""
    assert not (tmp_path / "~").exists()
