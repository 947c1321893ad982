"""The content of a notification: JSON data for a webhook, and a short text for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.engine.outcome import Outcome
from orchestrator.manifest.manifest import NotifyOn
from orchestrator.report.causes import Cause, causes_of, short
from orchestrator.report.document import make_head
from orchestrator.report.findings import (
    SIMULATED,
    bad_outcomes,
    count_statuses,
    has_run_before,
    headline,
    is_bad,
    is_new_failure,
    is_recovered,
    issue_outcomes,
    news_of,
)
from orchestrator.report.issues import issues_of
from orchestrator.report.links import document_link
from orchestrator.report.report import Report
from orchestrator.report.wording import took
from orchestrator.text import and_more
from orchestrator.values import format_stamp

FAILURES_SENT: Final = 50
"""The most failed targets that a webhook gets; the others are counted."""

TEXT_LIMIT: Final = 1_800
"""The most characters of a text: Discord takes 2,000, and a phone shows only a few lines."""

_CAUSES_TOLD: Final = 6
_NAMES_TOLD: Final = 3
_NAME: Final = 60
_WORDS: Final = 200
_MESSAGE: Final = 500

# What chat services interpret in a text: mentions of people and channels, links with other words.
_INTERPRETED: Final = (("<", "‹"), (">", "›"), ("@", "@\u2060"), ("](", "] ("))
_FORMATTED: Final = re.compile(r"[*_`~|]{2,}|`")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageText:
    """A notification for people."""

    title: str
    body: str


def is_due(on: NotifyOn, report: Report) -> bool:
    """Return whether a notification with the condition `on` is sent for this run."""
    if on is NotifyOn.FAILURE:
        return report.exit_code != 0
    if on is NotifyOn.CHANGE:
        return any(is_new_failure(outcome) or is_recovered(outcome) for outcome in report.outcomes)
    return True


def make_message(
    report: Report, *, report_paths: Sequence[str] = (), next_command: str | None = None
) -> dict[str, Any]:
    """Return the data for a webhook: the report's `run` and `summary`, the first 50 failed targets, the recovered ones, a
    text for people, the reports' paths, and the next commands.
    """
    document = make_head(report)
    bad = bad_outcomes(report.outcomes)
    recovered = [outcome.name[:_WORDS] for outcome in report.outcomes if is_recovered(outcome)]
    text = make_text(report, report_paths=report_paths, next_command=next_command)
    return {
        "schema_version": document["schema_version"],
        "tool": document["tool"],
        "title": text.title,
        "text": text.body,
        "run": {name: value for name, value in document["run"].items() if name != "budget"},
        "summary": document["summary"],
        "failures": [_failure(outcome) for outcome in bad[:FAILURES_SENT]],
        "failures_not_listed": max(0, len(bad) - FAILURES_SENT),
        "new_issues": [_issues(outcome, report) for outcome in issue_outcomes(report)[:FAILURES_SENT]],
        "recovered": recovered[:FAILURES_SENT],
        "reports": list(report_paths),
        "next": next_command,
    }


def _failure(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    return {
        "name": outcome.name[:_WORDS],
        "instance": outcome.instance,
        "status": outcome.status.value,
        "previous_status": outcome.previous_status and outcome.previous_status.value,
        "is_new": is_new_failure(outcome),
        "failing_since": outcome.failing_since and format_stamp(outcome.failing_since),
        "kind": error and error.kind,
        "http_status": error and error.http_status,
        "message": error and error.message[:_MESSAGE],
        "hint": error and error.hint[:_MESSAGE],
    }


def _issues(outcome: Outcome, report: Report) -> dict[str, Any]:
    new, content = outcome.new_issues, outcome.content
    address = report.run.instances.get(outcome.instance)
    return {
        "name": outcome.name[:_WORDS],
        "instance": outcome.instance,
        "count": len(new),
        "issues": [text[:_MESSAGE] for text in new[:_CAUSES_TOLD]],
        "documents": [
            {"name": document.name[:_WORDS], "link": document_link(address, document.identifier) or None}
            for document in (content.new[:_CAUSES_TOLD] if content is not None else ())
        ],
    }


def make_text(report: Report, *, report_paths: Sequence[str] = (), next_command: str | None = None) -> MessageText:
    """Return the run in a few lines: which targets failed, why, what to do, and what recovered. It has no markup."""
    outcomes = report.outcomes
    causes = causes_of(report)
    has_news = has_run_before(outcomes)
    lines = [line for cause in causes[:_CAUSES_TOLD] for line in _cause(cause, has_news=has_news)]
    more = sum(len(cause.outcomes) for cause in causes[_CAUSES_TOLD:])
    if more:
        lines.append(f"and {more} more")
    counted_as_failed = set(map(id, issue_outcomes(report)))
    for model in issues_of(report)[:_CAUSES_TOLD]:
        if model.new and id(model.outcome) not in counted_as_failed:
            named = ", ".join(_plain(entry.name, _NAME) for entry in model.new[:_NAMES_TOLD] if entry.name)
            lines.append(f"{_plain(model.outcome.name, _NAME)}: {model.words}{f': {named}' if named else ''}")
    recovered = [outcome for outcome in outcomes if is_recovered(outcome)]
    if recovered:
        lines.append(f"Recovered: {_names(recovered)}")
    counted = ", ".join(f"{n} {status.words}" for status, n in count_statuses(outcomes).items() if n)
    after = [f"{counted or 'no targets'}; took {took(report.run.duration_s)}; exit code {report.exit_code}"]
    after += [f"Report: {_plain(path, _WORDS)}" for path in report_paths[:2]]
    if next_command and len(next_command) <= _WORDS:
        after.append(f"Next: {_plain(next_command, _WORDS)}")
    return MessageText(title=_title(report), body=_fit(lines, after))


def _title(report: Report) -> str:
    new = sum(map(is_new_failure, report.outcomes))
    recovered = sum(map(is_recovered, report.outcomes))
    bad = len(bad_outcomes(report.outcomes))
    facts = [
        f"{new} newly" * (0 < new < bad),
        f"{recovered} recovered" * bool(recovered),
        # for example a report that could not be written
        f"exit code {report.exit_code}" * (report.exit_code != 0 and not is_bad(report)),
    ]
    told = ", ".join(filter(None, facts))
    mark = f" {SIMULATED}" if report.run.simulated else ""
    stopped = "stopped by a signal, " if report.run.signal is not None else ""
    manifest = _plain(report.run.manifest_path.rpartition("/")[2], _NAME)
    return f"omni-refresh{mark}: {stopped}{headline(report)}{f' ({told})' if told else ''}, {manifest}"


def _cause(cause: Cause, *, has_news: bool) -> list[str]:
    news = news_of(cause.outcomes) if has_news else None
    mark = f" ({news})" if news is not None else ""
    line = f"{cause.status.words}{mark}: {_names(cause.outcomes)}: {_plain(cause.words, _WORDS)}"
    hint = cause.failure.hint
    return [line, f"-> {_plain(hint, _WORDS)}"] if hint else [line]


def _names(outcomes: Sequence[Outcome]) -> str:
    return and_more([_plain(outcome.name, _NAME) for outcome in outcomes[:_NAMES_TOLD]], len(outcomes))


def _fit(lines: Sequence[str], after: Sequence[str]) -> str:
    """Return as many lines as fit, then the required ones."""
    room = TEXT_LIMIT - sum(len(line) + 1 for line in after)
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < len("...") + 1:
            kept.append("...")
            break
        kept.append(line)
    return "\n".join((*kept, *after))


def _plain(text: str, limit: int) -> str:
    """Return foreign text on one line, without mentions and links."""
    shown = short(text, limit)
    for sign, instead in _INTERPRETED:
        shown = shown.replace(sign, instead)
    return _FORMATTED.sub("'", shown)
