"""Markdown for pull requests and job summaries: short, worst first, and inert.

Foreign text is always code: markup, mentions, links and issue numbers have no effect in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC
from typing import Final

from orchestrator.engine.outcome import Outcome
from orchestrator.report.causes import Cause, cards_of, group_warnings, short
from orchestrator.report.files import close_tags
from orchestrator.report.findings import (
    SIMULATED,
    SIMULATED_NOTE,
    against_before,
    count_statuses,
    headline,
    is_bad,
    is_slow,
    news_of,
    slow_outcomes,
    still_since,
    worst_first,
)
from orchestrator.report.issues import issues_of
from orchestrator.report.report import Report
from orchestrator.report.wording import took
from orchestrator.text import and_more

# A comment on GitHub holds 65,536 characters.
MARKDOWN_LIMIT: Final = 60_000

_CAUSES_SHOWN: Final = 20
_NAMES_SHOWN: Final = 10
_ROWS_SHOWN: Final = 100
_WARNINGS_SHOWN: Final = 10
_DOCUMENTS_SHOWN: Final = 10
_ISSUES_SHOWN: Final = 3
_NAME_LIMIT: Final = 80
_TEXT_LIMIT: Final = 500

_PUNCTUATION: Final = re.compile(r"[!-/:-@\[-`{-~]")


def render_markdown(report: Report) -> str:
    """Return the report as short Markdown, at most `MARKDOWN_LIMIT` characters. A cut leaves no tag open."""
    text = ""
    for block in _blocks(report):
        if len(text) + len(block) > MARKDOWN_LIMIT:
            return close_tags(text + "\n… cut: the JSON report has the rest.\n")
        text += block + "\n"
    return text


def _blocks(report: Report) -> Iterator[str]:
    outcomes, run = report.outcomes, report.run
    yield f"## {heading(report)}\n"
    if run.simulated:
        yield f"**{SIMULATED_NOTE}.**\n"
    counts = [f"{count} {status.words}" for status, count in count_statuses(outcomes).items() if count]
    calls = f"{run.requests} calls ({run.polls} polls, {run.throttled} throttled)"
    yield f"{', '.join(counts) or 'no targets'} in {took(run.duration_s)} with {calls}.\n"
    yield f"Manifest {code(run.manifest_path)}, run {code(run.id)}, {run.started_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC.\n"
    for number, command in enumerate(run.next_commands):
        yield f"{'Then' if number else 'Next'}: {code(command, _TEXT_LIMIT)}\n"
    against = against_before(outcomes)
    if against is not None:
        yield f"Against the run before: {against.words}.\n"
        if against.recovered:
            yield f"Recovered: {_names(against.recovered)}.\n"
    causes = [cause for card in cards_of(report) for cause in card.causes]
    for cause in causes[:_CAUSES_SHOWN]:
        yield _cause(cause, news_of(cause.outcomes) if against is not None else None)
    if len(causes) > _CAUSES_SHOWN:
        yield f"- … and {len(causes) - _CAUSES_SHOWN} more causes.\n"
    yield from _slow(outcomes)
    yield from _issues(report)
    yield from _warnings(report)
    yield from _table(outcomes)


def heading(report: Report) -> str:
    """Return the result in one line, for a heading."""
    sign, end = "❌" if is_bad(report) else "✅", headline(report)
    if report.run.signal is not None:
        sign, end = "⏹️", f"stopped; {end}"
    return f"{sign} omni-refresh{f' {SIMULATED}' if report.run.simulated else ''}: {end}"


def _cause(cause: Cause, news: str | None) -> str:
    count = len(cause.outcomes)
    lines = [
        f"- **{cause.status.words}**"
        + (f" {news}" if news else "")
        + (f" ×{count}" if count > 1 else "")
        + f" {_names(cause.outcomes)}"
    ]
    if cause.words:
        lines.append(f"  {code(cause.words, _TEXT_LIMIT)}")
    if cause.failure.hint:
        lines.append(f"  What to do: {code(cause.failure.hint, _TEXT_LIMIT)}")
    return "  \n".join(lines) + "\n"


def _names(outcomes: tuple[Outcome, ...]) -> str:
    return and_more(list(map(_name, outcomes[:_NAMES_SHOWN])), len(outcomes))


def _name(outcome: Outcome) -> str:
    since = still_since(outcome)
    return code(outcome.name, _NAME_LIMIT) + (f" (since {since})" if since is not None else "")


def _slow(outcomes: tuple[Outcome, ...]) -> Iterator[str]:
    slow = slow_outcomes(outcomes)
    if slow:
        told = [f"{code(o.name, _NAME_LIMIT)} {took(o.duration_s or 0.0)}{_usually(o)}" for o in slow[:_NAMES_SHOWN]]
        yield f"Took more than twice as long as usual: {and_more(told, len(slow))}.\n"


def _usually(slow: Outcome) -> str:
    return f" (usually {took(slow.usual_s or 0.0)})"


def _issues(report: Report) -> Iterator[str]:
    """Yield what the refreshes broke, by model, with links into Omni."""
    found = issues_of(report)
    for model in found[:_CAUSES_SHOWN]:
        yield f"{code(model.outcome.name, _NAME_LIMIT)}: {model.words}\n" + ("" if model.new else "\n")
        for entry in model.new[:_DOCUMENTS_SHOWN]:
            name = code(entry.name, _NAME_LIMIT) if entry.name else ""
            name = f"[{name}]({entry.link})" if entry.link else name
            lines = and_more([code(line, _TEXT_LIMIT) for line in entry.lines[:_ISSUES_SHOWN]], len(entry.lines))
            yield f"- {name}: {lines}" if name else f"- {lines}"
        if len(model.new) > _DOCUMENTS_SHOWN:
            yield f"- … and {len(model.new) - _DOCUMENTS_SHOWN} more"
        if model.new:
            yield ""
    if len(found) > _CAUSES_SHOWN:
        yield f"… and {len(found) - _CAUSES_SHOWN} more models.\n"


def _warnings(report: Report) -> Iterator[str]:
    remarks = group_warnings(report.run.warnings, report.outcomes)
    if remarks:
        yield "Warnings:\n"
    for remark in remarks[:_WARNINGS_SHOWN]:
        others = f" and {remark.count - 1} more" if remark.count > 1 else ""
        where = f"{code(remark.where, _NAME_LIMIT)}{others}: " if remark.where is not None else ""
        yield f"- {where}{code(remark.text, _TEXT_LIMIT)}"
    if len(remarks) > _WARNINGS_SHOWN:
        yield f"- … and {len(remarks) - _WARNINGS_SHOWN} more"
    if remarks:
        yield ""


def _table(outcomes: tuple[Outcome, ...]) -> Iterator[str]:
    """Yield one row per target, worst first, in a folded section."""
    if not outcomes:
        return
    rows = worst_first(outcomes)
    yield f"<details><summary>{len(outcomes)} targets</summary>\n"
    yield "| status | target | took | job |\n|---|---|---:|---|"
    for outcome in rows[:_ROWS_SHOWN]:
        duration = "" if outcome.duration_s is None else took(outcome.duration_s)
        if is_slow(outcome):
            duration += _usually(outcome)
        job = f"via {_in_cell(outcome.covered_by)}" if outcome.covered_by is not None else ""
        job = job or _in_cell(*outcome.job_ids[:1])
        yield f"| {outcome.status.words} | {_in_cell(outcome.name)} | {duration} | {job} |"
    yield f"\n… and {len(rows) - _ROWS_SHOWN} more.\n" if len(rows) > _ROWS_SHOWN else ""
    yield "</details>"


def code(text: str, limit: int = 200) -> str:
    """Return foreign text as code: on one line, bounded, between more backticks than it has in a row.

    Text with a `<` becomes an element with character references. The source then has no tag, also for programs that read
    Markdown as HTML.
    """
    shown = short(text, limit) or " "
    if "<" in shown:
        return f"<code>{_PUNCTUATION.sub(lambda match: f'&#{ord(match[0])};', shown)}</code>"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _in_cell(*texts: str) -> str:
    """Return code for a table cell. A bar is escaped even in code; a backslash before it gets a space."""
    return "".join(code(text, _NAME_LIMIT).replace("\\|", "\\ |").replace("|", "\\|") for text in texts)
