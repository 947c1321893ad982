"""Simulated runs: every output is marked, no real report is replaced, no advice names a real command."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.failure import JOB_LEFT, RunKind, in_rehearsal, make_failure
from orchestrator.engine.outcome import Status
from orchestrator.omni.errors import CallErrorKind
from tests.cli.commands import KEY, call, write_manifest, write_scenario
from tests.rehearsal import uuid
from tests.report.reports import make_outcome

REAL = "the report of a real run"
FORMATS = ("json", "jsonl", "xml", "md", "html", "csv")


def rehearsed(tmp_path: Path, capfd: Any, *args: str) -> Any:
    """Rehearse a manifest whose second model fails and whose third never ends."""
    models = [{"id": uuid(2), "result": "FAILED"}, {"id": uuid(3), "duration": "never"}]
    scenario = write_scenario(tmp_path, models=models)
    manifest = write_manifest(tmp_path, defaults={"poll": {"min": "20ms", "max": "200ms"}, "timeout": "500ms"})
    return call(capfd, "run", manifest, "--simulate", "--scenario", scenario, *args)


def test_a_rehearsal_says_so_everywhere(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word SIMULATED stands in the summary, the log, the job summary and every report; JSON says `simulated: true`."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "job.md"))
    reports = [word for suffix in FORMATS for word in ("--report", f"r.{suffix}")]
    done = rehearsed(tmp_path, capfd, *reports)
    assert done.code == 1
    for text in (
        done.out,
        done.err,
        *((tmp_path / name).read_text() for name in ("r.md", "r.html", "r.xml", "job.md")),
    ):
        assert "SIMULATED" in text
    assert json.loads((tmp_path / "r.json").read_text())["run"]["simulated"] is True
    assert all(json.loads(line)["simulated"] for line in (tmp_path / "r.jsonl").read_text().splitlines())
    with (tmp_path / "r.csv").open(newline="") as file:
        assert {row["simulated"] for row in csv.DictReader(file)} == {"SIMULATED"}


def test_a_rehearsals_advice_names_no_real_command(tmp_path: Path, capfd: Any) -> None:
    """Neither the summary nor any report tells to retry or to resume."""
    done = rehearsed(tmp_path, capfd, *(word for suffix in FORMATS for word in ("--report", f"r.{suffix}")))
    assert done.code == 1
    texts = [done.out, *((tmp_path / f"r.{suffix}").read_text() for suffix in FORMATS if suffix != "html")]
    for text in texts:
        assert not re.findall(r"\b(retry|retries|resumes?)\b", text)


def test_no_hint_of_a_rehearsal_continues_a_run() -> None:
    """Whatever goes wrong in a rehearsal, its hint names neither command."""
    failures = [make_failure(kind, "x") for kind in (*CallErrorKind, *RunKind)]
    failures.append(make_failure(RunKind.STOPPED, "x", hint=JOB_LEFT))
    for failure in failures:
        outcome = in_rehearsal(replace(make_outcome(1, Status.ERROR), error=failure))
        assert outcome.error is not None
        assert not {"retry", "resume"} & set(outcome.error.hint.replace(",", " ").replace(":", " ").split()), failure


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_rehearsal_replaces_no_real_report(suffix: str, tmp_path: Path, capfd: Any) -> None:
    """A report that is not a rehearsal's stays: exit code 2 before the first call; a rehearsal's own is replaced."""
    path = tmp_path / f"r.{suffix}"
    path.write_text(REAL)
    done = rehearsed(tmp_path, capfd, "--report", str(path))
    assert (done.code, str(path) in done.err) == (2, True)
    assert path.read_text() == REAL
    path.unlink()
    for _ in range(2):
        assert rehearsed(tmp_path, capfd, "--report", str(path)).code == 1


def test_a_rehearsal_has_no_metrics(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--metrics-file` with `--simulate` is exit code 2, from the environment too, and the file stays as it is."""
    (tmp_path / "omni.prom").write_text("real")
    assert rehearsed(tmp_path, capfd, "--metrics-file", "omni.prom").code == 2
    monkeypatch.setenv("OMNI_REFRESH_METRICS_FILE", "omni.prom")
    assert rehearsed(tmp_path, capfd).code == 2
    assert (tmp_path / "omni.prom").read_text() == "real"


def test_a_rehearsal_is_never_the_latest_run(own_state: None, tmp_path: Path, capfd: Any) -> None:
    """After a rehearsal there is nothing to resume, to retry or to report, and the history is empty."""
    assert rehearsed(tmp_path, capfd).code == 1
    assert "nothing to retry: " in call(capfd, "retry").err
    assert "nothing to resume: " in call(capfd, "resume").err
    assert call(capfd, "report").code == 2
    assert call(capfd, "history", "--json").document == {"runs": [], "models": []}
    assert KEY not in (tmp_path / "omni-refresh-report.simulated.json").read_text()


def test_a_scenario_needs_a_rehearsal(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--scenario` without `--simulate` is exit code 2, in any order and from the environment: the run would be real."""
    manifest, scenario = write_manifest(tmp_path), write_scenario(tmp_path)
    for command in ("run", "plan"):
        assert "--scenario needs --simulate" in call(capfd, command, manifest, "--scenario", scenario).err
        assert call(capfd, command, "--scenario", scenario, manifest, "--simulate").code == 0
    monkeypatch.setenv("OMNI_REFRESH_SCENARIO", scenario)
    assert call(capfd, "run", manifest).code == 2
    assert call(capfd, "run", manifest, "--simulate").code == 0
