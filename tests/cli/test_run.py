"""`run --simulate` in real time: what is written, printed and said, and how it ends."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.app.simulation import stage
from orchestrator.engine.outcome import Status
from orchestrator.report.document import report_json_schema
from tests.cli.commands import call, write_manifest, write_scenario
from tests.rehearsal import manifest_text, read_manifest, rehearse, uuid

DEFAULT = "omni-refresh-report.simulated.json"


def test_a_run_that_succeeds(tmp_path: Path, capfd: Any) -> None:
    """Exit 0; the summary on stdout, the log on stderr, the default report in the working directory."""
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate")
    report = json.loads((tmp_path / DEFAULT).read_text())
    assert done.code == 0
    assert report["summary"]["succeeded"] == report["summary"]["total"] == 3
    assert report["summary"]["exit_code"] == 0
    assert DEFAULT in done.out
    assert "start" not in done.out
    assert len(done.err.splitlines()) == 4


def test_json_is_one_document(tmp_path: Path, capfd: Any) -> None:
    """`--json`: stdout is exactly the report that is in the file, at the highest verbosity, whatever went wrong."""
    scenario = write_scenario(
        tmp_path,
        models=[{"id": uuid(1), "result": "FAILED", "duration": 0.05}],
        faults=[{"path": "/jobs/", "nth": [1], "status": 429, "headers": {"Retry-After": "0.2"}}],
    )
    manifest = write_manifest(tmp_path, *({"id": uuid(n), "name": f"m{n}", "connection": f"c{n}"} for n in (1, 2)))
    done = call(capfd, "run", manifest, "--simulate", "--scenario", scenario, "--json", "-v")
    assert done.code == 1
    assert done.document == json.loads((tmp_path / DEFAULT).read_text())
    jsonschema.validate(done.document, report_json_schema())
    assert [o["status"] for o in done.document["outcomes"]] == ["failed", "succeeded"]
    assert done.document["summary"]["throttled"] >= 1


def test_every_format_by_its_suffix(tmp_path: Path, capfd: Any) -> None:
    """`--report` is repeatable, the suffix says the format, every file is whole; the default one is not written then."""
    paths = [tmp_path / f"r.{suffix}" for suffix in ("json", "jsonl", "xml", "md", "html", "csv")]
    args = [word for path in paths for word in ("--report", str(path))]
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", *args)
    assert done.code == 0
    assert all(path.stat().st_size > 100 for path in paths)
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) >= 3
    assert not (tmp_path / DEFAULT).exists()


@pytest.mark.parametrize("path", ["nowhere/r.json", "r.docx", ".", "m.yaml/r.json"])
def test_a_report_that_cannot_be_written_is_found_first(path: str, tmp_path: Path, capfd: Any) -> None:
    """A `--report` path that cannot be written is exit 2 before the first call, and says which."""
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", "--report", path)
    assert (done.code, done.out) == (2, "")
    assert "start" not in done.err
    assert "Traceback" not in done.err


def test_the_default_report_only_warns(tmp_path: Path, capfd: Any) -> None:
    """If the default report cannot be written, the run still completes and its result is on stdout."""
    (tmp_path / DEFAULT).mkdir()
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", "--json")
    assert done.code == 0
    assert done.document["summary"]["succeeded"] == 3
    assert " was not written: " in done.err


def test_selecting(tmp_path: Path, capfd: Any) -> None:
    """`--select` and `--exclude` narrow the run; what is not selected is not in the report."""
    manifest = write_manifest(tmp_path)
    done = call(capfd, "run", manifest, "--simulate", "--json", "--select", "m*", "--exclude", "m2")
    assert [o["name"] for o in done.document["outcomes"]] == ["m1", "m3"]
    wrong = call(capfd, "run", manifest, "--simulate", "--select", "m4")
    assert (wrong.code, wrong.out) == (2, "")
    assert "m4" in wrong.err


def test_selecting_nothing(tmp_path: Path, capfd: Any) -> None:
    """Nothing selected is exit 2; with `--allow-empty` it is a run of no targets."""
    manifest = write_manifest(tmp_path)
    nothing = ("run", manifest, "--simulate", "--json", "--select", "x*")
    done = call(capfd, *nothing)
    assert (done.code, done.out) == (2, "")
    assert "--allow-empty" in done.err
    allowed = call(capfd, *nothing, "--allow-empty")
    assert allowed.code == 0
    assert allowed.document["summary"]["total"] == 0
    assert (
        call(capfd, *nothing[:3], *nothing[4:], "--allow-empty").out.count("Nothing to do: nothing was selected") == 1
    )


@pytest.mark.parametrize(
    "bad, code, status",
    [
        ({"result": "FAILED", "duration": 0.05}, 1, "failed"),
        ({"forbidden": True}, 1, "rejected"),
        ({"duration": 9}, 1, "timed_out"),
    ],
)
def test_one_target_that_does_not_succeed_is_exit_1(
    bad: dict[str, object], code: int, status: str, tmp_path: Path, capfd: Any
) -> None:
    """The others succeed, the headline counts what the report counts, the exit code is 1."""
    models = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}", "timeout": "1s"} for n in (1, 2)]
    scenario = write_scenario(tmp_path, models=[{"id": uuid(1), **bad}])
    done = call(capfd, "run", write_manifest(tmp_path, *models), "--simulate", "--scenario", scenario)
    report = json.loads((tmp_path / DEFAULT).read_text())
    assert done.code == code == report["summary"]["exit_code"]
    assert [o["status"] for o in report["outcomes"]] == [status, "succeeded"]
    assert (report["summary"][status], report["summary"]["succeeded"]) == (1, 1)
    assert status.replace("_", " ") in done.out.replace("_", " ").lower()


def test_a_refused_key_is_exit_3(tmp_path: Path, capfd: Any) -> None:
    """An instance that refuses its key: every target `not_started`, exit 3."""
    scenario = write_scenario(tmp_path, keys=[{"key": "revoked", "refused_from": 0}])
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", "--scenario", scenario, "--json")
    assert done.code == 3
    assert {o["status"] for o in done.document["outcomes"]} == {"not_started"}


def test_skipped_targets_are_exit_0(tmp_path: Path, capfd: Any) -> None:
    """Disabled models are `skipped`, and that is no failure."""
    manifest = write_manifest(tmp_path, {"id": uuid(1), "name": "a", "enabled": False})
    done = call(capfd, "run", manifest, "--simulate", "--json")
    assert (done.code, done.document["outcomes"][0]["status"]) == (0, "skipped")


def test_options_reach_the_run(tmp_path: Path, capfd: Any) -> None:
    """`--no-wait`, `--fail-fast`, `--max-failures`, `--deadline` and `--rate` do what they say."""
    models = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}"} for n in range(1, 9)]
    manifest = write_manifest(tmp_path, *models, workers=1)
    unwatched = call(capfd, "run", manifest, "--simulate", "--json", "--no-wait")
    assert {o["status"] for o in unwatched.document["outcomes"]} == {"accepted"}
    assert unwatched.document["summary"]["polls"] == 0
    failing = write_scenario(tmp_path, default_model={"forbidden": True})
    for option in (["--fail-fast"], ["--max-failures", "1"]):
        fast = call(capfd, "run", manifest, "--simulate", "--scenario", failing, "--json", *option)
        assert fast.document["summary"]["rejected"] == 1
        assert fast.document["summary"]["not_started"] == 7
    slow = write_scenario(tmp_path, default_model={"duration": 60})
    bounded = call(
        capfd, "run", manifest, "--simulate", "--scenario", slow, "--json", "--deadline", "300ms", "--rate", "3"
    )
    counted = bounded.document["summary"]
    assert bounded.code == 1
    assert (counted["interrupted"], counted["not_started"]) == (3, 5)
    assert bounded.document["run"]["duration_s"] < 2


def test_the_environment_stands_for_flags(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OMNI_REFRESH_<FLAG>` is the flag; a flag on the command line beats it; a wrong value is exit 2."""
    manifest = write_manifest(tmp_path)
    monkeypatch.setenv("OMNI_REFRESH_NO_WAIT", "1")
    monkeypatch.setenv("OMNI_REFRESH_JSON", "true")
    monkeypatch.setenv("OMNI_REFRESH_SIMULATE", "")
    monkeypatch.setenv("OMNI_REFRESH_SELECT", "m1")
    monkeypatch.setenv("OMNI_REFRESH_REPORT", "env.csv")
    done = call(capfd, "run", manifest, "--simulate")
    assert [o["name"] for o in done.document["outcomes"]] == ["m1"]
    assert done.document["outcomes"][0]["status"] == "accepted"
    assert (tmp_path / "env.csv").exists()
    beaten = call(capfd, "run", manifest, "--simulate", "--select", "m2", "--report", "own.csv")
    assert [o["name"] for o in beaten.document["outcomes"]] == ["m2"]
    assert (tmp_path / "own.csv").exists()
    monkeypatch.setenv("OMNI_REFRESH_RATE", "many")
    assert call(capfd, "run", manifest, "--simulate").code == 2


