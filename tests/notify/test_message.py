"""What a notification says: to programs as data, to people in a few lines, and to no chat service as a command."""

import json
from dataclasses import replace

import pytest
from hypothesis import given

from orchestrator.engine.outcome import Failure, Status
from orchestrator.manifest.manifest import NotifyOn
from orchestrator.notify.message import FAILURES_SENT, TEXT_LIMIT, is_due, make_message, make_text
from orchestrator.report.causes import causes_of
from orchestrator.report.findings import headline
from orchestrator.report.report import Report
from orchestrator.text import clean
from tests.report.reports import ANY_REPORT, EVIL, HALF, START, make_evil_report, make_facts, make_outcome, make_report


def report_of(*statuses: Status | tuple[Status, Status], exit_code: int = 1) -> Report:
    """A report with these statuses; a pair says the status of the run before, too."""
    outcomes = []
    for number, status in enumerate(statuses):
        now, before = status if isinstance(status, tuple) else (status, None)
        outcomes.append(replace(make_outcome(number, now), previous_status=before))
    return Report(run=make_facts(), outcomes=tuple(outcomes), exit_code=exit_code)


GOOD = report_of((Status.SUCCEEDED, Status.SUCCEEDED), Status.SKIPPED, exit_code=0)
STILL_BAD = report_of((Status.FAILED, Status.FAILED), (Status.SUCCEEDED, Status.SUCCEEDED))
NEWLY_BAD = report_of((Status.FAILED, Status.SUCCEEDED), (Status.SUCCEEDED, Status.SUCCEEDED))
RECOVERED = report_of((Status.SUCCEEDED, Status.TIMED_OUT), exit_code=0)


@pytest.mark.parametrize(
    "report, due",
    [
        (GOOD, {NotifyOn.ALWAYS}),
        (STILL_BAD, {NotifyOn.ALWAYS, NotifyOn.FAILURE}),
        (NEWLY_BAD, set(NotifyOn)),
        (RECOVERED, {NotifyOn.ALWAYS, NotifyOn.CHANGE}),
        (replace(GOOD, exit_code=5), {NotifyOn.ALWAYS, NotifyOn.FAILURE}),
        (report_of(Status.REJECTED), set(NotifyOn)),
    ],
)
def test_which_conditions_are_due(report: Report, due: set[NotifyOn]) -> None:
    """`always` of each run, `failure` of an exit code that is not 0, `change` of what newly fails or has recovered."""
    assert {on for on in NotifyOn if is_due(on, report)} == due


def test_the_data_for_programs() -> None:
    """A webhook gets run and summary as the report has them, each failed target with its error, reports and command."""
    report = report_of((Status.REJECTED, Status.SUCCEEDED), (Status.SUCCEEDED, Status.FAILED), Status.SUCCEEDED)
    message = make_message(report, report_paths=("/r/nightly.html",), next_command="omni-refresh retry x")
    assert message["schema_version"] == 1
    assert message["run"]["id"] == report.run.id
    assert message["summary"]["total"] == 3
    assert (message["summary"]["new_failures"], message["summary"]["recovered"]) == (1, 1)
    assert message["summary"]["exit_code"] == 1
    (failure,) = message["failures"]
    assert failure["name"] == "model_0000"
    assert (failure["status"], failure["previous_status"], failure["is_new"]) == ("rejected", "succeeded", True)
    assert (failure["kind"], failure["http_status"]) == ("forbidden", 403)
    assert "permission" in failure["message"]
    assert "Connection Admin" in failure["hint"]
    assert message["recovered"] == ["model_0001"]
    assert message["reports"] == ["/r/nightly.html"]
    assert message["next"] == "omni-refresh retry x"
    assert message["failures_not_listed"] == 0


