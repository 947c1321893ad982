"""A run that exits 1 because of new validation issues says so in every format."""

import csv
import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from orchestrator.engine.outcome import Status, Validation
from orchestrator.notify.message import make_message
from orchestrator.report.document import make_document, parse_document
from orchestrator.report.files import Format, render
from orchestrator.report.report import Report
from orchestrator.report.summary import render_summary
from tests.report.reports import make_facts, make_outcome

ISSUES = ("Field `orders.total` does not exist", "View `x` is empty")


def make(*, bad: bool = False, fails: bool = True) -> Report:
    """Three targets, the second with new issues, the third failed if wanted."""
    outcomes = (
        make_outcome(0),
        replace(make_outcome(1), validation=Validation(new=ISSUES)),
        make_outcome(2, Status.FAILED if bad else Status.SUCCEEDED),
    )
    return Report(run=replace(make_facts(), new_issues_fail=fails), outcomes=outcomes, exit_code=int(fails or bad))


def shown(report: Report) -> dict[str, str]:
    """What people read, by format."""
    texts = {wanted.value: render(report, wanted) for wanted in (Format.MARKDOWN, Format.HTML, Format.JUNIT)}
    return texts | {
        "summary": render_summary(report, width=120, color=False),
        "message": json.dumps(make_message(report)),
    }


@pytest.mark.parametrize("bad", [False, True])
def test_every_format_says_so(bad: bool) -> None:
    """No format calls the run good; each names the target and its first issue."""
    report = make(bad=bad)
    words = "1 of 3 targets did not succeed, 1 brought" if bad else "1 of 3 targets brought new validation issues"
    for name, text in shown(report).items():
        assert "orders.total" in text or "orders&#46;total" in text, name
        assert "model_0001" in text, name
        assert "are good" not in text, name
        if name not in (".xml", "message"):
            assert words in text, name
    assert "✅" not in render(report, Format.MARKDOWN)
    assert "brought new validation issues" in make_message(report)["title"]
    assert make_message(report)["new_issues"][0]["count"] == 2


@pytest.mark.parametrize("bad", [False, True])
def test_junit_counts_a_failure(bad: bool) -> None:
    """The case is a failure of its own type, and is counted."""
    root = ET.fromstring(render(make(bad=bad), Format.JUNIT).split("\n", 1)[1])
    assert root.get("failures") == str(1 + bad)
    (failure,) = root.findall(".//testcase[@name='model_0001']/failure")
    assert failure.get("type") == "new_issues"
    assert ISSUES[0] in (failure.get("message") or "")


def test_csv_counts_it() -> None:
    """The column `counts_as_failed` is true for what makes the exit code 1."""
    rows = list(csv.DictReader(io.StringIO(render(make(bad=True), Format.CSV))))
    assert [row["counts_as_failed"] for row in rows] == ["false", "true", "true"]
    assert [row["new_issues"] for row in rows] == ["", "2", ""]


def test_without_the_option_they_are_no_failure() -> None:
    """Where new issues do not count, the run is good in every format."""
    report = make(fails=False)
    assert "✅" in render(report, Format.MARKDOWN)
    assert 'failures="0"' in render(report, Format.JUNIT)
    assert "All 3 models refreshed" in render_summary(report, width=120, color=False)
    assert make_message(report)["new_issues"] == []


def test_it_is_read_back() -> None:
    """A report that is rendered again says the same."""
    report = make()
    assert parse_document(make_document(report)).run.new_issues_fail
    assert "new_issues_fail" not in make_document(make(fails=False))["run"]


def test_excel_gets_a_byte_order_mark() -> None:
    """`.excel.csv` begins with the mark that Excel needs, `.csv` without."""
    report = make()
    assert render(report, Format.EXCEL_CSV) == "\ufeff" + render(report, Format.CSV)


def test_junit_names_fit_into_ci_servers() -> None:
    """Names and class names have at most 255 characters, stay unique, and are the same whatever stands before them."""
    names = ["x" * 255 + end for end in ("", "a", "b", "b\t", "b ")] + ["short"]
    outcomes = tuple(replace(make_outcome(n), name=name, instance="i" * 400) for n, name in enumerate(names))
    whole = Report(run=make_facts(), outcomes=outcomes, exit_code=0)
    alone = replace(whole, outcomes=outcomes[2:3])
    cases = ET.fromstring(render(whole, Format.JUNIT).split("\n", 1)[1]).findall(".//testcase")
    shown = [str(case.get("name")) for case in cases]
    assert len(set(shown)) == len(names)
    assert max(map(len, shown)) == 255
    assert max(len(str(case.get("classname"))) for case in cases) == 255
    (case,) = ET.fromstring(render(alone, Format.JUNIT).split("\n", 1)[1]).findall(".//testcase")
    assert case.get("name") == shown[2]
