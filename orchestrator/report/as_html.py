"""The HTML report: one file that loads nothing, for a browser, a phone, dark mode, paper, and without scripts.

Every text goes through `clean` and autoescape on its way into the template. The page's policy allows only its own script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from orchestrator import __version__
from orchestrator.engine.outcome import ANSWERED, MESSAGE_LIMIT, CallMade, Failure, Outcome, Status
from orchestrator.report.causes import cards_of, group_warnings, short
from orchestrator.report.findings import (
    SIMULATED,
    SIMULATED_NOTE,
    Against,
    against_before,
    bad_outcomes,
    capitalized,
    count_statuses,
    headline,
    is_bad,
    news_of,
    slow_outcomes,
    still_since,
    worst_first,
)
from orchestrator.report.issues import issues_of
from orchestrator.report.links import instance_link, model_link
from orchestrator.report.report import Report
from orchestrator.report.timeline import budget_words, make_budget_chart, make_timeline
from orchestrator.report.wording import took
from orchestrator.text import clean, some
from orchestrator.values import format_stamp

if TYPE_CHECKING:
    from jinja2 import Template

CHANGES: Final = ("new failure", "still failing", "recovered", "slower than usual")
"""The filters of the table, besides the statuses."""

CALLS_SHOWN: Final = 1500
"""The most calls that a page lists, those of the worst targets first. The others are counted."""

_NAME_LIMIT: Final = 200
_LIST_LIMIT: Final = 20
_FULL_UP_TO: Final = 1000
_WORDS_LIMIT: Final = 160
_UUID: Final = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_SIGNS: Final = {"good": "●", "bad": "✕", "none": "·"}
_NO_FAILURE: Final = Failure(kind="", message="", hint="")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One target in the table. `cause` is the number of the cause that has its hint, or None. `changes` are filters."""

    number: int
    outcome: Outcome
    name: str
    queued: str
    took: str
    usual: str
    since: str | None
    changes: tuple[str, ...]
    calls: int
    words: str
    hint: str
    cause: int | None
    facts: tuple[str, ...]
    model: str
    link: str
    strip: tuple[tuple[str, str], ...]
    strip_words: str


def make_rows(
    outcomes: Sequence[Outcome],
    *,
    causes: Mapping[int, int],
    changes: Mapping[int, tuple[str, ...]],
    instances: Mapping[str, str],
    today: date,
) -> list[TableRow]:
    """Return a row for each target, worst first.

    `causes` and `changes` are by an outcome's identity, `instances` are addresses by name. `today` is the run's day.
    """
    numbers = {id(outcome): number for number, outcome in enumerate(outcomes)}
    is_full = len(outcomes) <= _FULL_UP_TO
    rows, calls_left = [], CALLS_SHOWN
    for outcome in worst_first(outcomes):
        # the row says almost all of a single call
        wanted = len(outcome.calls) > (0 if is_full else 1)
        with_calls = wanted and len(outcome.calls) <= calls_left
        calls_left -= len(outcome.calls) if with_calls else 0
        error = outcome.error or _NO_FAILURE
        words = f"{error.http_status or ''} {error.message or error.kind}".strip()
        rows.append(
            TableRow(
                number=numbers[id(outcome)],
                outcome=outcome,
                name=name_of(outcome.name),
                queued="" if outcome.queued_s is None else took(outcome.queued_s),
                took="" if outcome.duration_s is None else took(outcome.duration_s),
                usual="" if outcome.usual_s is None else took(outcome.usual_s),
                since=still_since(outcome),
                changes=changes.get(id(outcome), ()),
                calls=outcome.attempts + outcome.polls + outcome.throttled,
                words=short(words, MESSAGE_LIMIT if is_full else _WORDS_LIMIT),
                hint=text_of(error.hint),
                cause=causes.get(id(outcome)),
                facts=_facts(outcome, today, with_calls=with_calls, is_full=is_full),
                model=text_of(outcome.model_id or ""),
                link=model_link(instances.get(outcome.instance), outcome.model_id),
                strip=_strip(outcome.recent, is_full=is_full),
                strip_words=_strip_words(outcome.recent),
            )
        )
    return rows


