"""Which earlier run `resume`, `retry` and `report` mean, and which manifest two runs have in common."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import call, start, write_manifest
from tests.cli.live import SLOW, Omni, manifest_for, run_until, runs, statuses
from tests.rehearsal import uuid

ONE_FAILS = {
    "default_model": {"duration": 0.05},
    "faults": [{"method": "POST", "path": uuid(2), "nth": [1], "status": 403}],
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Another working directory."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("command", ["retry", "report"])
def test_no_command_leaves_its_directory_by_itself(
    command: str, omni: Callable[..., Omni], elsewhere: Path, capfd: Any, monkeypatch: Any
) -> None:
    """Without an argument only a run that was started from here counts; else exit 2, no calls, and a list of the latest
    runs elsewhere: id, manifest, directory, when, what failed.
    """
    tmp_path, instance = elsewhere.parent, omni(**ONE_FAILS)
    manifest = manifest_for(instance, tmp_path, models=3)
    assert call(capfd, "run", manifest).code == 1
    (record,) = runs(capfd)
    calls = len(instance.calls)
    monkeypatch.chdir(elsewhere)
    done = call(capfd, command)
    assert (done.code, done.out) == (2, "")
    (line,) = [line for line in done.err.splitlines() if line.strip().startswith(record["id"])]
    for word in (manifest, f"in {tmp_path}", record["started_at"].replace("T", " ")[:16], "m2"):
        assert word in line
    assert f"omni-refresh {command} {record['id']}" in done.err
    assert len(instance.calls) == calls
    assert call(capfd, command, manifest).code == 0
    assert call(capfd, command, record["id"]).code == 0


def test_resume_stays_in_its_directory(
    omni: Callable[..., Omni], tmp_path: Path, elsewhere: Path, capfd: Any, monkeypatch: Any
) -> None:
    """`resume` alone does not continue another directory's run; with the manifest as its argument it does, and says
    before its first call which run that is and how many targets it sends.
    """
    instance = omni(**SLOW)
    manifest = manifest_for(instance, tmp_path, models=4, per_s=3)
    run_until(instance, manifest, tmp_path, lambda o: len(o.posts) >= 2, signal.SIGKILL)
    (record,) = runs(capfd)
    calls = len(instance.calls)
    monkeypatch.chdir(elsewhere)
    done = call(capfd, "resume")
    assert (done.code, record["id"] in done.err, "cut off" in done.err) == (2, True, True)
    assert len(instance.calls) == calls
    done = call(capfd, "resume", manifest, "--log-format", "json")
    assert done.code in (0, 1)
    first = json.loads(done.err.splitlines()[0])
    assert (first["event"], first["manifest"], first["of_run"]) == ("run_continued", manifest, record["id"])
    # calls that were on their way when the run was killed are neither sent again nor followed
    cut_off = first["targets"] - first["to_send"] - first["to_check"]
    assert (first["targets"], cut_off >= 0) == (4, True)
    sent = [c.model_id for c in instance.posts if c.accepted]
    assert len(set(sent)) == len(sent) >= 4 - cut_off


def test_what_was_retried_from_elsewhere_is_not_sent_again(
    omni: Callable[..., Omni], tmp_path: Path, elsewhere: Path, capfd: Any, monkeypatch: Any
) -> None:
    """A retry belongs to the directory of the run that it retried: the newest knowledge decides, nothing is sent twice."""
    instance = omni(**ONE_FAILS)
    manifest = manifest_for(instance, tmp_path, models=3)
    assert call(capfd, "run", manifest).code == 1
    monkeypatch.chdir(elsewhere)
    assert call(capfd, "retry", manifest).code == 0
    posts = len(instance.posts)
    monkeypatch.chdir(tmp_path)
    done = call(capfd, "retry")
    assert (done.code, "nothing to retry" in done.err) == (0, True)
    assert len(instance.posts) == posts


def test_a_retry_after_a_restricted_retry_takes_what_is_left(
    omni: Callable[..., Omni], tmp_path: Path, capfd: Any
) -> None:
    """After `retry --select A`, a retry without a run id takes B, which failed in the run before, and no other target."""
    faults = [{"method": "POST", "path": uuid(n), "nth": [1], "status": 403} for n in (2, 3)]
    instance = omni(default_model={"duration": 0.05}, faults=faults)
    manifest = manifest_for(instance, tmp_path, models=3)
    first = call(capfd, "run", manifest, "--json").document["run"]["id"]
    assert call(capfd, "retry", "--select", "m2").code == 0
    done = call(capfd, "retry", "--select", "m2")
    assert (done.code, ": m3" in done.err) == (2, True)
    document = call(capfd, "retry", "--json").document
    assert [(o["name"], o["status"]) for o in document["outcomes"]] == [("m3", "succeeded")]
    assert document["run"]["retried_from"] == first
    done = call(capfd, "retry")
    assert (done.code, f"every target of run {first} is good" in done.err) == (0, True)


def test_a_manifest_that_never_ran(own_state: None, tmp_path: Path, capfd: Any) -> None:
    """There is nothing to resume or to retry (exit code 0); a file that is not there is exit code 2."""
    manifest = write_manifest(tmp_path)
    for command in ("resume", "retry"):
        done = call(capfd, command, manifest)
        assert (done.code, f"no run of {manifest} " in done.err) == (0, True)
        assert call(capfd, command, "nowhere.yaml").code == 2


def test_a_retry_leaves_the_first_report_alone(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """By default a retry writes omni-refresh-report.retry.json, whatever the first run's reports were."""
    instance = omni(**ONE_FAILS)
    manifest = manifest_for(instance, tmp_path, models=3)
    assert call(capfd, "run", manifest, "--report", "r.json").code == 1
    before = (tmp_path / "r.json").read_bytes()
    assert call(capfd, "retry").code == 0
    assert (tmp_path / "r.json").read_bytes() == before
    assert not (tmp_path / "omni-refresh-report.json").exists()
    assert statuses(tmp_path / "omni-refresh-report.retry.json") == {"m2": "succeeded"}


