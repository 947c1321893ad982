"""The HTML report in a real browser: it asks for nothing, complains of nothing, and works by mouse and by keyboard, on a
phone, in the dark, on paper, for a screen reader, and without scripts.
"""

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from orchestrator.engine.outcome import Status
from orchestrator.report.as_html import render_html
from orchestrator.report.report import Report
from tests.browser.chromium import Page, chromium, find_chromium, open_page
from tests.report.reports import make_evil_report, make_report

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no chromium")

SIZES = (3, 300, 5000)


def _axe() -> Path | None:
    """axe-core's program text: named by AXE_CORE, or in a package that brings it."""
    if named := os.environ.get("AXE_CORE"):
        return Path(named)
    spec = importlib.util.find_spec("axe_playwright_python")
    return Path(spec.origin).with_name("axe.min.js") if spec is not None and spec.origin is not None else None


def with_past(report: Report) -> Report:
    """The report of a manifest that ran before, on an instance whose address is known."""
    random = Random(5)
    outcomes = []
    for outcome in report.outcomes:
        recent = tuple(random.choices((Status.SUCCEEDED, Status.FAILED, Status.SKIPPED), (18, 1, 1), k=10))
        outcomes.append(replace(outcome, recent=recent, previous_status=recent[-1], usual_s=20.0, usual_runs=10))
    run = replace(
        report.run, instances={"prod": "https://blobsrus.omniapp.co"}, next_commands=("omni-refresh retry 20261125",)
    )
    return replace(report, run=run, outcomes=tuple(outcomes))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report's files: runs with 3, 300 and 5,000 targets, and one whose texts are hostile."""
    folder = tmp_path_factory.mktemp("reports")
    made = {str(size): with_past(make_report(size, budget=True)) for size in SIZES} | {"evil": make_evil_report()}
    for name, report in made.items():
        (folder / f"{name}.html").write_text(render_html(report), encoding="utf-8", errors="backslashreplace")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A tab for all tests of a worker."""
    with chromium() as browser, open_page(browser) as opened:
        yield opened


@pytest.fixture(autouse=True)
def usual_window(page: Page) -> None:
    """A desk's window, by day."""
    page.window(1280)


def rows(page: Page) -> list[str]:
    """The names in the table's rows that are shown, in their order."""
    shown = "[...document.querySelectorAll('#table tbody tr')].filter(r => r.getClientRects().length)"
    names: list[str] = page.evaluate(f"{shown}.map(r => r.querySelector('summary').textContent)")
    return names


def column(page: Page, index: int) -> list[str]:
    """The texts of a column in the rows that are shown."""
    shown = "[...document.querySelectorAll('#table tbody tr')].filter(r => r.getClientRects().length)"
    texts: list[str] = page.evaluate(f"{shown}.map(r => r.cells[{index}].textContent)")
    return texts


def focused(page: Page) -> str:
    """The text of what has the keyboard's focus."""
    text: str = page.evaluate("(document.activeElement.textContent || document.activeElement.id).trim()")
    return text


def tab_to(page: Page, text: str) -> None:
    """Press Tab until what begins with this text has the focus."""
    for _ in range(400):
        page.press("Tab")
        if focused(page).startswith(text):
            return
    pytest.fail(f"Tab never leads to {text!r}")


@pytest.mark.parametrize("name", ["3", "300", "5000", "evil"])
def test_it_asks_for_nothing_and_complains_of_nothing(page: Page, reports: dict[str, Path], name: str) -> None:
    """No request leaves the page, and there is no error or warning in its console, whatever the texts hold."""
    page.open(reports[name])
    page.click("#search")
    page.write("model")
    assert page.requests == []
    assert page.complaints == []
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed').length") == 0


def test_five_thousand_targets_open_soon(page: Page, reports: dict[str, Path]) -> None:
    """From the first byte to the end of loading, the best of three: half a second on a quiet machine; a loaded one is slower."""
    taken = []
    for _ in range(3):
        page.open(reports["5000"])
        timing = "performance.getEntriesByType('navigation')[0]"
        taken.append(page.evaluate(f"new Promise(d => setTimeout(() => d({timing}.loadEventEnd), 0))"))
    assert min(taken) < 4000, taken


