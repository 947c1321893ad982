"""The rows of the HTML report's table: what is said of each target, and no more of it than a page can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from orchestrator.engine.outcome import ANSWERED, MESSAGE_LIMIT, CallMade, Failure, Outcome, Status, Validation
from orchestrator.report.against import Against, still_since
from orchestrator.report.causes import short
from orchestrator.report.took import took

CHANGES: Final = ("new failure", "still failing", "recovered", "slower than usual")
"""What the table can be filtered by beside the status."""

CALLS_SHOWN: Final = 1500
"""So many calls are listed on a page, the worst targets' first; the others are only counted."""

_NAME_LIMIT: Final = 200
_LIST_LIMIT: Final = 20
_FULL_UP_TO: Final = 1000
_WORDS_LIMIT: Final = 160
_UUID: Final = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_NO_FAILURE: Final = Failure(kind="", message="", hint="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target as the table shows it. `cause` is the number of the cause on the page that has the hint, or None; `changes`
    are what it can be filtered by beside its status.
    """

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


def make_rows(
    outcomes: Sequence[Outcome],
    *,
    causes: Mapping[int, int],
    changes: Mapping[int, tuple[str, ...]],
    today: date,
) -> list[Row]:
    """A row for each target, worst first. `causes` and `changes` are by an outcome's identity; `today` is the run's day."""
    order = {status: rank for rank, status in enumerate(Status)}
    ranked = sorted(enumerate(outcomes), key=lambda item: order[item[1].status])
    is_full = len(outcomes) <= _FULL_UP_TO
    rows, calls_left = [], CALLS_SHOWN
    for number, outcome in ranked:
        # a single call says little that is not in the row
        wanted = len(outcome.calls) > (0 if is_full else 1)
        with_calls = wanted and len(outcome.calls) <= calls_left
        calls_left -= len(outcome.calls) if with_calls else 0
        error = outcome.error or _NO_FAILURE
        words = f"{error.http_status or ''} {error.message or error.kind}".strip()
        rows.append(
            Row(
                number=number,
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
            )
        )
    return rows


def changes_of(against: Against | None, slow: tuple[Outcome, ...]) -> dict[int, tuple[str, ...]]:
    """By an outcome's identity: what has changed with it."""
    groups = (*((against.new, against.still, against.recovered) if against else ((), (), ())), slow)
    found: dict[int, tuple[str, ...]] = {}
    for word, group in zip(CHANGES, groups, strict=True):
        for outcome in group:
            found[id(outcome)] = (*found.get(id(outcome), ()), word)
    return found


def say(status: Status) -> str:
    """A status for people."""
    return status.value.replace("_", " ")


def name_of(text: str) -> str:
    """A name on one line, never empty."""
    return short(text, _NAME_LIMIT) or "(no name)"


def id_of(text: str) -> str:
    """A connection where room is scarce: its label, or the first part of its id; the details have it whole."""
    return _UUID.sub(r"\1…", name_of(text))


def text_of(text: str) -> str:
    """Any text on one line, bounded."""
    return short(text, MESSAGE_LIMIT)


def _facts(outcome: Outcome, today: date, *, with_calls: bool, is_full: bool) -> tuple[str, ...]:
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
        ("sent", _moment(outcome.submitted_at, today)),
        ("end seen", _moment(outcome.finished_at, today)),
        ("usually takes", took(outcome.usual_s) if outcome.usual_s is not None and is_full else None),
        ("calls", calls + (f", throttled {outcome.throttled}" if outcome.throttled else "")),
        *((f"call {call.number}", _call(call, today)) for call in (outcome.calls if with_calls else ())),
        ("in the run before", say(outcome.previous_status) if outcome.previous_status else None),
        ("failing since", _moment(outcome.failing_since, today) if still_since(outcome) and is_full else None),
        ("verified", {True: "yes", False: "no", None: None}[outcome.verified]),
        ("promotion", "pending: promote the branch" if outcome.promotion_pending else None),
        *(("new issue", text) for text in issues.new[:_LIST_LIMIT]),
        *(("fixed issue", text) for text in issues.fixed[:_LIST_LIMIT]),
        *(("warning", text) for text in outcome.warnings[:_LIST_LIMIT]),
    ]
    return tuple(f"{label}: {text_of(text)}" for label, text in facts if text)


def _call(call: CallMade, today: date) -> str:
    """A call in one line: when it left, what it was for, how it ended and after how long, and how long the next one waited."""
    end = f"{call.http_status or ''} {call.end if call.end != ANSWERED else (call.word or call.end)}".strip()
    parts = [
        f"{_moment(call.left_at, today)} {call.what}",
        end if call.took_s is None else f"{end} after {took(call.took_s)}",
        "" if call.wait_s is None else f"next call {took(call.wait_s)} later",
    ]
    return ", ".join(part for part in parts if part)


def _joined(texts: Iterable[str]) -> str:
    listed = tuple(texts)
    more = f" and {len(listed) - _LIST_LIMIT} more" if len(listed) > _LIST_LIMIT else ""
    return ", ".join(listed[:_LIST_LIMIT]) + more


def _moment(moment: datetime | None, today: date) -> str:
    if moment is None:
        return ""
    there = moment.astimezone(UTC)
    shown = there.strftime("%H:%M:%S.%f")[:-3]
    return shown if there.date() == today else f"{there:%Y-%m-%d} {shown}"
