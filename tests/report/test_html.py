"""The HTML report: one file that asks for nothing and runs nothing of others, whole at any size."""

import base64
import hashlib
import html.parser
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given

from orchestrator.engine.outcome import CallKind, CallMade, Failure, Status, Validation
from orchestrator.report.as_html import render_html
from orchestrator.report.links import model_link
from orchestrator.report.report import Report, Trigger
from tests.report.reports import (
    ANY_REPORT,
    EVIL,
    FAILURES,
    HALF,
    START,
    make_evil_report,
    make_facts,
    make_id,
    make_outcome,
    make_report,
)

VOID = {"meta", "link", "input"}
OPEN_ENDED = {"td", "tr", "dt", "dd"}
OURS = re.compile(
    "html|head|title|meta|link|style|script|body|a|header|h[1-3]|p|time|svg|rect|path|text|ul|ol|li|b|i|section|span|main|div"
    "|line|form|label|fieldset|legend|input|button|table|caption|thead|tbody|t[rhd]|details|summary|footer|d[ltd]|code"
)
MIB = 1024 * 1024


class Page(html.parser.HTMLParser):
    """A page's elements, checked for balance, with the attributes and texts that matter."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.rows = 0
        self.sources: dict[str, list[str]] = {"style": [], "script": []}
        self.policy = ""
        self.words: list[str] = []
        self._open: list[str] = []
        self.size = len(text.encode())
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        assert len(values) == len(attrs)
        self.names |= values.keys()
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action", "xlink:href", "data"}]
        self.rows += tag == "tr" and (values.get("id") or "").startswith("t")
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        if tag in self.sources:
            self.sources[tag].append("")
        if tag in OPEN_ENDED:
            self.words.append(" ")
        elif tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPEN_ENDED:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.sources:
            self.sources[self._open[-1]][-1] += data
        else:
            self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")


def assert_whole_and_harmless(report: Report) -> Page:
    """Only our elements and attributes, links within the page alone, a row a target, and a policy that fits."""
    page = Page(render_html(report))
    assert not [tag for tag in page.tags if not OURS.fullmatch(tag)]
    assert not [name for name in page.names if name.startswith("on") or name in {"style", "srcdoc", "src"}]
    assert all(link.startswith("#") or link == "data:," for link in page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.rows == len(report.outcomes)
    for kind, sources in page.sources.items():
        hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources]
        (allowed,) = re.findall(rf"{kind}-src ([^;]*)", page.policy)
        assert allowed == " ".join(f"'sha256-{value}'" for value in hashes)
    assert page.policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:;")
    return page


@HALF
@given(ANY_REPORT)
def test_any_page_is_whole_and_harmless(report: Report) -> None:
    """Any report is a page with our elements only, which asks for nothing and runs nothing but its own script."""
    assert_whole_and_harmless(report)


def test_hostile_texts_are_shown_as_text() -> None:
    """Markup, control characters and 100 kB of text are there to be read, and the page stays small."""
    report = make_evil_report()
    page = assert_whole_and_harmless(report)
    words = "".join(page.words)
    for shown in (EVIL[0], EVIL[1], EVIL[3], r"a\x1b[2Jb", r"\u202egnp.exe", r"half \ud800 pair", EVIL[13], EVIL[16]):
        assert shown in words
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", words)
    assert len(render_html(report).encode()) < 0.2 * MIB


def test_a_page_shows_the_run() -> None:
    """The headline, each cause once with its hint and links to its targets, warnings, changes and the run's facts."""
    outcomes = (
        *(replace(make_outcome(n, Status.FAILED), warnings=(f"model_{n:04d} waits",)) for n in range(15)),
        replace(
            make_outcome(20), previous_status=Status.FAILED, covered_by="sales", promotion_pending=True, verified=True
        ),
        replace(
            make_outcome(21, Status.NO_EFFECT),
            verified=False,
            validation=Validation(new=("no such column",), fixed=("gone",)),
        ),
        replace(make_outcome(22), throttled=3, tables=tuple(f"t{n}" for n in range(25)), branch="nightly"),
    )
    run = replace(
        make_facts(),
        signal=15,
        trigger=Trigger.RESUME,
        resumed_from="first-run",
        refused_instances=("prod",),
        quota={"prod": {"requests": 40}},
        warnings=("odd",),
    )
    words = " ".join(
        "".join(assert_whole_and_harmless(Report(run=run, outcomes=outcomes, exit_code=143)).words).split()
    )
    for told in (
        "16 of 18 targets did not succeed",
        "Stopped by a signal.",
        "Manifest configs/nightly.yaml Instance prod Run 20261125T020000-7f3a, trigger: resume Started 2026-11-25 02:00:00",
        "Took 10m12s",
        "Calls 940 612 polls, 3 throttled",
        "Against the run before: 16 newly failing, 0 still failing, 1 recovered.",
        "failed 15 targets NEW job_failed The job ended FAILED. Omni gives no reason",
        "model_0011 and 3 more",
        "model_0000 and 14 more: model_0000 waits",
        "served by: sales",
        "promotion: pending: promote the branch",
        "verified: yes",
        "new issue: no such column",
        "fixed issue: gone",
        "calls: refresh 1, polls 2, throttled 3",
        "t19 and 5 more",
        "hard, nightly",
        "in the run before: failed",
        "(resume, resumed from first-run)",
        "Learned limit prod: requests 40",
        "Keys refused prod",
        "Exit code 143",
    ):
        assert told in words


