"""A run that exits 1 because of new validation issues says so in every format."""

import csv
import io
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from orchestrator.engine.outcome import ContentChanges, DocumentIssues, Outcome, Status, Validation
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


BROKEN = DocumentIssues(
    name="Weekly Revenue",
    identifier="we ek",
    folder="/Reports",
    issues=tuple(f"Total: Field 'orders.{name}' not found in model" for name in ("total", "tax", "fee", "net")),
)
REPAIRED = DocumentIssues(name="Old Report", identifier="old", issues=("q: View 'legacy' not found in model",))
CONTENT = ContentChanges(new=(BROKEN,), fixed=(REPAIRED,), new_documents=1, fixed_documents=1)
LINK = "https://a.example/w/we%20ek"


def with_content(*, fails: bool, content: ContentChanges = CONTENT, outcome: Outcome | None = None) -> Report:
    """Two targets, the second with content that broke, on an instance whose address is known."""
    second = replace(outcome or make_outcome(1), content=content)
    run = replace(make_facts(), new_issues_fail=fails, instances={second.instance: "https://a.example/api"})
    return Report(run=run, outcomes=(make_outcome(0), second), exit_code=int(fails))


@pytest.mark.parametrize("fails", [False, True])
def test_broken_documents_are_named_and_linked(fails: bool) -> None:
    """Each format names the broken document, its issue and its page in Omni, whether it counts as a failure or not."""
    report = with_content(fails=fails)
    for name, text in shown(report).items():
        assert "Weekly Revenue" in text, name
        assert LINK in text or (name == "message" and not fails), name
        assert "orders.total" in text or (name == "message" and not fails), name
        if name not in (".xml", "message"):
            assert "1 document broke, 1 document repaired" in text, name
            assert ("1 of 2 targets broke content" in text) is fails, name
    for text in (render(report, Format.HTML), render_summary(report, width=120, color=False)):
        assert "Old Report" in text


def test_a_webhook_gets_the_pages() -> None:
    """If broken documents count, the webhook's data names them with their links; else the text for people names them."""
    (issues,) = make_message(with_content(fails=True))["new_issues"]
    assert issues["documents"] == [{"name": "Weekly Revenue", "link": LINK}]
    told = make_message(with_content(fails=False))
    assert told["new_issues"] == []
    assert "model_0001: 1 document broke, 1 document repaired: Weekly Revenue" in told["text"]


def test_csv_names_broken_documents() -> None:
    """A row counts the issues of documents, and names the documents that broke."""
    rows = list(csv.DictReader(io.StringIO(render(with_content(fails=True), Format.CSV))))
    assert [row["broken_documents"] for row in rows] == ["", "Weekly Revenue"]
    assert [row["new_issues"] for row in rows] == ["", "4"]
    assert [row["counts_as_failed"] for row in rows] == ["false", "true"]


def test_targets_of_one_model_say_it_once() -> None:
    """Two targets of one model and branch name the broken documents once; those of two branches are two."""
    report = with_content(fails=False)
    again = replace(report.outcomes[1], name="again")
    text = render_summary(replace(report, outcomes=(*report.outcomes, again)), width=120, color=False)
    assert text.count("Weekly Revenue") == 1
    other = replace(again, branch_id="b")
    text = render_summary(replace(report, outcomes=(*report.outcomes, other)), width=120, color=False)
    assert text.count("Weekly Revenue") == 2


def test_what_a_document_is_called_is_only_text() -> None:
    """Names, folders and issues of documents are escaped in every format, and no address is made of them but a path."""
    hostile = DocumentIssues(
        name="<script>alert(1)</script>[x](http://evil)",
        identifier='../"><script>',
        folder="<b>",
        issues=("</p><script>\x1b[31m",),
    )
    report = with_content(fails=True, content=ContentChanges(new=(hostile,), new_documents=1))
    texts = shown(report)
    assert "<script>alert" not in texts[".html"] + texts[".md"] + texts[".xml"]
    assert "/w/..%2F%22%3E%3Cscript%3E" in texts[".html"]
    assert all("\x1b" not in text for text in texts.values())


def test_content_is_read_back() -> None:
    """A report that is rendered again names the same documents; one of an earlier version has none."""
    report = with_content(fails=True)
    document = json.loads(json.dumps(make_document(report)))
    assert [each.content for each in parse_document(document).outcomes] == [None, CONTENT]
    for row in document["outcomes"]:
        del row["content"]
    assert parse_document(document).outcomes[1].content is None


def test_new_warnings_are_no_failure() -> None:
    """A new issue that is only a warning counts in no format, as in the exit code."""
    warned = replace(make_outcome(1), validation=Validation(new=("warning: x",)))
    report = replace(make(), outcomes=(warned,), exit_code=0)
    assert 'failures="0"' in render(report, Format.JUNIT)
    assert "1 model refreshed" in render_summary(report, width=120, color=False)