def mount(folder: Path, stamp: str, text: str) -> Path:
    """Mount a ConfigMap as Kubernetes does: the file is a link through `..data` to a folder that is named by a time."""
    (folder / f"..{stamp}").mkdir(parents=True)
    (folder / f"..{stamp}" / "nightly.yaml").write_text(text, encoding="utf-8")
    (folder / "..tmp").symlink_to(f"..{stamp}")
    (folder / "..tmp").rename(folder / "..data")
    if not (folder / "nightly.yaml").is_symlink():
        (folder / "nightly.yaml").symlink_to("..data/nightly.yaml")
    return folder / "nightly.yaml"


def test_a_mounted_manifest_is_the_same_in_the_next_pod(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """`run --resume` continues what the pod before left, though the manifest's real path is another one by now."""
    instance = omni(**SLOW)
    text = Path(manifest_for(instance, tmp_path, models=4, per_s=3)).read_text(encoding="utf-8")
    manifest = mount(tmp_path / "etc", "2026_11_29", text)
    run_until(instance, str(manifest), tmp_path, lambda o: len(o.posts) >= 2, signal.SIGKILL)
    (record,) = runs(capfd)
    real = os.path.realpath(manifest)
    mount(tmp_path / "etc", "2026_11_30", text)
    assert os.path.realpath(manifest) != real
    done = call(capfd, "run", str(manifest), "--resume", "--json")
    assert done.document["run"]["resumed_from"] == record["id"]
    assert len({c.model_id for c in instance.posts}) == len([c for c in instance.posts if c.accepted]) == 4
    # and the run after it knows the one before
    done = call(capfd, "run", str(manifest), "--json")
    assert all(o["previous_status"] is not None for o in done.document["outcomes"])
    (models,) = {m["runs"] for m in call(capfd, "history", "--json").document["models"]}
    assert models == 2


def test_a_manifests_name_is_its_identity(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """Two files of one `name:` are one manifest: one lock, one history; without it they are two."""
    instance = omni(default_model={"duration": 60})
    text = json.loads(Path(manifest_for(instance, tmp_path, models=1)).read_text(encoding="utf-8"))
    for folder, names in (("a", {"name": "nightly"}), ("b", {"name": "nightly"}), ("c", {})):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.yaml").write_text(json.dumps({**text, **names}), encoding="utf-8")
    with start("run", "a/m.yaml", cwd=tmp_path, stdout=-3, stderr=-3) as process:
        instance.wait_for(lambda o: len(o.posts) == 1)
        locked = call(capfd, "run", "b/m.yaml")
        assert (locked.code, "error[run-locked]: " in locked.err) == (4, True)
        process.kill()
    (record,) = runs(capfd)
    assert (record["identity"], record["manifest"]) == ("nightly", "a/m.yaml")
    for same in ("nightly", "a/m.yaml", "b/m.yaml"):
        assert record["id"] in call(capfd, "report", same).err
    assert call(capfd, "retry", "c/m.yaml").err.endswith(" no run of c/m.yaml yet\n")