def changes_of(against: Against | None, slow: tuple[Outcome, ...]) -> dict[int, tuple[str, ...]]:
    """Return what changed, by an outcome's identity."""
    groups = (*((against.new, against.still, against.recovered) if against else ((), (), ())), slow)
    found: dict[int, tuple[str, ...]] = {}
    for word, group in zip(CHANGES, groups, strict=True):
        for outcome in group:
            found[id(outcome)] = (*found.get(id(outcome), ()), word)
    return found


def name_of(text: str) -> str:
    """Return a name on one line; it is never empty."""
    return short(text, _NAME_LIMIT) or "(no name)"


def id_of(text: str) -> str:
    """Return a connection's label, or the first part of its id. The details have the whole id."""
    return _UUID.sub(r"\1…", name_of(text))


def text_of(text: str) -> str:
    """Return a text on one line, cut if it is too long."""
    return short(text, MESSAGE_LIMIT)


def _strip(recent: Sequence[Status], *, is_full: bool) -> tuple[tuple[str, str], ...]:
    """Return results as signs: for each series of equal results, a class and its signs.

    On a long page all signs are one text without colours: thousands of elements would be slow.
    """
    kinds = [_kind_of_result(status) for status in recent]
    if not is_full:
        return (("good", "".join(_SIGNS[kind] for kind in kinds)),) if kinds else ()
    return tuple((kind, _SIGNS[kind] * len(list(group))) for kind, group in groupby(kinds))


def _kind_of_result(status: Status) -> str:
    if status.says_nothing:
        return "none"
    return "good" if status.is_good else "bad"


def _strip_words(recent: Sequence[Status]) -> str:
    if not recent:
        return ""
    bad = sum(_kind_of_result(status) == "bad" for status in recent)
    return f"{bad} of the last {len(recent)} failed"


def _facts(outcome: Outcome, today: date, *, with_calls: bool, is_full: bool) -> tuple[str, ...]:
    """Return what is known about a target besides its row, one line each."""
    calls = f"refresh {outcome.attempts}, polls {outcome.polls}"
    facts = [
        ("served by", outcome.covered_by),
        ("connection", outcome.connection),
        ("mode", "dbt sync" if outcome.refresh == "dbt_sync" else outcome.mode.value),
        ("branch", _joined(text for text in (outcome.branch, outcome.branch_id) if text)),
        ("schemas", _joined(outcome.schemas)),
        ("tables", _joined(outcome.tables)),
        ("tags", _joined(outcome.tags)),
        ("job", _joined(outcome.job_ids)),
        ("job status", outcome.job_status),
        ("sent", _moment(outcome.submitted_at, today)),
        ("end seen", _moment(outcome.finished_at, today)),
        ("usually takes", took(outcome.usual_s) if outcome.usual_s is not None and is_full else None),
        ("calls", calls + (f", throttled {outcome.throttled}" if outcome.throttled else "")),
        *((f"call {call.number}", _call(call, today)) for call in (outcome.calls if with_calls else ())),
        ("in the run before", outcome.previous_status and outcome.previous_status.words),
        ("earlier results", ", ".join(status.words for status in outcome.recent) if is_full else None),
        ("failing since", _moment(outcome.failing_since, today) if still_since(outcome) and is_full else None),
        ("verified", {True: "yes", False: "no", None: None}[outcome.verified]),
        ("promotion", "pending: promote the branch" if outcome.promotion_pending else None),
        *(("new issue", text) for text in outcome.new_issues[:_LIST_LIMIT]),
        *(("fixed issue", text) for text in outcome.fixed_issues[:_LIST_LIMIT]),
        *(("warning", text) for text in outcome.warnings[:_LIST_LIMIT]),
    ]
    return tuple(f"{label}: {text_of(text)}" for label, text in facts if text)


def _call(call: CallMade, today: date) -> str:
    """Return a call in one line: when it left, its purpose, its end, its duration, and the wait until the next call."""
    end = f"{call.http_status or ''} {call.end if call.end != ANSWERED else (call.word or call.end)}".strip()
    parts = [
        f"{_moment(call.left_at, today)} {call.what}",
        end if call.took_s is None else f"{end} after {took(call.took_s)}",
        "" if call.wait_s is None else f"next call {took(call.wait_s)} later",
    ]
    return ", ".join(part for part in parts if part)