def test_a_huge_run_makes_a_small_message() -> None:
    """5,000 failed targets with long words make a message of some tens of kilobytes, which says how many it leaves out."""
    long = Failure(kind="bad_request", message="m" * 2000, hint="h" * 2000)
    outcomes = tuple(replace(make_outcome(n, Status.REJECTED), name="n" * 500, error=long) for n in range(5000))
    message = make_message(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    assert len(message["failures"]) == FAILURES_SENT
    assert message["failures_not_listed"] == 5000 - FAILURES_SENT
    assert len(json.dumps(message)) < 100_000


def test_the_budget_s_samples_are_left_out() -> None:
    """What a chart needs is in the report and not in the message."""
    report = make_report(20, budget=True)
    assert report.run.budget
    assert "budget" not in make_message(report)["run"]


def test_the_text_for_people() -> None:
    """The title says how many failed and of what; each cause once with its targets and what to do; then where to look."""
    report = report_of(
        *[(Status.REJECTED, Status.SUCCEEDED)] * 4, (Status.FAILED, Status.FAILED), (Status.SUCCEEDED, Status.ERROR)
    )
    text = make_text(report, report_paths=("/r/nightly.html",), next_command="omni-refresh retry x")
    for fact in (headline(report), "4 newly", "1 recovered", "nightly.yaml"):
        assert fact in text.title
    failed, rejected = causes_of(report)
    lines = text.body.splitlines()
    assert lines[0] == f"failed (STILL): model_0004: {failed.words}"
    assert lines[1] == f"-> {failed.failure.hint}"
    assert lines[2] == f"rejected (NEW): model_0000, model_0001, model_0002 and 1 more: {rejected.words}"
    assert lines[3] == f"-> {rejected.failure.hint}"
    assert lines[4] == "Recovered: model_0005"
    assert lines[5].split("; ") == ["1 failed, 4 rejected, 1 succeeded", "took 10m12s", "exit code 1"]
    assert lines[6:] == ["Report: /r/nightly.html", "Next: omni-refresh retry x"]


def test_how_long_it_has_failed() -> None:
    """What fails again says since when, in the text and in the data. If it is new for some, the text says for how many."""
    failed = replace(make_outcome(0, Status.FAILED), previous_status=Status.FAILED, failing_since=START)
    report = Report(run=make_facts(), outcomes=(failed,), exit_code=1)
    assert make_text(report).body.startswith("failed (STILL since 2026-11-25): model_0000: ")
    assert make_message(report)["failures"][0]["failing_since"] == "2026-11-25T02:00:00.123Z"
    mixed = report_of((Status.FAILED, Status.SUCCEEDED), (Status.FAILED, Status.FAILED))
    assert make_text(mixed).body.startswith("failed (1 NEW): model_0000, model_0001: ")
    assert make_text(report_of(Status.FAILED)).body.startswith("failed: model_0000: ")


def test_titles() -> None:
    """A good run, a run that a signal stopped, and one whose report could not be written have titles of their own."""
    assert make_text(GOOD).title == f"omni-refresh: {headline(GOOD)}, nightly.yaml"
    assert make_text(RECOVERED).title == f"omni-refresh: {headline(RECOVERED)} (1 recovered), nightly.yaml"
    assert "exit code 5" in make_text(replace(GOOD, exit_code=5)).title
    stopped = replace(report_of(Status.NOT_STARTED, exit_code=143), run=replace(make_facts(), signal=15))
    assert make_text(stopped).title.endswith(f"{headline(stopped)}, nightly.yaml")
    assert "stopped" in make_text(stopped).title
    assert make_text(Report(run=make_facts(), outcomes=(), exit_code=0)).body.startswith("no targets; took")


def test_a_long_text_is_cut_before_its_end() -> None:
    """However much went wrong, the text stays short and keeps its last lines: the counts, the report, the command."""
    outcomes = [
        replace(make_outcome(n, Status.REJECTED), error=Failure(kind=f"k{n}", message="m" * 2000, hint="h" * 500))
        for n in range(20)
    ]
    report = Report(run=make_facts(), outcomes=tuple(outcomes), exit_code=1)
    text = make_text(report, report_paths=("/r/" + "x" * 150,), next_command="omni-refresh retry x")
    assert len(text.body) <= TEXT_LIMIT
    assert "\n...\n" in text.body or "\nand 14 more\n" in text.body
    assert text.body.endswith("\nNext: omni-refresh retry x")


def test_more_causes_than_are_shown() -> None:
    """What is left out of a text is counted."""
    outcomes = [
        replace(make_outcome(n, Status.REJECTED), error=Failure(kind=f"k{n}", message="", hint="")) for n in range(9)
    ]
    assert "\nand 3 more\n" in make_text(Report(run=make_facts(), outcomes=tuple(outcomes), exit_code=1)).body


def test_foreign_text_mentions_no_person() -> None:
    """A server's words cannot call a channel, hide a link, open a code block or begin a line of their own."""
    evil = ("<!channel> @everyone <@U1>", "[click](http://e)", "```x```", "**b** __u__", "a\n@here\x1b[2J", *EVIL)
    text = make_text(make_evil_report(evil))
    for bad in ("<!", "<@", "@everyone", "@here", "](", "```", "**", "\x1b", "\u202e"):
        assert bad not in text.title + text.body


@given(ANY_REPORT)
@HALF
def test_any_report_makes_a_message(report: Report) -> None:
    """Whatever the report holds, the message is JSON, and the text short and without control characters."""
    assert json.loads(json.dumps(make_message(report)))
    text = make_text(report)
    assert len(text.title) < 300
    assert len(text.body) <= TEXT_LIMIT
    shown = f"{text.title}\n{text.body}".replace("\u2060", "")
    assert clean(shown, keep_newlines=True) == shown


def test_a_rehearsal_is_marked() -> None:
    """The report of a simulated run says SIMULATED in the title, and `simulated: true` to programs."""
    report = replace(STILL_BAD, run=replace(STILL_BAD.run, simulated=True))
    message = make_message(report)
    assert message["title"].startswith("omni-refresh SIMULATED: ")
    assert message["run"]["simulated"] is True
    assert "SIMULATED" not in make_text(STILL_BAD).title


def test_a_command_is_shown_whole_or_not_at_all() -> None:
    """A text never holds half a command."""
    command = "omni-refresh run m.yaml" + " --select x" * 50
    assert "Next:" not in make_text(STILL_BAD, next_command=command).body
    assert make_message(STILL_BAD, next_command=command)["next"] == command
