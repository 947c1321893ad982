"""The end of a run on the terminal: worst first, each cause once, plain off a terminal, harmless always."""

import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from orchestrator.engine.outcome import Failure, Status
from orchestrator.report.findings import against_before, headline
from orchestrator.report.report import Report
from orchestrator.report.summary import render_summary
from tests.report.reports import ANY_REPORT, HALF, make_evil_report, make_facts, make_outcome, make_report

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def plain(report: Report, width: int = 100) -> str:
    return render_summary(report, width=width, color=False)


def of(*statuses: Status) -> Report:
    outcomes = tuple(make_outcome(number, status) for number, status in enumerate(statuses))
    return Report(run=make_facts(), outcomes=outcomes, exit_code=0)


def assert_harmless(text: str) -> None:
    """Nothing but text, line ends and, at most, styles; no line that a CI system obeys."""
    text = STYLE.sub("", text)
    assert not [char for char in text if unicodedata.category(char) in {"Cc", "Cs"} and char != "\n"]
    for line in text.splitlines():
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert "##vso[" not in line


@HALF
@given(ANY_REPORT, st.integers(min_value=1, max_value=200), st.booleans())
def test_any_summary_is_harmless(report: Report, width: int, color: bool) -> None:
    """Any report at any width is text that steers nothing, and without colour holds no escape and no carriage return."""
    report = replace(report, run=replace(report.run, next_commands=("omni-refresh retry x",)))
    text = render_summary(report, width=width, color=color, report_paths=("r\x1b.json",))
    assert_harmless(text)
    assert color or "\x1b" not in text
    assert text.endswith("omni-refresh retry x\n")
    text.encode("ascii", "backslashreplace")


@pytest.mark.parametrize("width", [40, 60, 71, 72, 100, 200])
@pytest.mark.parametrize("color", [True, False])
def test_no_line_is_wider_than_the_terminal(width: int, color: bool) -> None:
    """Between 40 and 200 columns every line fits, wide characters counted as two."""
    wide = tuple(replace(make_outcome(n, Status.FAILED), name="日本語" * n + "🎉") for n in range(30))
    for report in (make_report(300), make_evil_report(), Report(run=make_facts(), outcomes=wide, exit_code=1)):
        lines = STYLE.sub("", render_summary(report, width=width, color=color)).splitlines()
        assert max(map(cell_len, lines)) <= width + 1  # a defused command gains one character


def test_the_worst_comes_first_and_a_cause_once() -> None:
    """A repeated cause is told once, with names and a count; statuses come worst first."""
    report = of(*[Status.REJECTED] * 9, Status.SUCCEEDED, Status.UNKNOWN)
    text = plain(report)
    assert text.startswith(f"{headline(report)}\n")
    assert text.count("permission") == 1
    assert text.count("Connection Admin") == 1
    assert "and 3 more" in text
    assert text.index("502 Bad gateway") < text.index("403 You do not")
    assert text.index("403 You do not") < text.index("succeeded    model_0009 (8.1s)")


@pytest.mark.parametrize("width", [50, 100])
def test_every_bad_target_has_the_servers_words_and_a_hint(width: int) -> None:
    """For each status that is not good the words, the HTTP status where there is one, and the hint are shown."""
    for status in Status:
        text = " ".join(plain(of(status), width).split())
        assert status.value.replace("_", " ") in text
        failure = make_outcome(1, status).error
        if failure is not None and not status.is_good:
            for told in (failure.message, failure.hint, f"{failure.http_status or ''}"):
                assert "".join(told.split()) in "".join(text.split())


def test_the_headline_counts_are_the_reports() -> None:
    """The counts by status add up to the targets, and a headline is never greener than its outcomes."""
    report = make_report(300, bad_share=0.3)
    text = plain(report)
    bad = sum(not outcome.status.is_good for outcome in report.outcomes)
    assert text.startswith(f"{bad} of 300 targets")
    (line,) = re.findall(r"^300 targets: (.*)\nTook ", text, re.MULTILINE | re.DOTALL)
    counts = {word.strip(): int(number) for number, word in re.findall(r"(\d+) ([a-z ]+)", line.replace("\n", " "))}
    assert sum(counts.values()) == 300
    for status in Status:
        assert counts.get(status.value.replace("_", " "), 0) == sum(o.status is status for o in report.outcomes)
    assert "Took " in text
    assert "940 calls: 612 polls, 3 throttled" in text