def test_an_exported_address_redirects_nothing(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest that names its instance is not sent elsewhere by an exported variable."""
    monkeypatch.setenv("OMNI_BASE_URL", "https://elsewhere.invalid")
    monkeypatch.setenv("OMNI_API_TOKEN", "k")
    manifest = write_manifest(tmp_path, {"id": uuid(1), "name": "a", "connection": "c", "retries": 0})
    done = call(capfd, "run", manifest, "--json")
    (outcome,) = done.document["outcomes"]
    assert (outcome["status"], outcome["error"]["kind"]) == ("error", "connect")
    assert "127.0.0.1" in outcome["error"]["message"]


@pytest.mark.parametrize(
    "text, words",
    [("modles: []", "modles"), ("- 1", "scenario"), ("connections: [{}]", "needs an")],
)
def test_a_wrong_scenario_is_exit_2(text: str, words: str, tmp_path: Path, capfd: Any) -> None:
    """What is wrong with a scenario is said with its place, and nothing runs."""
    path = tmp_path / "s.yaml"
    path.write_text(text)
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", "--scenario", str(path))
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert call(capfd, "run", write_manifest(tmp_path), "--simulate", "--scenario", "nowhere.yaml").code == 2


def test_names_branches_and_connections_exist_without_a_scenario() -> None:
    """Without a scenario everything that a manifest names is there, each branch-based connection as such."""
    models: list[dict[str, object]] = [
        {"name": "by name"},
        {"id": uuid(1), "name": "by id", "branch": "nightly"},
        {"model": "Finance", "name": "a", "connection": "wh", "branch": "one"},
        {"model": "Finance", "name": "b", "connection": "wh", "branch": "two"},
    ]
    text = manifest_text(*models)
    run = rehearse(text, stage(read_manifest(text)))
    assert [o.status for o in run.outcomes] == [Status.SUCCEEDED] * 4
    assert run.outcomes[1].promotion_pending


def test_the_scenario_beside_the_manifest(tmp_path: Path, capfd: Any) -> None:
    """`NAME.scenario.yaml` beside the manifest is the scenario where none is named."""
    manifest = write_manifest(tmp_path)
    write_scenario(tmp_path, name="m.scenario.yaml", default_model={"result": "FAILED", "duration": 0})
    done = call(capfd, "run", manifest, "--simulate", "--json")
    assert {o["status"] for o in done.document["outcomes"]} == {"failed"}


def test_the_job_summary_of_a_ci_system(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With GITHUB_STEP_SUMMARY the Markdown report is appended to that file."""
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert call(capfd, "run", write_manifest(tmp_path), "--simulate").code == 0
    text = path.read_text()
    assert text.startswith("before\n")
    assert "m1" in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    assert call(capfd, "run", write_manifest(tmp_path), "--simulate").code == 0


def test_quiet_is_quiet(tmp_path: Path, capfd: Any) -> None:
    """`-q` leaves only what went wrong on stderr; a run that is all right says nothing there."""
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", "-q")
    assert (done.code, done.err) == (0, "")


def test_the_log_for_people(tmp_path: Path, capfd: Any) -> None:
    """The log is lines for people, without colour off a terminal: one that starts, and one for each target."""
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate")
    first, *ended = done.err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d start  \S+m\.yaml: 3 models on 1 instance, run \S+, SIMULATED", first)
    assert [line.split()[1] for line in ended] == ["ok"] * 3
    assert {line.rpartition(" (")[2] for line in ended} == {"1 of 3)", "2 of 3)", "3 of 3)"}
    assert "\x1b" not in done.err + done.out
    assert "\r" not in done.err + done.out


def test_a_simulation_leaves_no_state(tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is learned from a simulated run, and none is the latest: the state folder is not even made."""
    folder = tmp_path / "state"
    monkeypatch.setenv("OMNI_REFRESH_STATE_DIR", str(folder))
    assert call(capfd, "run", write_manifest(tmp_path), "--simulate").code == 0
    assert not folder.exists()
