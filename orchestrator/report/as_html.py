"""The HTML report: one file that asks for nothing, to be read in a browser, on a phone, in the dark, on paper, without scripts.

Every text goes through `clean` and autoescape on its way into the template; the page's policy runs only its own script.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from orchestrator import __version__
from orchestrator.report.causes import group_causes, group_warnings, short
from orchestrator.report.counts import bad_outcomes, count_statuses, has_run_before, is_new_failure, is_recovered
from orchestrator.report.document import MESSAGE_LIMIT
from orchestrator.report.report import Report
from orchestrator.report.timeline import make_budget_chart, make_timeline
from orchestrator.report.took import took
from orchestrator.run.outcome import Failure, Outcome, Status, Validation
from orchestrator.text import clean

if TYPE_CHECKING:
    from jinja2 import Template

_CAUSES_SHOWN: Final = 40
_NAMES_SHOWN: Final = 12
_WARNINGS_SHOWN: Final = 30
_NAME_LIMIT: Final = 200
_LIST_LIMIT: Final = 20
_FULL_WORDS_UP_TO: Final = 1000
_WORDS_LIMIT: Final = 160
_UUID: Final = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_NO_FAILURE: Final = Failure(kind="", message="", hint="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target as the table shows it. `cause` is the number of the cause on the page that has the hint, or None."""

    number: int
    outcome: Outcome
    name: str
    queued: str
    took: str
    calls: int
    words: str
    hint: str
    cause: int | None
    facts: tuple[str, ...]


def render_html(report: Report) -> str:
    """The page. 5,000 targets stay under 3 MiB; what is longer than it can be read is cut."""
    run, outcomes = report.run, report.outcomes
    timeline = make_timeline(report)
    length_s = timeline.length_s if timeline else run.duration_s
    causes, remarks = group_causes(outcomes), group_warnings(run.warnings, outcomes)
    numbers = {id(outcome): number for number, outcome in enumerate(outcomes)}
    order = {status: rank for rank, status in enumerate(Status)}
    told = {
        id(outcome): number for number, cause in enumerate(causes[:_CAUSES_SHOWN], 1) for outcome in cause.outcomes[1:]
    }
    words_limit = MESSAGE_LIMIT if len(outcomes) <= _FULL_WORDS_UP_TO else _WORDS_LIMIT
    rows = [
        _row(number, outcome, told.get(id(outcome)), day=run.started_at.date(), words_limit=words_limit)
        for number, outcome in enumerate(outcomes)
    ]
    rows.sort(key=lambda row: order[row.outcome.status])
    return _template().render(
        version=__version__,
        run=run,
        exit_code=report.exit_code,
        headline=_headline(report),
        bad=len(bad_outcomes(outcomes)),
        total=len(outcomes),
        counts=[(status, count) for status, count in count_statuses(outcomes).items() if count],
        changes=(sum(map(is_new_failure, outcomes)), sum(map(is_recovered, outcomes)))
        if has_run_before(outcomes)
        else None,
        causes=causes[:_CAUSES_SHOWN],
        causes_hidden=len(causes[_CAUSES_SHOWN:]),
        remarks=remarks[:_WARNINGS_SHOWN],
        remarks_hidden=len(remarks[_WARNINGS_SHOWN:]),
        names_shown=_NAMES_SHOWN,
        number_of=lambda outcome: numbers[id(outcome)],
        timeline=timeline,
        budget=make_budget_chart(run.budget, length_s),
        rows=rows,
        learned=[
            f"{instance}: " + ", ".join(f"{key} {value}" for key, value in facts.items())
            for instance, facts in (run.quota or {}).items()
        ],
        started=_stamp(run.started_at),
        finished=_stamp(run.finished_at),
    )


