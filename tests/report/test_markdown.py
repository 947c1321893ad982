"""Markdown: short, worst first, and inert whatever the server says."""

import html.parser
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from orchestrator.engine.outcome import Failure, Status
from orchestrator.report.as_markdown import MARKDOWN_LIMIT, code, render_markdown
from orchestrator.report.causes import short
from orchestrator.report.findings import against_before, headline
from orchestrator.report.report import Report
from tests.report.reports import ANY_REPORT, ANY_TEXT, FAILURES, HALF, START, make_evil_report, make_facts, make_outcome

OURS = {
    "h2",
    "p",
    "strong",
    "code",
    "br",
    "ul",
    "li",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
}


class Page(html.parser.HTMLParser):
    """The elements of rendered Markdown, the texts of its code spans, and its table's rows."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.codes: list[str] = []
        self.rows: list[int] = []
        self.in_code = False
        self.feed(MarkdownIt("commonmark").enable("table").render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs if name != "style"]
        if tag == "tr":
            self.rows.append(0)
        if tag in {"td", "th"}:
            self.rows[-1] += 1
        if tag == "code":
            self.in_code = True
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_code = self.in_code and tag != "code"

    def handle_data(self, data: str) -> None:
        if self.in_code:
            self.codes[-1] += data


@HALF
@given(ANY_REPORT)
def test_any_markdown_is_inert(report: Report) -> None:
    """Rendered, a report has our elements only: one heading, one row a target, four cells a row."""
    page = Page(render_markdown(report))
    assert set(page.tags) <= OURS
    assert page.tags.count("h2") == 1
    assert page.attributes == []
    assert page.rows == ([4] * (len(report.outcomes) + 1) if report.outcomes else [])


def test_hostile_texts_are_inert_and_short() -> None:
    """Markup, mentions, tables and 100 kB of text make no element, and no line that is markup on its own."""
    text = render_markdown(make_evil_report())
    page = Page(text)
    assert set(page.tags) <= OURS
    assert len(set(page.rows)) == 1
    assert "\n## Injected" not in text
    assert len(text) < MARKDOWN_LIMIT
    bare = re.sub(r"(`+).*?(?<!`)\1(?!`)", "", text)
    assert not re.search(r"@|http:|(?<!&)#1|\$\{", bare)
    assert not re.search(r"<(?!/?code>|/?details>|/?summary>)", text)


@given(ANY_TEXT, st.integers(min_value=4, max_value=300))
def test_a_code_span_shows_its_text(text: str, limit: int) -> None:
    """Any text as a code span is one code element whose content is the text, cleaned and bounded."""
    page = Page("x " + code(text, limit) + " y")
    assert page.tags == ["p", "code"]
    assert len(page.codes[0].strip()) <= limit
    assert "".join(page.codes[0].split()) == "".join(short(text, limit).split())


@pytest.mark.parametrize("name", ["a|b", "a\\|b", "a`|`b", "a``b", "|", "`"])
def test_a_bar_stays_in_its_cell(name: str) -> None:
    """A bar in a name, also behind a backslash or between backticks, makes no new cell."""
    report = Report(run=make_facts(), outcomes=(replace(make_outcome(1), name=name),), exit_code=0)
    page = Page(render_markdown(report))
    assert page.rows == [4, 4]
    assert [text.replace(" ", "") for text in page.codes][2:3] == [name]


def test_the_worst_comes_first_and_a_cause_once() -> None:
    """A cause that hit forty targets is told once with its count and ten names; the unknown comes before the failed."""
    outcomes = [make_outcome(number, Status.FAILED) for number in range(40)] + [make_outcome(50, Status.UNKNOWN)]
    report = Report(run=make_facts(), outcomes=tuple(outcomes), exit_code=1)
    text = render_markdown(report)
    assert text.startswith(f"## ❌ omni-refresh: {headline(report)}\n\n1 unknown, 40 failed in 10m12s")
    assert text.count(FAILURES[Status.FAILED].hint) == 1
    assert "**failed** ×40 `model_0000`" in text
    assert "`model_0009` and 30 more" in text
    assert text.index("**unknown**") < text.index("**failed**")


def test_manifest_and_next_command_come_first() -> None:
    """Before the causes: which manifest and run, when, and the commands that come next."""
    run = replace(make_facts(), next_commands=("omni-refresh retry 2026 --exclude x", "omni-refresh run m.yaml"))
    text = render_markdown(Report(run=run, outcomes=(make_outcome(1, Status.FAILED),), exit_code=1))
    first = text.index("Manifest `configs/nightly.yaml`, run `20261125T020000-7f3a`, 2026-11-25 02:00 UTC.\n")
    following = text.index("Next: `omni-refresh retry 2026 --exclude x`\n\nThen: `omni-refresh run m.yaml`\n")
    assert first < following < text.index("**failed**")


def test_new_failures_come_first_and_are_marked() -> None:
    """A cause says whether its targets fail for the first time; those with new failures come before worse ones."""
    still = replace(
        make_outcome(1, Status.UNKNOWN), previous_status=Status.UNKNOWN, failing_since=START - timedelta(days=5)
    )
    new = replace(make_outcome(2, Status.FAILED), previous_status=Status.SUCCEEDED)
    text = render_markdown(Report(run=make_facts(), outcomes=(still, new), exit_code=1))
    assert text.index("- **failed** NEW `model_0002`") < text.index("- **unknown** STILL since 2026-11-20 `model_0001`")


def test_a_cut_leaves_no_tag_open() -> None:
    """Where the report is cut in the middle of the folded table, the fold is closed."""
    wide = tuple(replace(make_outcome(n), name="|" * 80, covered_by="|" * 80) for n in range(100))
    text = render_markdown(Report(run=make_facts(), outcomes=wide * 3, exit_code=0))
    assert text.count("<details>") == text.count("</details>") == 1
    long = tuple(
        replace(make_outcome(n, Status.FAILED), name=f"{n}" + "<" * 80, error=None, covered_by="<" * 80)
        for n in range(400)
    )
    text = render_markdown(Report(run=make_facts(), outcomes=long, exit_code=1))
    assert "… cut" in text
    assert text.count("<details>") == text.count("</details>")


def test_a_good_run_is_short() -> None:
    """A run in which all went well says so and folds its targets away."""
    one = render_markdown(Report(run=make_facts(), outcomes=(make_outcome(1),), exit_code=0))
    assert one.startswith("## ✅ omni-refresh: 1 model refreshed\n")
    report = Report(run=make_facts(), outcomes=(make_outcome(1), make_outcome(2, Status.SKIPPED)), exit_code=0)
    text = render_markdown(report)
    assert text.startswith(f"## ✅ omni-refresh: {headline(report)}\n")
    assert "<details><summary>2 targets</summary>" in text
    assert "| succeeded | `model_0001` | 8.1s | `" in text
    assert "| skipped | `model_0002` |  |  |" in text


def test_a_stopped_run_says_so() -> None:
    """A run that a signal stopped is told from one that failed."""
    report = Report(run=replace(make_facts(), signal=2), outcomes=(make_outcome(1, Status.INTERRUPTED),), exit_code=130)
    assert f"⏹️ omni-refresh: stopped; {headline(report)}\n" in render_markdown(report)


def test_changes_and_warnings_are_reported() -> None:
    """What newly fails and what recovered against the run before, which refresh covered which target, and each warning once."""
    warned = [
        replace(
            make_outcome(number),
            warnings=(f"model_{number:04d} is slow",),
            previous_status=Status.FAILED,
            covered_by="sales",
        )
        for number in range(15)
    ]
    run = replace(make_facts(), warnings=tuple(f"warning {number}" for number in range(12)))
    text = render_markdown(Report(run=run, outcomes=tuple(warned), exit_code=0))
    compared = against_before(warned)
    assert compared is not None
    assert f": {compared.words}.\n" in text
    assert "- `warning 9`\n- … and 3 more" in text
    assert "via `sales`" in text
    few = render_markdown(Report(run=make_facts(), outcomes=tuple(warned), exit_code=0))
    assert "- `model_0000` and 14 more: `model_0000 is slow`" in few


def test_thousands_of_targets_fit_a_pull_request() -> None:
    """5,000 targets, half of them bad for reasons of their own with long names, stay under a comment's limit."""
    outcomes = tuple(
        replace(
            make_outcome(number, Status.REJECTED if number % 2 else Status.SUCCEEDED),
            name=f"{number} " + "n" * 300,
            error=Failure(kind="x", message=f"reason {number} " + "m" * 2000, hint="h" * 2000) if number % 2 else None,
        )
        for number in range(5000)
    )
    text = render_markdown(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    assert len(text) <= MARKDOWN_LIMIT + 100
    assert "… and 2480 more causes." in text
    assert "… and 4900 more." in text


def test_a_report_of_wide_characters_is_cut() -> None:
    """Where even the bounded parts are too long together, the text ends with a note."""
    text = "``" * 40 + "`"
    warnings = tuple(f"{number}" + "`" * 499 for number in range(10))
    outcomes = tuple(
        replace(
            make_outcome(number, Status.REJECTED),
            name=f"n{number}{text}",
            error=Failure(kind="x", message=f"{number}" + "`" * 499, hint="`" * 500),
        )
        for number in range(200)
    )
    shown = render_markdown(Report(run=replace(make_facts(), warnings=warnings), outcomes=outcomes, exit_code=1))
    assert len(shown) <= MARKDOWN_LIMIT + 100
    assert "… cut" in shown.splitlines()[-1]
