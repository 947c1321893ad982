"""A run beside those before it: what changed, since when it fails, and what took longer than usual; in every format."""

import csv
import io
from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from orchestrator.engine.outcome import Outcome, Status
from orchestrator.report.as_csv import render_csv
from orchestrator.report.as_html import render_html
from orchestrator.report.as_junit import render_junit
from orchestrator.report.as_markdown import render_markdown
from orchestrator.report.document import make_document
from orchestrator.report.findings import Against, against_before, is_slow, slow_outcomes, still_since
from orchestrator.report.report import Report
from orchestrator.report.summary import render_summary
from tests.report.reports import START, make_facts, make_outcome


def failing(number: int, days: float, previous: Status | None = Status.ERROR) -> Outcome:
    """A target that has been failing for so many days."""
    since = START - timedelta(days=days)
    return replace(make_outcome(number, Status.FAILED), previous_status=previous, failing_since=since)


NEW = failing(1, 0, Status.SUCCEEDED)
OLD, OLDEST = failing(2, 2), failing(3, 5)
BACK = replace(make_outcome(4), previous_status=Status.TIMED_OUT)
SLOW = replace(make_outcome(5, took_s=70), usual_s=24.0, usual_runs=3, previous_status=Status.SUCCEEDED)
REPORT = Report(run=make_facts(), outcomes=(NEW, OLD, OLDEST, BACK, SLOW), exit_code=1)


def against(*outcomes: Outcome) -> Against:
    compared = against_before(outcomes)
    assert compared is not None
    return compared


def test_targets_are_grouped_by_what_changed() -> None:
    """Newly failing, still failing (the longest first) and recovered; the counts and the oldest failure in words."""
    compared = against(*REPORT.outcomes)
    assert (compared.new, compared.still, compared.recovered) == ((NEW,), (OLDEST, OLD), (BACK,))
    assert compared.words == "1 newly failing, 2 still failing (the oldest since 2026-11-20), 1 recovered"
    assert against(OLD).words == "0 newly failing, 1 still failing (since 2026-11-23), 0 recovered"
    assert against(BACK).words == "0 newly failing, 0 still failing, 1 recovered"
    unknown = replace(OLD, failing_since=None)
    assert against(unknown, OLD).still == (OLD, unknown)
    assert against(unknown).words == "0 newly failing, 1 still failing, 0 recovered"


def test_without_a_run_before_there_is_nothing_to_compare() -> None:
    """The first run says nothing of changes."""
    assert against_before((make_outcome(1, Status.FAILED), make_outcome(2))) is None


def test_failures_show_since_when() -> None:
    """A new failure has no such day, though its row begins with this run."""
    assert [still_since(o) for o in (NEW, OLD, make_outcome(9))] == [None, "2026-11-23", None]


@pytest.mark.parametrize(
    "took_s, usual_s, slow",
    [(70, 24, True), (48, 24, False), (49, 24, True), (4, 1, False), (6, 1, True), (6.5, 3, False), (70, None, False)],
)
def test_slow_is_more_than_twice_the_usual(took_s: float, usual_s: float | None, slow: bool) -> None:
    """Twice is not slow, more is, as long as the difference is more than how late an end may be seen."""
    assert is_slow(replace(make_outcome(1, took_s=took_s), usual_s=usual_s, usual_runs=3)) is slow


def test_slow_needs_three_earlier_runs() -> None:
    """The median of two durations is not what is usual."""
    assert not is_slow(replace(SLOW, usual_runs=2))
    assert is_slow(SLOW)


def test_what_was_not_refreshed_by_itself_is_not_slow() -> None:
    """A target that was served by another's refresh, or never sent, has no duration of its own."""
    assert not is_slow(replace(SLOW, covered_by="x"))
    assert not is_slow(replace(make_outcome(1, Status.NOT_STARTED), usual_s=1.0))


def test_what_lost_most_time_comes_first() -> None:
    """Slow targets are ordered by the time lost, not by the factor."""
    little = replace(make_outcome(1, took_s=30), usual_s=1.0, usual_runs=3)
    assert slow_outcomes((little, make_outcome(2), SLOW)) == (SLOW, little)


def test_every_format_shows_it() -> None:
    """Changes, the day since when a target fails and the usual duration stand in each format."""
    summary = render_summary(REPORT, width=200, color=False)
    words = "1 newly failing, 2 still failing (the oldest since 2026-11-20), 1 recovered"
    for told in (
        f"Against the run before: {words}\nRecovered: model_0004\n",
        "model_0001 (8.1s) ",
        "model_0003 (8.1s, failing since 2026-11-20)",
        "Slower than usual: model_0005 (1m10s) instead of 24s\n",
    ):
        assert told in summary
    markdown = render_markdown(REPORT)
    for told in (
        f"Against the run before: {words}.\n",
        "Recovered: `model_0004`.\n",
        "`model_0003` (since 2026-11-20)",
        "Took more than twice as long as usual: `model_0005` 1m10s (usually 24s).\n",
        "| `model_0005` | 1m10s (usually 24s) |",
    ):
        assert told in markdown
    page = " ".join(render_html(REPORT).split())
    for told in (f"Against the run before: {words}.", "usually takes: 24s", "failing since: 2026-11-20 02:00:00.123"):
        assert told in page
    suite = ET.fromstring(render_junit(REPORT).encode())
    told_of = [
        {p.attrib["name"]: p.attrib["value"] for p in e.findall("properties/property")}
        for e in suite.iter()
        if e.find("properties") is not None
    ]
    assert {"run.new_failures": "1", "run.still_failing": "2", "run.recovered": "1"}.items() <= told_of[0].items()
    assert {"previous_status": "error", "failing_since": "2026-11-20T02:00:00.123Z"} in told_of
    assert {"previous_status": "succeeded", "usual_s": "24.000"} in told_of
    rows = list(csv.DictReader(io.StringIO(render_csv(REPORT.outcomes))))
    assert [row["usual_s"] for row in rows] == ["", "", "", "", "24.0"]
    assert [row["failing_since"][:10] for row in rows] == ["2026-11-25", "2026-11-23", "2026-11-20", "", ""]
    document = make_document(REPORT)
    assert document["outcomes"][2]["failing_since"] == "2026-11-20T02:00:00.123Z"
    assert document["outcomes"][4]["usual_s"] == 24.0
    counts = document["summary"]
    assert [counts[key] for key in ("new_failures", "still_failing", "recovered")] == [1, 2, 1]


def test_long_lists_are_cut() -> None:
    """Hundreds of recovered or slow targets are a few names and a count."""
    many = tuple(
        replace(make_outcome(n, took_s=70), usual_s=1.0, usual_runs=9, previous_status=Status.FAILED)
        for n in range(300)
    )
    report = Report(run=make_facts(), outcomes=many, exit_code=0)
    summary, markdown = render_summary(report, width=200, color=False), render_markdown(report)
    assert summary.count("and 294 more\n") == 2
    assert markdown.count("and 290 more.\n") == 2