@cache
def _template() -> Template:
    """The template with the page's own style and script, and the policy that lets in these and nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {"took": took, "word": _word, "name": _name, "id": _id, "text": _text}
    style, *scripts = (environment.get_template(name).render() for name in ("report.css", "mark.js", "report.js"))
    environment.globals["policy"] = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:;"
        f" style-src {_hash(style)}; script-src {' '.join(map(_hash, scripts))}"
    )
    return environment.get_template("report.html.j2")


def _finalize(value: Any) -> Any:
    """Whatever the template prints: plain text is cleaned, the page's own parts and numbers are not text."""
    return clean(value) if type(value) is str else value


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _headline(report: Report) -> str:
    total, bad = len(report.outcomes), sum(not outcome.status.is_good for outcome in report.outcomes)
    if not total:
        return "No targets"
    targets = "target" if total == 1 else "targets"
    if bad:
        return f"{bad} of {total:,} {targets} did not succeed"
    return "The target is good" if total == 1 else f"All {total:,} targets are good"


def _word(status: Status) -> str:
    return status.value.replace("_", " ")


def _name(text: str) -> str:
    return short(text, _NAME_LIMIT) or "(no name)"


def _id(text: str) -> str:
    """A connection where room is scarce: its label, or the first part of its id; the details have it whole."""
    return _UUID.sub(r"\1…", _name(text))


def _text(text: str) -> str:
    return short(text, MESSAGE_LIMIT)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _row(number: int, outcome: Outcome, cause: int | None, *, day: date, words_limit: int) -> Row:
    error = outcome.error or _NO_FAILURE
    words = short(f"{error.http_status or ''} {error.message or error.kind}".strip(), words_limit)
    return Row(
        number=number,
        outcome=outcome,
        name=_name(outcome.name),
        queued="" if outcome.queued_s is None else took(outcome.queued_s),
        took="" if outcome.duration_s is None else took(outcome.duration_s),
        calls=outcome.attempts + outcome.polls + outcome.throttled,
        words=words,
        hint=_text(error.hint),
        cause=cause,
        facts=_facts(outcome, day),
    )


def _facts(outcome: Outcome, day: date) -> tuple[str, ...]:
    """What is known about a target beside its row, a line each; one element, for there may be thousands."""
    issues = outcome.validation or Validation()
    calls = f"refresh {outcome.attempts}, polls {outcome.polls}"
    facts = [
        ("served by", outcome.covered_by),
        ("connection", outcome.connection),
        ("mode", outcome.mode.value),
        ("branch", _joined(text for text in (outcome.branch, outcome.branch_id) if text)),
        ("schemas", _joined(outcome.schemas)),
        ("tables", _joined(outcome.tables)),
        ("tags", _joined(outcome.tags)),
        ("model", outcome.model_id),
        ("job", _joined(outcome.job_ids)),
        ("job status", outcome.job_status),
        ("sent", _moment(outcome.submitted_at, day)),
        ("end seen", _moment(outcome.finished_at, day)),
        ("calls", calls + (f", throttled {outcome.throttled}" if outcome.throttled else "")),
        ("in the run before", _word(outcome.previous_status) if outcome.previous_status else None),
        ("verified", {True: "yes", False: "no", None: None}[outcome.verified]),
        ("promotion", "pending: promote the branch" if outcome.promotion_pending else None),
        *(("new issue", text) for text in issues.new[:_LIST_LIMIT]),
        *(("fixed issue", text) for text in issues.fixed[:_LIST_LIMIT]),
        *(("warning", text) for text in outcome.warnings[:_LIST_LIMIT]),
    ]
    return tuple(f"{label}: {_text(text)}" for label, text in facts if text)


def _joined(texts: Any) -> str:
    listed = tuple(texts)
    more = f" and {len(listed) - _LIST_LIMIT} more" if len(listed) > _LIST_LIMIT else ""
    return ", ".join(listed[:_LIST_LIMIT]) + more


def _moment(moment: datetime | None, day: date) -> str:
    if moment is None:
        return ""
    there = moment.astimezone(UTC)
    shown = there.strftime("%H:%M:%S.%f")[:-3]
    return shown if there.date() == day else f"{there:%Y-%m-%d} {shown}"
