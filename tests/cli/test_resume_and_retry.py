"""Interrupted runs: killed, stopped, waiting and resumed, in processes of their own."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import KEY, call, start, write_manifest, write_scenario
from tests.cli.live import SLOW, Omni, manifest_for, run_until, runs, statuses
from tests.rehearsal import uuid


def test_a_killed_run_is_resumed(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """SIGKILL during a run: resume polls what was submitted, submits the rest, writes the report where the run would have;
    nothing is started twice; a second resume has nothing to do.
    """
    instance = omni(**SLOW)
    manifest = manifest_for(instance, tmp_path, per_s=5)
    done = run_until(instance, manifest, tmp_path, lambda o: len(o.posts) >= 4, signal.SIGKILL)
    assert done.code == -signal.SIGKILL
    (record,) = runs(capfd)
    assert (record["state"], record["finished_at"], record["targets"]) == ("unfinished", None, 6)
    # from another folder, and with a manifest that says something else by now
    Path(manifest).write_text("models: []")
    os.chdir(tmp_path.parent)
    done = call(capfd, "resume", record["id"][:-3], "--json")
    assert done.code in (0, 1), done.err
    told = statuses(tmp_path / "r.json")
    assert list(told) == [f"m{n}" for n in range(1, 7)]
    assert set(told.values()) <= {"succeeded", "unknown"}
    assert sorted({str(c.model_id) for c in instance.posts}) == sorted(
        str(c.model_id) for c in instance.posts if c.accepted
    )
    run = done.document["run"]
    assert (run["trigger"], run["resumed_from"]) == ("resume", record["id"])
    assert any("manifest changed" in warning for warning in run["warnings"])
    calls = len(instance.calls)
    done = call(capfd, "resume")
    assert (done.code, done.out) == (0, "")
    assert "nothing to resume" in done.err
    assert f"run {record['id']} has ended" in call(capfd, "resume", record["id"]).err
    assert len(instance.calls) == calls
    assert [r["state"] for r in runs(capfd)] == ["finished", "finished"]


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["INT", "TERM", "HUP"]
)
def test_a_stopped_run_says_how_to_continue(
    number: int, code: int, omni: Callable[..., Omni], tmp_path: Path, capfd: Any
) -> None:
    """The exit code of the signal, a whole report, the command that resumes, and no complaint of any library."""
    instance = omni(default_model={"duration": 30})
    manifest = manifest_for(instance, tmp_path, per_s=4)
    done = run_until(instance, manifest, tmp_path, lambda o: len(o.posts) >= 4, number)
    assert done.code == code
    assert set(statuses(tmp_path / "r.json").values()) == {"interrupted", "not_started"}
    (record,) = runs(capfd)
    assert f"Next: omni-refresh resume {record['id']}" in done.out
    assert (
        f" {signal.Signals(number).name if number != signal.SIGINT else 'Ctrl-C'}: nothing more is sent; " in done.err
    )
    assert len(done.err.splitlines()) <= 8
    assert not [word for word in ("Traceback", "Task was destroyed", "never retrieved", "Warning:") if word in done.err]
    assert len(instance.posts) == 4


def test_a_second_signal_ends_a_run_at_once(omni: Callable[..., Omni], tmp_path: Path) -> None:
    """The run ends long before the grace is over, and the report is written."""
    instance = omni(default_model={"duration": 60})
    manifest = manifest_for(instance, tmp_path)
    with start(
        "run", manifest, "-v", "--report", "r.json", "--grace", "10m", cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        answered = 0
        while answered < 6:
            line = process.stderr.readline()
            assert line
            answered += b" submit " in line
        began_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        while b" stop " not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert time.monotonic() - began_at < 5
    assert process.returncode == 130
    assert set(statuses(tmp_path / "r.json").values()) == {"interrupted"}


def test_an_ignored_signal_stays_ignored(omni: Callable[..., Omni], tmp_path: Path) -> None:
    """Under `nohup` a closed terminal does not stop the run."""
    instance = omni(**SLOW)
    manifest = manifest_for(instance, tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        done = run_until(instance, manifest, tmp_path, lambda o: bool(o.posts), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert done.code == 0
    assert set(statuses(tmp_path / "r.json").values()) == {"succeeded"}


def test_run_with_resume_continues_or_starts(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """`run --resume` is what a scheduler calls: it continues an interrupted run, and starts a new run if there is none."""
    instance = omni(**SLOW)
    manifest = manifest_for(instance, tmp_path, models=4, per_s=3)
    run_until(instance, manifest, tmp_path, lambda o: len(o.posts) >= 2, signal.SIGTERM)
    # another selection is another run, which nothing was cut off of
    done = call(capfd, "run", manifest, "--resume", "--select", "m1", "--json")
    assert done.document["run"]["resumed_from"] is None
    done = call(capfd, "run", manifest, "--resume", "--json")
    assert done.code == 0
    assert done.document["run"]["trigger"] == "resume"
    assert set(statuses(tmp_path / "r.json").values()) == {"succeeded"}
    posts = len(instance.posts)
    done = call(capfd, "run", manifest, "--resume", "--json")
    assert (done.document["run"]["trigger"], len(instance.posts)) == ("run", posts + 4)


def test_an_active_run_keeps_others_out(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """The same manifest and selection: exit code 4 at once, naming the holder; resuming it is refused too; `wait` waits."""
    instance = omni(default_model={"duration": 2.0})
    manifest = manifest_for(instance, tmp_path, models=2)
    with start("run", manifest, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        instance.wait_for(lambda o: len(o.posts) == 2)
        began_at = time.monotonic()
        done = call(capfd, "run", manifest)
        assert (done.code, done.out, time.monotonic() - began_at < 2) == (4, "", True)
        (record,) = runs(capfd)
        assert record["state"] == "running"
        assert f"run {record['id']} (pid {process.pid} on " in done.err
        assert call(capfd, "resume", record["id"]).code == 4
        assert call(capfd, "retry").code == 4
        assert call(capfd, "resume").code == 4
        assert len(instance.posts) == 2
        done = call(capfd, "run", manifest, "--on-overlap", "wait", "--json")
        assert process.wait(10) == 0
    assert done.code == 0
    assert len(instance.posts) == 4
    assert f"wait   run {record['id']} " in done.err


def test_a_signal_ends_the_waiting(omni: Callable[..., Omni], tmp_path: Path) -> None:
    """Nothing was begun: the exit code of the signal, and no report."""
    instance = omni(default_model={"duration": 60})
    manifest = manifest_for(instance, tmp_path, models=1)
    with start("run", manifest, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as holder:
        instance.wait_for(lambda o: len(o.posts) == 1)
        with start("run", manifest, "--on-overlap", "wait", cwd=tmp_path, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            assert b" wait " in process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=10)
        assert process.returncode == 143
        assert b"stopped by SIGTERM while waiting" in err
        holder.kill()


def test_proceed_goes_ahead_beside_it(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """`--on-overlap proceed`: the run lock is passed over; on the same connection one refresh waits for the other."""
    instance = omni(**SLOW)
    manifest = manifest_for(instance, tmp_path, models=1)
    with start("run", manifest, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        instance.wait_for(lambda o: len(o.posts) == 1)
        assert call(capfd, "run", manifest, "--on-overlap", "proceed").code == 0
        assert process.wait(10) == 0
    first, second = instance.posts
    assert first.finished_s is not None
    assert second.t_s >= first.finished_s


@pytest.mark.parametrize("content", [b"", b"half a journal", b"SQLite format 3\0" + b"\xff" * 5000])
@pytest.mark.parametrize("name", ["journal.db", "shared.db"])
def test_state_that_cannot_be_used_stops_everything(
    name: str, content: bytes, omni: Callable[..., Omni], tmp_path: Path, capfd: Any
) -> None:
    """A torn or foreign file: a clear error and exit code 2 of every command, nothing sent, the file left as it is."""
    instance = omni(default_model={"duration": 0.05})
    manifest = manifest_for(instance, tmp_path, models=1)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / name).write_bytes(content)
    for command in (
        ("run", manifest),
        ("run", manifest, "--resume"),
        ("resume",),
        ("retry",),
        ("history",),
        ("report",),
    ):
        done = call(capfd, *command)
        assert (done.code, done.out) == (2, ""), command
        assert name in done.err
        assert "Traceback" not in done.err
    assert instance.calls == []
    assert (tmp_path / "state" / name).read_bytes() == content


def test_a_simulated_run_leaves_no_state(own_state: None, tmp_path: Path, capfd: Any) -> None:
    """`--simulate` has a state folder of its own, which goes with it."""
    assert call(capfd, "run", write_manifest(tmp_path), "--simulate", "--scenario", write_scenario(tmp_path)).code == 0
    assert not (tmp_path / "state").exists()


def test_keys_are_read_again(
    omni: Callable[..., Omni], tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the variable or the file that was named, relative to the manifest then; a missing one is exit code 2."""
    instance = omni(default_model={"duration": 0.2}, faults=[{"path": "/refresh$", "nth": [1], "status": 400}])
    (tmp_path / "key").write_text(KEY)
    limit = {"requests": 100, "per": "1s"}
    instances = {
        "a": {"base_url": instance.url, "api_keys": ["${OMNI_API_TOKEN}"], "rate_limit": limit},
        "b": {"base_url": instance.url, "api_key_file": "key", "rate_limit": limit},
    }
    models = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}", "instance": i} for n, i in ((1, "a"), (2, "b"))]
    write_manifest(tmp_path, *models, instances=instances)
    assert call(capfd, "run", "m.yaml").code == 1
    monkeypatch.chdir(tmp_path.parent)
    calls = len(instance.calls)
    monkeypatch.delenv("OMNI_API_TOKEN")
    done = call(capfd, "retry", str(tmp_path / "m.yaml"))
    assert (done.code, "OMNI_API_TOKEN is not set" in done.err) == (2, True)
    assert len(instance.calls) == calls
    assert len(runs(capfd)) == 1
    monkeypatch.setenv("OMNI_API_TOKEN", KEY)
    done = call(capfd, "retry", str(tmp_path / "m.yaml"), "--report", "r.json")
    assert done.code == 0
    assert set(statuses(tmp_path.parent / "r.json").values()) == {"succeeded"}
    state = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir() if path.is_file())
    assert KEY.encode() not in state
    (tmp_path.parent / "r.json").unlink()
