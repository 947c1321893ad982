"""What people met at the command line of tools like this one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.engine.run import Run
from orchestrator.report.findings import exit_code
from orchestrator.simulator.reading import make_scenario
from tests.cli.commands import call, write_manifest, write_scenario
from tests.rehearsal import manifest_text, model, rehearse, uuid


async def stop_at_10_s(run: Run) -> None:
    """As a signal's handler does."""
    await asyncio.sleep(10)
    run.stop()


@pytest.mark.parametrize("signal, code", [(1, 129), (2, 130), (15, 143)])
def test_a_signal_loses_nothing(signal: int, code: int) -> None:
    """Forty slow models: done ones stay done, in flight keep their ids, the rest was not started; no refresh after it."""
    staged = make_scenario(
        default_model={"duration": 300},
        models=[{"id": uuid(n), "duration": 0} for n in range(5)],
        answers={"final_at_once": True},
    )
    limit = {"requests": 25, "per": "60s"}
    run = rehearse(
        manifest_text(*(model(n) for n in range(40)), instance={"rate_limit": limit}), staged, act=stop_at_10_s
    )
    statuses = [o.status for o in run.outcomes]
    assert len(statuses) == 40
    assert (statuses.count(Status.SUCCEEDED), statuses.count(Status.INTERRUPTED)) == (5, 20)
    assert statuses.count(Status.NOT_STARTED) == 15
    assert all(o.job_ids for o in run.outcomes if o.status is Status.INTERRUPTED)
    assert max(post.t_s for post in run.posts) < 10
    assert run.result.duration_s <= 15
    assert exit_code(run.outcomes, signal=signal, refused_instances=(), report_failed=False) == code


BAD = {"result": "FAILED", "duration": 0.05}


@pytest.mark.parametrize(
    "bad, args, code",
    [
        ([], [], 0),
        ([1], [], 1),
        ([1, 2, 3], [], 1),
        ([], ["--select", "zzz*"], 2),
        ([], ["--select", "zzz*", "--allow-empty"], 0),
    ],
)
def test_the_exit_code_says_what_the_report_says(
    bad: list[int], args: list[str], code: int, tmp_path: Path, capfd: Any
) -> None:
    """All, some, none, nothing selected: the code is 0 only where all is well, and the headline counts what is in the report."""
    scenario = write_scenario(tmp_path, models=[{"id": uuid(n), **BAD} for n in bad])
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", "--scenario", scenario, *args)
    assert done.code == code
    if code == 2:
        assert not (tmp_path / "omni-refresh-report.simulated.json").exists()
        return
    summary = json.loads((tmp_path / "omni-refresh-report.simulated.json").read_text())["summary"]
    assert (summary["failed"], summary["exit_code"]) == (len(bad), code)
    for status in ("failed", "succeeded"):
        assert (f"{summary[status]} {status}" in done.out) is bool(summary[status])


def test_stdout_is_one_document(tmp_path: Path, capfd: Any) -> None:
    """With the highest verbosity, throttles, retries, a warning and a failure: stdout is one JSON document, no more."""
    scenario = write_scenario(
        tmp_path,
        models=[{"id": uuid(1), **BAD}],
        faults=[
            {"method": "POST", "nth": [1], "count": "rule", "status": 429, "headers": {"Retry-After": "0.1"}},
            {"path": "/jobs/", "nth": [1], "status": 500},
        ],
    )
    models = [{"id": uuid(n), "name": f"m{n}", "connection": f"c{n}", "tables": ["a.b"]} for n in (1, 2)]
    done = call(capfd, "run", write_manifest(tmp_path, *models), "--simulate", "--scenario", scenario, "--json", "-v")
    assert done.document["summary"]["failed"] == 1
    assert done.document["summary"]["throttled"] == 1
    assert done.err


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_colour_in_files(log_format: str, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no terminal gets no escape and no carriage return, and few lines a model, in CI too."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("TERM", "xterm-256color")
    done = call(capfd, "run", write_manifest(tmp_path), "--simulate", "--log-format", log_format)
    text = done.out + done.err
    assert "\x1b" not in text
    assert "\r" not in text
    assert len(text.splitlines()) <= 5 * 3 + 20
