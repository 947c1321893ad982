"""The metrics: a file that Prometheus reads whatever stands in it, and that remembers when a model last succeeded."""

import re
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given

from orchestrator.engine.outcome import Status
from orchestrator.report.as_prometheus import LAST_SUCCESS, METRICS, RunMetrics, render_metrics
from orchestrator.report.report import Report
from tests.house.tree import ROOT
from tests.report.reports import (
    ANY_REPORT,
    HALF,
    START,
    make_evil_report,
    make_facts,
    make_outcome,
    make_report,
)

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? ([0-9.]+)")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Series:
    """The series of a text, read as strictly as the format is described: each under its HELP and TYPE, none twice."""
    assert text.endswith("\n")
    found: Series = {}
    current, typed = "", set[str]()
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in typed
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {current} gauge"
            typed.add(current)
        else:
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] == current
            assert current in typed
            labels = re.findall(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"', match[2] or "")
            assert len(dict(labels)) == len(labels)
            series = (match[1], frozenset(labels))
            assert series not in found
            found[series] = float(match[3])
    return found


def value(series: Series, metric: str, **labels: str) -> float | None:
    """The value of the only series of a metric that has these labels."""
    found = [v for (name, have), v in series.items() if name == metric and set(labels.items()) <= have]
    assert len(found) <= 1
    return found[0] if found else None


def metrics_of(report: Report) -> RunMetrics:
    """Metrics of a report whose targets are the whole manifest."""
    return RunMetrics(
        report=report,
        calls={("submit", "2xx"): 3, ("poll", "429"): 2},
        holds={"prod": 1},
        models={(o.instance, o.name) for o in report.outcomes},
    )


def test_what_a_run_says() -> None:
    """Counts, calls by kind and status, holds, the budget's use, durations: each under its name, with the manifest."""
    report = make_report(40, budget=True)
    series = parse(render_metrics(metrics_of(report)))
    for status in Status:
        expected = sum(o.status is status for o in report.outcomes)
        assert value(series, "omni_refresh_outcomes", status=status, manifest="configs/nightly.yaml") == expected
    assert value(series, "omni_refresh_calls", kind="submit", status="2xx") == 3
    assert value(series, "omni_refresh_calls", kind="poll", status="429") == 2
    assert value(series, "omni_refresh_throttled_calls") == report.run.throttled
    assert value(series, "omni_refresh_holds", omni_instance="prod") == 1
    peak = value(series, "omni_refresh_budget_used_peak_ratio")
    average = value(series, "omni_refresh_budget_used_average_ratio")
    assert average is not None
    assert peak is not None
    assert 0 < average < peak <= 1
    assert value(series, "omni_refresh_run_exit_code") == 1
    assert value(series, "omni_refresh_run_duration_seconds") == pytest.approx(report.run.duration_s)
    assert value(series, "omni_refresh_run_start_timestamp_seconds") == pytest.approx(START.timestamp())
    timed = next(o for o in report.outcomes if o.duration_s)
    assert value(series, "omni_refresh_model_duration_seconds", model=timed.name) == pytest.approx(timed.duration_s)
    assert {name for name, _ in series} == set(METRICS) - {"omni_refresh_new_failures", "omni_refresh_recovered"}


def test_changes_are_shown_after_an_earlier_run() -> None:
    """New failures and recovered targets are counted once there is something to compare with."""
    outcomes = (
        replace(make_outcome(0, Status.FAILED), previous_status=Status.SUCCEEDED),
        replace(make_outcome(1), previous_status=Status.ERROR),
    )
    series = parse(render_metrics(metrics_of(Report(run=make_facts(), outcomes=outcomes, exit_code=1))))
    assert value(series, "omni_refresh_new_failures") == 1
    assert value(series, "omni_refresh_recovered") == 1


def test_the_last_success_is_remembered() -> None:
    """A model that fails, is skipped or was not selected keeps its last success; one that left the manifest does not."""
    good = Report(run=make_facts(), outcomes=tuple(make_outcome(n) for n in range(5)), exit_code=0)
    first = render_metrics(metrics_of(good))
    later = timedelta(days=1)
    now = (
        replace(make_outcome(0), finished_at=START + later),
        make_outcome(1, Status.FAILED),
        make_outcome(2, Status.SKIPPED),
    )
    report = Report(run=make_facts(), outcomes=now, exit_code=1)
    models = {("prod", f"model_000{n}") for n in range(4)}
    series = parse(render_metrics(RunMetrics(report=report, models=models), earlier=first))
    before = value(parse(first), LAST_SUCCESS, model="model_0001")
    assert before == pytest.approx((START + timedelta(seconds=8.5)).timestamp())
    assert value(series, LAST_SUCCESS, model="model_0000") == pytest.approx((START + later).timestamp())
    for kept in ("model_0001", "model_0002", "model_0003"):
        assert value(series, LAST_SUCCESS, model=kept) == before
    assert value(series, LAST_SUCCESS, model="model_0004") is None
    assert value(series, "omni_refresh_model_success", model="model_0000") == 1
    assert value(series, "omni_refresh_model_success", model="model_0001") == 0
    assert value(series, "omni_refresh_model_success", model="model_0002") is None


def test_files_of_two_manifests_lie_in_one_folder() -> None:
    """Each series carries its manifest, so that two files have none in common, whatever paths the manifests were given by."""
    report = make_report(20, budget=True)
    there = replace(report, run=replace(report.run, manifest_identity="/there/nightly.yaml"))
    here = replace(report, run=replace(report.run, manifest_identity="/here/nightly.yaml"))
    first, second = (set(parse(render_metrics(metrics_of(each)))) for each in (there, here))
    assert first
    assert not first & second
    assert all(any(label == "manifest" for label, _ in labels) for _, labels in first)


def test_a_model_that_never_succeeded() -> None:
    """Its last success is 0, selected or not, so that an alert on its age fires; one that no run follows has none."""
    outcomes = (make_outcome(0, Status.FAILED), make_outcome(1, Status.ACCEPTED))
    names = [f"model_000{n}" for n in range(4)]
    models = {("prod", name) for name in names}
    metrics = RunMetrics(
        report=Report(run=make_facts(), outcomes=outcomes, exit_code=1), models=models, unfollowed={("prod", names[3])}
    )
    series = parse(render_metrics(metrics))
    assert [value(series, LAST_SUCCESS, model=name) for name in names] == [0, None, 0, None]
    assert parse(render_metrics(metrics, earlier=render_metrics(metrics))) == series


def test_names_survive_from_file_to_file() -> None:
    """The last success of a model with quotes, backslashes and line breaks in its name is found again."""
    name = 'a "b" \\n c\\ d\ne é'
    outcome = replace(make_outcome(0), name=name)
    report = Report(run=make_facts(), outcomes=(outcome,), exit_code=0)
    first = render_metrics(metrics_of(report))
    failed = replace(report, outcomes=(replace(make_outcome(0, Status.FAILED), name=name),))
    second = render_metrics(metrics_of(failed), earlier=first)
    assert [line for line in first.split("\n") if line.startswith(LAST_SUCCESS)] == [
        line for line in second.split("\n") if line.startswith(LAST_SUCCESS)
    ]


@pytest.mark.parametrize(
    "earlier", ["", "\x00" * 100, LAST_SUCCESS + "{} 1\n", LAST_SUCCESS + '{model="x" 1e99\n', "x" * 100_000]
)
def test_an_earlier_file_may_be_anything(earlier: str) -> None:
    """What is no such file is passed over."""
    assert parse(render_metrics(metrics_of(make_report(3)), earlier=earlier))


def test_names_that_become_the_same_stand_once() -> None:
    """Two names that differ only in what cannot be written make one series: the file stays readable."""
    outcomes = tuple(replace(make_outcome(n), name=name) for n, name in enumerate(("a\tb", "a b")))
    series = parse(render_metrics(metrics_of(Report(run=make_facts(), outcomes=outcomes, exit_code=0))))
    assert value(series, LAST_SUCCESS, model="a b") is not None


@given(ANY_REPORT)
@HALF
def test_any_report_makes_metrics(report: Report) -> None:
    """Whatever names hold, each line is one that Prometheus reads, and the text is UTF-8."""
    text = render_metrics(metrics_of(report))
    assert parse(text.encode("utf-8").decode("utf-8"))
    assert text == render_metrics(metrics_of(report), earlier=text)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
@pytest.mark.parametrize("report", [make_report(50, budget=True), make_evil_report()], ids=["usual", "evil"])
def test_promtool_reads_the_metrics(report: Report) -> None:
    """Prometheus' own check finds nothing to complain of, not even in style."""
    text = render_metrics(metrics_of(report))
    ran = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
def test_promtool_reads_the_rules() -> None:
    """The example rules load, and fire and stay silent in their own tests."""
    rules = ROOT / "configs" / "alerts.yaml"
    checked = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    tested = subprocess.run(
        ["promtool", "test", "rules", *map(str, sorted((ROOT / "tests" / "report").glob("*.test.yaml")))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_metric_is_described() -> None:
    """The reference lists each metric with its meaning, in order, and the rules use no other."""
    page = (ROOT / "docs" / "how-to" / "metrics-and-alerts.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(METRICS)
    rules = (ROOT / "configs" / "alerts.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"omni_refresh_\w+", rules)) <= set(METRICS)