@pytest.mark.parametrize(
    "count, bad_share, headline",
    [
        (0, 0, "Nothing to do: nothing was selected"),
        (1, 0, "1 model refreshed"),
        (1, 1, "1 of 1 target did not succeed"),
        (1500, 0, "1,406 models refreshed, 52 refreshes accepted and not followed, 42 skipped"),
    ],
)
def test_the_headline_is_right(count: int, bad_share: float, headline: str) -> None:
    """The first words of the page are the run's result."""
    words = "".join(assert_whole_and_harmless(make_report(count, bad_share=bad_share)).words)
    assert f"{headline} · omni-refresh" in words


@pytest.mark.parametrize("bad_share", [0.05, 1.0])
def test_5000_targets_stay_small(bad_share: float) -> None:
    """A run of 5,000 targets, good or bad, is a page under 3 MiB with a row for each."""
    report = make_report(5000, bad_share=bad_share, budget=True)
    calls = tuple(
        CallMade(number=n, what=CallKind.REFRESH, left_at=START, end="throttled", http_status=429, took_s=0.1, wait_s=7)
        for n in range(1, 16)
    )
    report = replace(report, outcomes=tuple(replace(o, calls=calls, usual_s=9.0) for o in report.outcomes))
    assert assert_whole_and_harmless(report).size < 3 * MIB


