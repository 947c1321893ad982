"""JUnit XML: valid whatever the text, one case a target."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given

from orchestrator.engine.outcome import Failure, Status
from orchestrator.report.as_junit import render_junit
from orchestrator.report.report import Report
from tests.report.reports import ANY_REPORT, HALF, make_evil_report, make_facts, make_outcome, make_report

ELEMENTS = {
    "testsuites",
    "testsuite",
    "properties",
    "property",
    "testcase",
    "failure",
    "error",
    "skipped",
    "system-out",
}


def read(report: Report) -> ET.Element:
    """The root by a strict parser; it holds suites and nothing else."""
    root = ET.fromstring(render_junit(report).encode("utf-8"))
    assert root.tag == "testsuites"
    assert {suite.tag for suite in root} == {"testsuite"}
    return root


@HALF
@given(ANY_REPORT)
def test_any_report_is_valid_xml(report: Report) -> None:
    """Every report parses; each suite's counts are those of its cases; names are unique; no element is foreign."""
    root = read(report)
    assert len(list(root.iter("testcase"))) == int(root.attrib["tests"]) == len(report.outcomes)
    for part in (root, *root):
        cases = list(part.iter("testcase"))
        assert int(part.attrib["tests"]) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(part.attrib[name]) == sum(case.find(tag) is not None for case in cases)
    assert len({case.attrib["name"] for case in root.iter("testcase")}) == len(report.outcomes)
    assert {element.tag for element in root.iter()} <= ELEMENTS | {"system-err"}
    red = [case for case in root.iter("testcase") if case.find("failure") is not None or case.find("error") is not None]
    assert len(red) == sum(not outcome.status.is_good for outcome in report.outcomes)


def test_a_connection_is_a_suite() -> None:
    """Targets of one connection are one suite, in the order of the first; with several instances the suite names it."""
    outcomes = [replace(make_outcome(n), connection=name) for n, name in enumerate(("eu", "us", "eu", None))]
    suites = read(Report(run=make_facts(), outcomes=tuple(outcomes), exit_code=0))
    told = [(suite.attrib["name"], suite.attrib["tests"], suite.attrib["time"]) for suite in suites]
    assert told == [("eu", "2", "16.200"), ("us", "1", "8.100"), ("connection not known", "1", "8.100")]
    outcomes[1] = replace(outcomes[1], instance="emea")
    suites = read(Report(run=make_facts(), outcomes=tuple(outcomes), exit_code=0))
    assert [suite.attrib["name"] for suite in suites] == ["prod / eu", "emea / us", "prod / connection not known"]


@pytest.mark.parametrize(
    "status, tag",
    [
        (Status.FAILED, "failure"),
        (Status.REJECTED, "failure"),
        (Status.NO_EFFECT, "failure"),
        (Status.UNKNOWN, "error"),
        (Status.TIMED_OUT, "error"),
        (Status.NOT_STARTED, "error"),
        (Status.SKIPPED, "skipped"),
    ],
)
def test_a_status_is_failure_error_or_skipped(status: Status, tag: str) -> None:
    """A refresh that was tried and failed is a failure; one that is unknown or could not be tried is an error."""
    (case,) = read(Report(run=make_facts(), outcomes=(make_outcome(1, status),), exit_code=1)).iter("testcase")
    element = case.find(tag)
    assert element is not None
    assert element.attrib["message"]


def test_a_skipped_case_says_why() -> None:
    """The reason is in the case, whether it is a warning, an error's message, or not known."""
    outcome = make_outcome(1, Status.SKIPPED)
    told = replace(outcome, error=Failure(kind="disabled", message="switched off", hint=""))
    for skipped, message in (
        (outcome, "disabled in the manifest"),
        (told, "switched off"),
        (replace(outcome, warnings=()), "skipped"),
    ):
        assert f'<skipped message="{message}"' in render_junit(
            Report(run=make_facts(), outcomes=(skipped,), exit_code=0)
        )


def test_a_case_says_what_happened_and_what_to_do() -> None:
    """The server's words, its HTTP status, the hint, the job and the warnings are in the case."""
    outcome = replace(make_outcome(1, Status.FAILED), covered_by="sales", warnings=("slow",))
    suite = read(Report(run=replace(make_facts(), warnings=("odd",)), outcomes=(outcome,), exit_code=1))
    text = "".join(suite.itertext())
    for told in (
        "The job ended FAILED.",
        "Omni gives no reason",
        outcome.job_ids[0],
        "covered by: sales",
        "warning: slow",
        "odd",
    ):
        assert told in text
    assert suite[0].attrib["timestamp"] == "2026-11-25T02:00:00"
    assert [case.attrib["time"] for case in suite.iter("testcase")] == ["8.100"]


def test_a_failure_without_words_has_its_status() -> None:
    """An outcome that carries no error still says what it is."""
    outcome = replace(make_outcome(1, Status.UNKNOWN), error=None)
    assert 'message="unknown: unknown"' in render_junit(Report(run=make_facts(), outcomes=(outcome,), exit_code=1))


def test_names_that_cleaning_makes_equal_are_numbered() -> None:
    """Two targets whose names differ only in what cannot be shown keep two names; an empty one has a stand-in."""
    outcomes = tuple(replace(make_outcome(1), name=name) for name in ("a\tb", "a b", "a\nb", "", " "))
    names = [
        case.attrib["name"] for case in read(Report(run=make_facts(), outcomes=outcomes, exit_code=0)).iter("testcase")
    ]
    assert names == ["a b", "a b (2)", "a b (3)", "(no name)", "(no name) (2)"]


def test_hostile_texts_stay_readable() -> None:
    """Characters that XML cannot hold are spelled out, none of the text is lost, and long text is cut."""
    text = render_junit(make_evil_report())
    for shown in (
        r"x\x00y",
        r"a\x1b[2Jb",
        r"\ufffe",
        r"half \ud800 pair",
        "日本 🎉 é",
        r"\u202egnp.exe",
        "]]&gt;&amp;&lt;&gt;'",
    ):
        assert shown in text
    assert "x" * 2001 not in text
    assert len(list(read(make_evil_report()).iter("testcase"))) > 20


def test_many_targets_are_many_cases() -> None:
    """Thousands of targets are thousands of cases."""
    assert len(list(read(make_report(5000)).iter("testcase"))) == 5000