def _joined(texts: Iterable[str]) -> str:
    listed = tuple(texts)
    return some(listed, at_most=_LIST_LIMIT)


def _moment(moment: datetime | None, today: date) -> str:
    if moment is None:
        return ""
    there = moment.astimezone(UTC)
    shown = there.strftime("%H:%M:%S.%f")[:-3]
    return shown if there.date() == today else f"{there:%Y-%m-%d} {shown}"


_CARDS_SHOWN: Final = 40
_CAUSES_SHOWN: Final = 8
_NAMES_SHOWN: Final = 12
_WARNINGS_SHOWN: Final = 30


def render_html(report: Report) -> str:
    """Return the page. With 5,000 targets it has less than 3 MiB: long lists are cut."""
    run, outcomes = report.run, report.outcomes
    timeline = make_timeline(report)
    length_s = timeline.length_s if timeline else run.duration_s
    cards, remarks, issues = cards_of(report), group_warnings(run.warnings, outcomes), issues_of(report)
    numbers = {id(outcome): number for number, outcome in enumerate(outcomes)}
    told = {
        id(outcome): number
        for number, card in enumerate(cards[:_CARDS_SHOWN], 1)
        for cause in card.causes[:_CAUSES_SHOWN]
        for outcome in cause.outcomes[1:]
    }
    used = dict.fromkeys(outcome.instance for outcome in outcomes)
    against, slow = against_before(outcomes), slow_outcomes(outcomes)
    changes = changes_of(against, slow)
    return _template().render(
        version=__version__,
        run=run,
        exit_code=report.exit_code,
        headline=(f"{SIMULATED}: " if run.simulated else "") + capitalized(headline(report)),
        simulated_note=SIMULATED_NOTE if run.simulated else "",
        bad=len(bad_outcomes(outcomes)),
        is_bad=is_bad(report),
        total=len(outcomes),
        counts=[(status, count) for status, count in count_statuses(outcomes).items() if count],
        against=against,
        slow=slow,
        changes=[(change, count) for change in CHANGES if (count := sum(change in told for told in changes.values()))],
        budget_words=budget_words(run.budget).partition(" "),
        cards=cards[:_CARDS_SHOWN],
        cards_hidden=len(cards[_CARDS_SHOWN:]),
        causes_shown=_CAUSES_SHOWN,
        news_of=news_of if against else lambda _: None,
        instances=[(name, instance_link(run.instances.get(name))) for name in used],
        remarks=remarks[:_WARNINGS_SHOWN],
        remarks_hidden=len(remarks[_WARNINGS_SHOWN:]),
        issues=issues[:_CARDS_SHOWN],
        issues_hidden=len(issues[_CARDS_SHOWN:]),
        documents_shown=_LIST_LIMIT,
        lines_shown=_CAUSES_SHOWN,
        names_shown=_NAMES_SHOWN,
        number_of=lambda outcome: numbers[id(outcome)],
        timeline=timeline,
        has_usual=timeline is not None and any(bar.usual for lane in timeline.lanes for bar in lane.bars),
        budget=make_budget_chart(run.budget, length_s),
        rows=make_rows(outcomes, causes=told, changes=changes, instances=run.instances, today=run.started_at.date()),
        learned=[
            f"{instance}: " + ", ".join(f"{key} {value}" for key, value in facts.items())
            for instance, facts in (run.quota or {}).items()
        ],
        started=_stamp(run.started_at),
        finished=_stamp(run.finished_at),
        moment=format_stamp,
    )


@cache
def _template() -> Template:
    """Return the template with the page's own style and scripts, and a policy that allows only these."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {"took": took, "name": name_of, "id": id_of, "text": text_of}
    style, *scripts = (environment.get_template(name).render() for name in ("report.css", "mark.js", "report.js"))
    environment.globals["policy"] = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:;"
        f" style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts))}"
    )
    return environment.get_template("report.html.j2")


def _finalize(value: Any) -> Any:
    """Clean plain text that the template prints. The page's own parts and numbers have other types."""
    return clean(value) if type(value) is str else value


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