def test_a_good_run_is_one_line() -> None:
    """All good: the headline says so; few targets are listed, many are only counted."""
    assert plain(of(Status.SUCCEEDED)).startswith("1 model refreshed\n")
    report = of(Status.SUCCEEDED, Status.SKIPPED, Status.ACCEPTED)
    few = plain(report)
    assert few.startswith(f"{headline(report)}\n")
    assert "model_0000 (8.1s)" in few
    assert re.search("skipped +model_0001 +disabled in the manifest\n", few)
    assert "Warning" not in few
    many = plain(of(*[Status.SUCCEEDED] * 13))
    assert "model_0000" not in many
    assert "13 targets: 13 succeeded" in many


def test_nothing_selected_is_said() -> None:
    """A run without targets says so and does not call them good."""
    text = plain(of())
    assert text.startswith("Nothing to do: ")
    assert "API budget" not in plain(replace(of(), run=replace(make_facts(), requests=0)))


def test_a_long_name_has_the_room_that_other_columns_leave() -> None:
    """An id as a name stands on one line if nothing is said about its target."""
    report = of(Status.SUCCEEDED)
    name = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
    report = replace(report, outcomes=(replace(report.outcomes[0], name=name),))
    assert re.search(rf"^succeeded +{name} \(", render_summary(report, width=80, color=False), re.MULTILINE)


def test_a_stopped_run_says_so() -> None:
    """A signal is named before the counts."""
    report = replace(of(Status.INTERRUPTED), run=replace(make_facts(), signal=15))
    assert plain(report).startswith(f"Stopped by a signal: {headline(report)}\n")


def test_covered_targets_name_their_refresh() -> None:
    """A target that another's refresh served names it."""
    report = replace(of(), outcomes=(replace(make_outcome(1), covered_by="sales"),))
    assert "by the refresh of sales" in plain(report)


def test_thousands_of_bad_targets_stay_readable() -> None:
    """5,000 targets that all failed for reasons of their own: about fifty are shown, the others counted."""
    outcomes = tuple(
        replace(make_outcome(n, Status.REJECTED), error=Failure(kind="x", message=f"reason {n}", hint="do it"))
        for n in range(5000)
    )
    text = plain(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    assert "and 4950 more targets" in text
    assert len(text.splitlines()) < 250


def test_warnings_are_reported_once() -> None:
    """Equal warnings are told once with their count, those of the run first, and their number is bounded."""
    outcomes = tuple(replace(make_outcome(n), warnings=(f"model_{n:04d} waits", f"odd {n}")) for n in range(20))
    run = replace(make_facts(), warnings=("everything is slow", "everything is slow"))
    text = plain(Report(run=run, outcomes=outcomes, exit_code=0))
    assert text.count("everything is slow") == 1
    assert "model_0000 and 19 more: model_0000 waits" in text
    assert "and 14 more warnings" in text
    assert text.index("everything is slow") < text.index("waits")


def test_changes_against_the_run_before_are_reported() -> None:
    """Newly failing and recovered targets are counted where there was a run before."""
    outcomes = (
        replace(make_outcome(1), previous_status=Status.FAILED),
        replace(make_outcome(2, Status.FAILED), previous_status=Status.SUCCEEDED),
    )
    text = plain(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    compared = against_before(outcomes)
    assert compared is not None
    assert f": {compared.words}\nRecovered: model_0001\n" in text


def test_reports_and_the_next_command_are_never_broken() -> None:
    """Paths and the command to copy stand on one line each, however narrow the terminal."""
    path, command = "/very/long/" + "folder/" * 20 + "r.json", "omni-refresh resume " + "x" * 90
    report = of(Status.FAILED)
    report = replace(report, run=replace(report.run, next_commands=(command,)))
    text = render_summary(report, width=40, color=False, report_paths=(path, "b.html"))
    assert f"Report: {path}\nReport: b.html\nNext: {command}\n" in text


def test_colour_only_on_request() -> None:
    """Styles are there for a terminal, the words are the same."""
    report = make_report(40)
    coloured = render_summary(report, width=100, color=True)
    assert "\x1b[" in coloured
    bare = "\n".join(line.rstrip() for line in STYLE.sub("", coloured).splitlines())
    assert bare == plain(report).rstrip("\n")


def test_a_command_that_wrapping_brings_to_a_lines_start_is_defused() -> None:
    """Text that is harmless within a line stays so when the line is broken just before it."""
    report = of(Status.FAILED)
    for pad in range(60):
        error = Failure(kind="x", message="y" * pad + " ::error::gotcha", hint="")
        for width in (40, 80):
            assert_harmless(plain(replace(report, outcomes=(replace(report.outcomes[0], error=error),)), width))
