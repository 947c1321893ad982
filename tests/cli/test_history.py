"""Earlier runs: retried, told of, rendered again, and found by their ids."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import call
from tests.cli.live import Omni, manifest_for, runs
from tests.rehearsal import uuid


def test_retry_and_its_report(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """What did not succeed, in a run of its own; then every target is good, and there is nothing to retry."""
    faults = [{"method": "POST", "path": uuid(n), "nth": [1], "status": 403} for n in (2, 4)]
    instance = omni(default_model={"duration": 0.1}, faults=faults)
    manifest = manifest_for(instance, tmp_path, models=4)
    done = call(capfd, "run", manifest, "--report", "r.json")
    assert (done.code, f"Next: omni-refresh run {manifest} --select m2 --select m4\n" in done.out) == (1, True)
    done = call(capfd, "retry", "--select", "m4", "--json")
    assert [(o["name"], o["status"], o["previous_status"]) for o in done.document["outcomes"]] == [
        ("m4", "succeeded", "rejected")
    ]
    first = runs(capfd)[-1]["id"]
    narrowed = ("retry", first, "--select", "m1")
    done = call(capfd, *narrowed)
    assert (done.code, ": m2" in done.err, "is good" in done.err) == (2, True, False)
    done = call(capfd, *narrowed, "--allow-empty")
    assert (done.code, ": m2" in done.err, "is good" in done.err) == (0, True, False)
    done = call(capfd, "retry", first, "--exclude", "m4", "--report", "again.csv", "--json")
    assert done.code == 0
    assert done.document["run"]["trigger"] == "retry"
    assert (tmp_path / "again.csv").read_text().count("\n") == 2
    done = call(capfd, "retry")
    assert (done.code, done.out, "every target" in done.err) == (0, "", True)
    assert len(instance.posts) == 6


def test_reports_of_earlier_runs(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """Any run, in any format, the same as it was; the latest where none is named."""
    instance = omni(default_model={"duration": 0.05})
    manifest = manifest_for(instance, tmp_path, models=2)
    call(capfd, "run", manifest, "--report", "r.json", "--report", "r.md")
    written = json.loads((tmp_path / "r.json").read_text())
    call(capfd, "run", manifest)
    run = written["run"]["id"]
    assert call(capfd, "report", run, "--json").document == written
    assert "2 targets: 2 succeeded" in call(capfd, "report").out
    done = call(capfd, "report", run, "--report", "again.md")
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "again.md").read_text() == (tmp_path / "r.md").read_text()
    assert call(capfd, "report", run, "--report", "no/where.md").code == 2


def test_history_lists_runs_and_models(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """Tables for people, JSON for programs, one model's course, and forgetting."""
    instance = omni(default_model={"duration": 0.05}, faults=[{"path": uuid(2), "nth": [2], "status": 400}])
    manifest = manifest_for(instance, tmp_path, models=2)
    assert call(capfd, "history").out == "No runs.\n"
    for _ in range(2):
        call(capfd, "run", manifest)
    done = call(capfd, "history")
    assert "RUN" in done.out
    assert "2 succeeded" in done.out
    assert "1 rejected" in done.out
    document = call(capfd, "history", "--json").document
    assert [r["exit_code"] for r in document["runs"]] == [1, 0]
    assert {m["name"]: (m["runs"], m["last_status"]) for m in document["models"]} == {
        "m1": (2, "succeeded"), "m2": (2, "rejected"),
    }  # fmt: skip
    assert all(m["median_s"] > 0 for m in document["models"])
    document = call(capfd, "history", "--model", uuid(2), "--json", "--limit", "1").document
    assert [o["status"] for o in document["runs"][0]["outcomes"]] == ["rejected"]
    assert [step["status"] for step in document["models"][0]["course"]] == ["rejected"]
    assert call(capfd, "history", "--model", "m2").out.startswith("m2: 2 runs; usually ")
    assert call(capfd, "history", "--model", "no such").out.endswith("'no such'.\n")
    assert call(capfd, "history", "--flaky").out.endswith(" in the last 2 runs.\n")
    assert call(capfd, "history", "--flaky", "--json").document["models"] == []
    done = call(capfd, "history", "--prune", "--keep-runs", "1")
    assert "1 run deleted" in done.err
    assert len(runs(capfd)) == 1