def test_sorting_by_mouse(page: Page, reports: dict[str, Path]) -> None:
    """A click on a heading sorts by it, a second one the other way round; the heading says which."""
    page.open(reports["300"])
    before = rows(page)
    page.click("th:nth-child(2) button")
    assert rows(page) == sorted(before) or rows(page)[:5] == sorted(rows(page))[:5]
    assert page.evaluate("document.querySelector('th:nth-child(2)').ariaSort") == "ascending"
    page.click("th:nth-child(2) button")
    assert rows(page)[:5] == sorted(rows(page), reverse=True)[:5]
    assert page.evaluate("document.querySelector('th:nth-child(2)').ariaSort") == "descending"
    assert page.complaints == []


def test_searching_and_filtering_by_mouse(page: Page, reports: dict[str, Path]) -> None:
    """Words narrow the rows, a status's button does too, both together as well; how many match is told."""
    page.open(reports["300"])
    total = page.evaluate("document.querySelectorAll('#table tbody tr').length")
    page.click("#search")
    page.write("model_001")
    assert rows(page)
    assert all("model_001" in name for name in rows(page))
    assert page.evaluate("document.getElementById('shown').textContent").startswith("10 of 300")
    page.evaluate("(s => { s.value = ''; s.dispatchEvent(new Event('input')); })(document.getElementById('search'))")
    page.click(".chip")
    status = page.evaluate("document.querySelector('.chip').dataset.status")
    assert page.evaluate("document.querySelector('.chip').ariaPressed") == "true"
    assert set(column(page, 0)) == {status}
    page.click(".chip")
    assert len(rows(page)) == min(total, 200)


def test_filters_stand_in_the_address(page: Page, reports: dict[str, Path]) -> None:
    """What is searched, filtered and sorted is in the address, and a page opened with it shows the same rows."""
    page.open(reports["300"])
    page.click("#search")
    page.write("model_00")
    page.click(".chip[data-status=succeeded]")
    page.click("th:nth-child(2) button")
    page.click("th:nth-child(2) button")
    shown, address = rows(page), page.evaluate("location.hash")
    assert address == "#q=model_00&status=succeeded&sort=1-"
    page.open(reports["3"])
    page.open(reports["300"], fragment=address)
    assert rows(page) == shown
    assert page.evaluate("document.querySelector('.chip[data-status=succeeded]').ariaPressed") == "true"
    assert page.evaluate("document.querySelector('th:nth-child(2)').ariaSort") == "descending"
    assert page.complaints == []


def test_names_and_the_next_command_are_copied(page: Page, reports: dict[str, Path]) -> None:
    """The buttons put the names of all rows that match, also those beyond the first page, and the command on the clipboard."""
    page.open(reports["300"])
    page.evaluate("(navigator.clipboard.writeText = async text => { window.copied = text; }, 0)")
    page.click("#names")
    names = page.evaluate("window.copied").split("\n")
    assert len(names) == 300
    assert names[:200] == [name.split(" since ")[0] for name in rows(page)]
    page.click(".copy")
    assert page.evaluate("window.copied") == "omni-refresh retry 20261125"


def test_rows_lead_into_omni(page: Page, reports: dict[str, Path]) -> None:
    """The instance on top, and the model in a row whose details are opened, are links to Omni's pages."""
    page.open(reports["3"])
    assert page.evaluate("document.querySelector('.about a').href") == "https://blobsrus.omniapp.co/"
    page.click("#table summary")
    link = page.evaluate("new Promise(d => setTimeout(() => d(document.querySelector('.facts a').href), 50))")
    assert link.startswith("https://blobsrus.omniapp.co/models/")
    assert link.endswith("/ide")
    assert page.requests == []


def test_a_phone_can_jump_past_the_timeline(page: Page, reports: dict[str, Path]) -> None:
    """On a phone there is a link from the timeline to the outcomes; a desk needs none."""
    for width, shown in ((375, True), (1280, False)):
        page.window(width)
        page.open(reports["300"])
        assert page.evaluate("document.querySelector('.jump').getClientRects().length > 0") is shown


def test_paper_has_the_headings_and_the_details(page: Page, reports: dict[str, Path]) -> None:
    """On paper the headings are text, which is repeated on each page, and details of what failed are open; after it, as before."""
    page.open(reports["300"])
    closed = "document.querySelectorAll('details.bad:not([open])').length"
    before = page.evaluate(closed)
    assert before > 0
    page.evaluate("(dispatchEvent(new Event('beforeprint')), 0)")
    assert page.evaluate(closed) == 0
    page.evaluate("(dispatchEvent(new Event('afterprint')), 0)")
    assert page.evaluate(closed) == before
    style = "[...document.styleSheets[0].cssRules].find(r => r.conditionText === 'print').cssText"
    assert "content: attr(data-label)" in page.evaluate(style)
    assert page.evaluate("[...document.querySelectorAll('th')].every(th => th.dataset.label)") is True