def test_many_causes_and_warnings_are_bounded() -> None:
    """Thousands of causes and warnings of their own are cut with their count; every target has its row and words."""
    outcomes = tuple(
        replace(
            make_outcome(number, Status.REJECTED),
            error=Failure(kind="x", message=f"reason {number} " + "m" * 2000, hint="h" * 500),
            warnings=(f"odd {number}",),
        )
        for number in range(1200)
    )
    text = render_html(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    assert "And 1192 more like these" in text
    assert "and 1170 more" in text
    assert "reason 1199 " in text
    assert len(text) < 3 * MIB


def test_a_hint_is_shown_once() -> None:
    """In the table a target's hint is a link to its cause, where the words stand; the first of a cause has them itself."""
    text = render_html(
        Report(run=make_facts(), outcomes=tuple(make_outcome(n, Status.FAILED) for n in range(50)), exit_code=1)
    )
    assert text.count(FAILURES[Status.FAILED].hint.partition(":")[0]) == 2
    assert text.count('<a href="#c1">what to do</a>') == 49


def test_a_day_is_shown_if_it_matters() -> None:
    """Moments of the run's own day are times, those of another day carry it."""
    late = replace(make_outcome(1), finished_at=START + timedelta(days=1))
    text = render_html(Report(run=make_facts(), outcomes=(late,), exit_code=0))
    assert "sent: 02:00:00.523\n" in text
    assert "end seen: 2026-11-26 02:00:00.123\n" in text


def test_ids_are_short_where_room_is_scarce() -> None:
    """A connection that is known by its id alone is shown by the first part of it, and whole in the details."""
    whole = "2588a9c3-3d40-4b0e-8771-265aac13af00"
    outcomes = tuple(replace(make_outcome(number), connection=whole) for number in range(2))
    text = render_html(Report(run=make_facts(), outcomes=(*outcomes, make_outcome(3)), exit_code=0))
    assert text.count("<td>2588a9c3…<td>") == 2
    assert ">model_0000 and 1 more</h3>" in text
    assert f"connection: {whole}\n" in text
    assert "A connection with one refresh</h3>" in text


def test_unresolved_names_are_one_card() -> None:
    """Targets of one status, kind and HTTP status share a card, each with its own words and hint."""
    outcomes = tuple(
        replace(
            make_outcome(n, Status.REJECTED),
            error=Failure(kind="unresolved", message=f"no model is named 'X{n}'", hint=f"did you mean 'Y{n}'?"),
        )
        for n in range(5)
    )
    text = render_html(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    assert text.count('<li class="cause ') == 1
    assert text.count('<div class="each">') == 5
    assert "no model is named &#39;X4&#39;" in text


def test_new_failures_come_first_and_recovered_are_named() -> None:
    """Cards say NEW or STILL with the day; those with new failures come first; what recovered has a list of its own."""
    outcomes = (
        replace(make_outcome(1, Status.UNKNOWN), previous_status=Status.ERROR, failing_since=START - timedelta(days=3)),
        replace(make_outcome(2, Status.FAILED), previous_status=Status.SUCCEEDED),
        replace(make_outcome(3), previous_status=Status.ERROR),
    )
    text = render_html(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    assert re.findall('class="cause ([a-z]+)"', text) == ["failed", "unknown"]
    assert re.findall('class="news">([^<]*)<', text) == ["NEW", "STILL since 2026-11-22"]
    assert '<h2 id="recovered">Recovered</h2>\n<p class="names"><a href="#t2">model_0003</a>' in text


def test_rows_lead_into_omni() -> None:
    """A row's model has the address of its page, made from the instance's; without an address, or an id, it is text."""
    run = replace(make_facts(), instances={"prod": "https://blobsrus.omniapp.co/api/"})
    outcomes = (make_outcome(1), replace(make_outcome(2), model_id=None), replace(make_outcome(3), instance="other"))
    text = render_html(Report(run=run, outcomes=outcomes, exit_code=0))
    assert re.findall('data-link="(http[^"]*)"', text) == [
        "https://blobsrus.omniapp.co",
        f"https://blobsrus.omniapp.co/models/{make_id(1)}/ide",
    ]
    assert 'href="http' not in text
    for address, model in (("javascript:alert(1)", "x"), (None, "x"), ("https://a.example", None)):
        assert model_link(address, model) == ""
    assert model_link("https://a.example", '../x?"') == "https://a.example/models/..%2Fx%3F%22/ide"


def test_the_last_results_are_a_strip() -> None:
    """A target's last results are signs in their order, and words for those who do not see them."""
    recent = (Status.SUCCEEDED, Status.SUCCEEDED, Status.FAILED, Status.SKIPPED)
    text = render_html(Report(run=make_facts(), outcomes=(replace(make_outcome(1), recent=recent),), exit_code=0))
    strip = '<span class="strip" role="img" aria-label="1 of the last 4 failed">'
    assert f'{strip}●●<i class="bad">✕</i><i class="none">·</i></span>' in text
    assert "earlier results: succeeded, succeeded, failed, skipped\n" in text
    many = tuple(replace(make_outcome(n), recent=recent) for n in range(1001))
    assert f"{strip}●●✕·</span>" in render_html(Report(run=make_facts(), outcomes=many, exit_code=0))


def test_the_next_commands_are_on_top() -> None:
    """The commands that come next stand above the numbers, each with a button."""
    run = replace(make_facts(), next_commands=("omni-refresh retry 2026", "omni-refresh run 'a b.yaml'"))
    text = render_html(Report(run=run, outcomes=(make_outcome(1, Status.FAILED),), exit_code=1))
    assert re.findall('data-copy="(next[0-9])"', text) == ["next1", "next2"]
    assert text.index("omni-refresh run &#39;a b.yaml&#39;") < text.index('class="stats"')


def test_a_few_lanes_of_one_refresh_need_no_heading() -> None:
    """If no connection had two refreshes, each is a row by its target's name without headings."""
    text = render_html(Report(run=make_facts(), outcomes=(make_outcome(1), make_outcome(2)), exit_code=0))
    assert 'class="group"' not in text
    assert text.count('class="lane"') == 2


def test_calls_are_shown_in_the_details() -> None:
    """Each kept call is a line: when it left, what for, how it ended and after how long, and the wait for the next."""
    at = START + timedelta(seconds=1)
    calls = (
        CallMade(
            number=1, what=CallKind.REFRESH, left_at=at, end="throttled", http_status=429, took_s=0.05, wait_s=7.0
        ),
        CallMade(number=2, what=CallKind.REFRESH, left_at=at, end="answered", word="RUNNING", took_s=0.2, wait_s=3.1),
        CallMade(number=9, what=CallKind.POLL, left_at=at, end="cut_off"),
    )
    text = render_html(Report(run=make_facts(), outcomes=(replace(make_outcome(1), calls=calls),), exit_code=0))
    for told in (
        "call 1: 02:00:01.123 refresh, 429 throttled after 50ms, next call 7.0s later\n",
        "call 2: 02:00:01.123 refresh, RUNNING after 0.2s, next call 3.1s later\n",
        "call 9: 02:00:01.123 poll, cut_off\n",
    ):
        assert told in text


def test_a_single_call_is_not_shown_among_thousands() -> None:
    """On a page of more than a thousand targets only those tell their calls that had more than one."""
    one = CallMade(number=1, what=CallKind.REFRESH, left_at=START, end="answered", took_s=0.05)
    outcomes = [replace(make_outcome(n), calls=(one,)) for n in range(1001)]
    outcomes[7] = replace(outcomes[7], calls=(one, replace(one, number=2)))
    text = render_html(Report(run=make_facts(), outcomes=tuple(outcomes), exit_code=0))
    assert text.count("call 1: ") == 1


def test_what_changed_can_be_filtered() -> None:
    """Rows carry what changed with them, and there is a button for each kind of change that there is."""
    outcomes = (
        replace(make_outcome(1, Status.FAILED), previous_status=Status.SUCCEEDED),
        replace(make_outcome(2, Status.FAILED), previous_status=Status.ERROR, failing_since=START - timedelta(days=3)),
        replace(make_outcome(3, took_s=70), previous_status=Status.ERROR, usual_s=3.0, usual_runs=3),
        make_outcome(4),
    )
    text = render_html(Report(run=make_facts(), outcomes=outcomes, exit_code=1))
    assert re.findall('data-change="([^"]*)"', text) == [
        "new failure",
        "still failing",
        "recovered",
        "slower than usual",
    ]
    assert re.findall('<tr id="(t[0-9])" data-c="([^"]*)"', text) == [
        ("t0", "new failure"),
        ("t1", "still failing"),
        ("t2", "recovered|slower than usual"),
    ]
    assert '<span class="since">since 2026-11-22</span>' in text
    assert 'data-change="' not in render_html(Report(run=make_facts(), outcomes=(make_outcome(4),), exit_code=0))