@pytest.mark.parametrize("command", ["resume", "retry", "report"])
def test_a_run_that_is_not_there(command: str, own_state: None, capfd: Any) -> None:
    """Exit code 2 and advice; without a name there is nothing to do, or to tell."""
    done = call(capfd, command, "2026")
    assert (done.code, "no run begins with '2026'" in done.err) == (2, True)
    done = call(capfd, command)
    assert done.code == (2 if command == "report" else 0)
    assert done.err


def test_an_id_that_fits_two_runs(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """Exit code 2, naming them; a near miss names what is near."""
    instance = omni(default_model={"duration": 0.05})
    manifest = manifest_for(instance, tmp_path, models=1)
    for _ in range(2):
        call(capfd, "run", manifest)
    ids = [r["id"] for r in runs(capfd)]
    done = call(capfd, "report", "20")
    assert done.code == 2
    assert all(run in done.err for run in ids)
    done = call(capfd, "report", ids[0][:-1] + "zz")
    assert (done.code, ids[0] in done.err) == (2, True)


def test_a_run_knows_those_before_it(omni: Callable[..., Omni], tmp_path: Path, capfd: Any) -> None:
    """Since when a target fails, what is usual, and each call are in the reports, and in those that are rendered again."""
    faults = [{"method": "POST", "path": uuid(2), "nth": [1, 2], "status": 403}]
    instance = omni(default_model={"duration": 0.05}, faults=faults)
    manifest = manifest_for(instance, tmp_path, models=2)
    first, second, third = (call(capfd, "run", manifest, "--json").document for _ in range(3))
    since = [[o["failing_since"] for o in document["outcomes"]] for document in (first, second, third)]
    assert since[0] == since[1]
    assert since[0][0] is None
    assert first["run"]["started_at"][:16] == since[0][1][:16]
    assert since[2] == [None, None]
    assert [o["usual_s"] is not None for d in (first, second, third) for o in d["outcomes"]] == [
        False, False, True, False, True, False,
    ]  # fmt: skip
    assert [(c["what"], c["end"]) for o in second["outcomes"] for c in o["calls"]] == [
        ("refresh", "answered"),
        ("refresh", "forbidden"),
    ]
    counts = second["summary"]
    assert [counts[key] for key in ("new_failures", "still_failing", "recovered")] == [0, 1, 0]
    assert third["summary"]["recovered"] == 1
    assert [[o["recent"] for o in document["outcomes"]] for document in (first, third)] == [
        [[], []],
        [["succeeded", "succeeded"], ["rejected", "rejected"]],
    ]
    assert third["run"]["instances"] == {"sim": instance.url}
    run = second["run"]["id"]
    assert [command.endswith(" --select m2") for command in second["run"]["next_commands"]] == [True]
    assert "next_commands" not in third["run"]
    assert call(capfd, "report", run, "--json").document == second
    names = [f"again.{suffix}" for suffix in ("json", "jsonl", "xml", "md", "html", "csv")]
    assert call(capfd, "report", run, *(f"--report={name}" for name in names)).code == 0
    texts = {name: (tmp_path / name).read_text() for name in names}
    stamp = since[1][1]
    for name in ("again.json", "again.jsonl", "again.xml", "again.csv"):
        assert stamp in texts[name]
    for name in ("again.md", "again.html"):
        assert f"since {stamp[:10]}" in texts[name]
    assert f"m2 (1ms, failing since {stamp[:10]})" in re.sub(r"\(\d+ms", "(1ms", call(capfd, "report", run).out)