def test_everything_by_keyboard(page: Page, reports: dict[str, Path]) -> None:
    """Skipping to the outcomes, searching, filtering, sorting and opening a row's details need no mouse."""
    page.open(reports["3"])
    page.press("Tab")
    assert focused(page).startswith("Skip to")
    page.press("Enter")
    tab_to(page, "search")
    page.write("model_0001")
    assert rows(page) == ["model_0001"]
    page.press("Tab")
    chip = focused(page)
    page.press("Space")
    assert page.evaluate("document.activeElement.ariaPressed") == "true", chip
    page.press("Space")
    tab_to(page, "Target")
    page.press("Enter")
    assert page.evaluate("document.querySelector('th:nth-child(2)').ariaSort") == "ascending"
    tab_to(page, "model_0001")
    page.press("Enter")
    assert page.evaluate("document.activeElement.closest('details').open") is True


def test_what_has_the_focus_is_seen(page: Page, reports: dict[str, Path]) -> None:
    """Each stop of the keyboard is marked: with an outline, or as the page's own elements are."""
    page.open(reports["3"])
    for _ in range(12):
        page.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", focused(page)


@pytest.mark.parametrize("name", ["3", "300", "5000", "evil"])
@pytest.mark.parametrize("width", [375, 320, 1280])
def test_nothing_is_wider_than_the_window(page: Page, reports: dict[str, Path], name: str, width: int) -> None:
    """On a phone the page needs no sideways scrolling."""
    page.window(width)
    page.open(reports[name])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("innerWidth") == width


def test_it_is_dark_in_the_dark(page: Page, reports: dict[str, Path]) -> None:
    """With a dark colour scheme the page is dark with light text."""
    lightness = "(e => getComputedStyle(document.body)[e].match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 765)"
    for dark in (False, True):
        page.window(1280, dark=dark)
        page.open(reports["3"])
        ground = page.evaluate(f"{lightness}('backgroundColor')")
        text = page.evaluate(f"{lightness}('color')")
        assert (ground < 0.3) is dark
        assert (text > 0.7) is dark


@pytest.mark.parametrize("name", ["3", "300"])
def test_it_prints(page: Page, reports: dict[str, Path], name: str) -> None:
    """On paper every target stands, and no button; 300 are some pages and not hundreds."""
    page.open(reports[name])
    paper = page.print()
    assert paper.startswith(b"%PDF")
    pages = paper.count(b"/Type /Page\n") or paper.count(b"/Type /Page")
    assert 1 <= pages < 60
    assert page.complaints == []
    assert page.evaluate("[...document.querySelectorAll('#table tbody tr')].filter(r => r.hidden).length") == 0


def test_it_is_read_without_scripts(page: Page, reports: dict[str, Path]) -> None:
    """Without scripts everything can be read, and details open."""
    page.scripts(allowed=False)
    try:
        page.open(reports["3"])
        text = page.evaluate("document.body.innerText")
        for name in ("model_0000", "model_0001", "model_0002", "Timeline"):
            assert name in text
        assert page.evaluate("document.querySelectorAll('#table tbody tr').length") == 3
    finally:
        page.scripts(allowed=True)


@pytest.mark.skipif(_axe() is None, reason="no axe-core")
@pytest.mark.parametrize(
    "name, width, dark",
    [("3", 1280, False), ("3", 375, True), ("300", 1280, True), ("300", 375, False), ("evil", 1280, False)],
)
def test_axe_finds_nothing(page: Page, reports: dict[str, Path], name: str, width: int, dark: bool) -> None:
    """axe-core finds no fault against WCAG 2 A or AA, serious or not."""
    axe = _axe()
    assert axe is not None
    page.window(width, dark=dark)
    page.open(reports[name])
    page.evaluate(axe.read_text(encoding="utf-8") + "; 0")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = page.evaluate(
        f"axe.run(document, {json.dumps(options)}).then(r => r.violations.map("
        "v => [v.impact, v.id, v.help, v.nodes.length, v.nodes[0].html.slice(0, 200)]))"
    )
    assert found == []
