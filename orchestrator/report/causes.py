"""Targets that did not succeed, grouped by cause, so that a repeated cause is shown once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.outcome import Failure, Outcome, Status
from orchestrator.report.findings import bad_outcomes, is_new_failure, issue_outcomes
from orchestrator.report.report import Report
from orchestrator.text import clean

NEW_ISSUES: Final = "new_issues"
"""The kind of failure for new issues, if they count (`--fail-on-new-issues`)."""

_ISSUES_HINT: Final = (
    "the refresh itself succeeded; fix what refers to the fields that are gone, or run without --fail-on-new-issues"
)
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_NO_FAILURE: Final = Failure(kind="", message="", hint="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason and its targets, in the report's order. The words are those of the first target."""

    status: Status
    failure: Failure
    outcomes: tuple[Outcome, ...]

    @property
    def words(self) -> str:
        """Return the HTTP status, if there was one, and the server's words or the failure's kind; not cleaned."""
        number = f"{self.failure.http_status} " if self.failure.http_status else ""
        return number + (self.failure.message.strip() or self.failure.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Causes of one kind: the same status, kind of failure and HTTP status."""

    causes: tuple[Cause, ...]

    @property
    def first(self) -> Cause:
        """The cause whose status, kind and HTTP status all share."""
        return self.causes[0]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The targets of all causes."""
        return tuple(outcome for cause in self.causes for outcome in cause.outcomes)

    @property
    def hint(self) -> str:
        """What to do, if it is the same for all causes; otherwise empty."""
        return self.first.failure.hint if len({cause.failure.hint for cause in self.causes}) == 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One warning and how many targets have it. `where` is the first target, or None for the run itself."""

    text: str
    where: str | None
    count: int


def causes_of(report: Report) -> tuple[Cause, ...]:
    """Return the causes of what did not succeed, then the new issues that count."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in issue_outcomes(report):
        groups.setdefault(outcome.new_issues, []).append(outcome)
    issues = (Cause(status=g[0].status, failure=issue_failure(g[0]), outcomes=tuple(g)) for g in groups.values())
    return (*group_causes(report.outcomes), *issues)


def cards_of(report: Report) -> tuple[Card, ...]:
    """Return the causes as cards: those with new failures first, then in the order of `causes_of`."""
    groups: dict[tuple[object, ...], list[Cause]] = {}
    for cause in causes_of(report):
        groups.setdefault((cause.status, cause.failure.kind, cause.failure.http_status), []).append(cause)
    cards = [Card(causes=tuple(group)) for group in groups.values()]
    return tuple(sorted(cards, key=lambda card: not any(map(is_new_failure, card.outcomes))))


def issue_failure(outcome: Outcome) -> Failure:
    """Return a failure that describes the new issues of a target."""
    issues, what = outcome.new_issues, "broken document" if outcome.content is not None else "new validation issue"
    more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
    return Failure(kind=NEW_ISSUES, message=f"{what}: {issues[0]}{more}", hint=_ISSUES_HINT)


def group_causes(outcomes: Sequence[Outcome]) -> tuple[Cause, ...]:
    """Return the causes: worst status first, then the most targets, then the report's order.

    Two targets share a cause if status, kind, HTTP status and hint are the same and their messages differ only in
    ids and in the target's own name.
    """
    groups: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in bad_outcomes(outcomes):
        failure = outcome.error or _NO_FAILURE
        places = (_placeless(failure.message, outcome), _placeless(failure.hint, outcome))
        groups.setdefault((outcome.status, failure.kind, failure.http_status, *places), []).append(outcome)
    rank = list(Status).index
    ranked = sorted(groups.values(), key=lambda group: (rank(group[0].status), -len(group)))
    return tuple(
        Cause(status=group[0].status, failure=group[0].error or _NO_FAILURE, outcomes=tuple(group)) for group in ranked
    )


def group_warnings(run_warnings: Iterable[str], outcomes: Iterable[Outcome]) -> tuple[Remark, ...]:
    """Return the run's warnings, then the targets' warnings, each text once, most frequent first.

    The text of a skipped target is the reason, not a warning.
    """
    found: dict[str, tuple[str, str, int]] = {}
    for outcome in outcomes:
        for text in outcome.warnings if outcome.status is not Status.SKIPPED else ():
            key = _placeless(text, outcome)
            first, where, count = found.get(key, (text, outcome.name, 0))
            found[key] = (first, where, count + 1)
    own = [Remark(text=text, where=where, count=count) for text, where, count in found.values()]
    of_run = [Remark(text=text, where=None, count=1) for text in dict.fromkeys(run_warnings)]
    return (*of_run, *sorted(own, key=lambda remark: -remark.count))


def skip_reason(outcome: Outcome) -> str:
    """Return why a target was skipped; empty if it was not."""
    if outcome.status is not Status.SKIPPED:
        return ""
    return outcome.error.message if outcome.error else " ".join(outcome.warnings)


def _placeless(text: str, outcome: Outcome) -> str:
    """Return the text without what differs between targets: ids, and the target's own name in a longer text."""
    names = {name for name in (outcome.name, outcome.branch) if name and 2 < len(name) < len(text)}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "\x00")
    return _ID.sub("\x00", text)


def short(text: str, limit: int) -> str:
    """Return cleaned text on one line, at most `limit` characters. A cut text ends in three dots."""
    shown = " ".join(clean(text[: limit * 2]).split())
    return shown if len(shown) <= limit and len(text) <= limit * 2 else shown[: max(0, limit - 3)] + "..."
