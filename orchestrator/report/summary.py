"""The summary of a run for a terminal: worst first, each cause once with what to do, then the counts and the next command."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.engine.outcome import Outcome, Status
from orchestrator.report.causes import Cause, causes_of, group_warnings, short, skip_reason
from orchestrator.report.findings import (
    SIMULATED_NOTE,
    against_before,
    capitalized,
    count_statuses,
    headline,
    is_bad,
    issue_outcomes,
    slow_outcomes,
    still_since,
)
from orchestrator.report.issues import issues_of
from orchestrator.report.report import Report
from orchestrator.report.timeline import budget_words
from orchestrator.report.wording import STATUS_STYLES, text_console, took
from orchestrator.text import clean, counted, plural, some

_NAMES_SHOWN: Final = 6
_BAD_ROWS: Final = 50
_GOOD_ROWS: Final = 12
_WARNINGS_SHOWN: Final = 8
_MODELS_SHOWN: Final = 8
_DOCUMENTS_SHOWN: Final = 5
_ISSUES_SHOWN: Final = 2
_NAME_LIMIT: Final = 60
_TEXT_LIMIT: Final = 400
_STACKED_BELOW: Final = 72
_STATUS_WIDTH: Final = 11
_TARGET_WIDTH: Final = 12

# A workflow command that wrapping moved to the start of a line; styles may come before it.
_COMMAND_AFTER_WRAP: Final = re.compile(r"^((?:\x1b\[[0-9;]*m|[^\S\n])*)(?=::)", re.MULTILINE)


def render_summary(report: Report, *, width: int, color: bool, report_paths: Sequence[str] = ()) -> str:
    """Return the summary as text, at most `width` columns wide, with a final newline. Paths and commands are not wrapped.

    With `color` it has ANSI styles for a terminal. Without, it is plain text: no escape, no carriage return. The
    caller encodes what the stream cannot hold with `backslashreplace`.
    """
    out = io.StringIO()
    console = text_console(out, width=max(width, 20), color=color)
    for block in (
        _headline(report),
        _rows(report, console.width),
        _issues(report),
        _warnings(report),
        _numbers(report),
    ):
        if block is not None:
            console.print(block)
            console.print()
    for label, text in (
        *(("Report", path) for path in report_paths),
        *(("Next", command) for command in report.run.next_commands),
    ):
        console.print(f"{label}: {clean(text)}", soft_wrap=True)
    lines = (line if color else line.rstrip() for line in out.getvalue().split("\n"))
    return _COMMAND_AFTER_WRAP.sub(r"\1\\", "\n".join(lines)).rstrip("\n") + "\n"


def _headline(report: Report) -> Text:
    words = headline(report)
    if report.run.signal is not None:
        words = f"stopped by a signal: {words}"
    text = Text(f"{SIMULATED_NOTE}\n" if report.run.simulated else "", style="bold magenta")
    return text.append(capitalized(words), style="bold red" if is_bad(report) else "bold green")


def _rows(report: Report, width: int) -> Group | None:
    """Return the targets that are not good by cause, then the good ones if they are few."""
    causes = causes_of(report)
    rows: list[_Row] = []
    room = _BAD_ROWS
    for cause in causes:
        names = min(_NAMES_SHOWN, room)
        if not names:
            break
        rows.append(_Row.of_cause(cause, names))
        room -= min(names, len(cause.outcomes))
    if len(causes) > len(rows):
        hidden = sum(len(cause.outcomes) for cause in causes[len(rows) :])
        rows.append(_Row(None, (f"and {hidden} more {plural('target', hidden)}",), "the report names them all", None))
    told = set(map(id, issue_outcomes(report)))
    good = [outcome for outcome in report.outcomes if outcome.status.is_good and id(outcome) not in told]
    if len(good) <= _GOOD_ROWS:
        rows += map(_Row.of_good, good)
    if not rows:
        return None
    return Group(*(row.stacked() for row in rows)) if width < _STACKED_BELOW else Group(_table(rows, width))


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: a status, its targets, what happened and what to do."""

    status: Status | None
    names: tuple[str, ...]
    words: str
    hint: str | None

    @classmethod
    def of_cause(cls, cause: Cause, names: int) -> _Row:
        shown = [_name(outcome) for outcome in cause.outcomes[:names]]
        if len(cause.outcomes) > names:
            shown.append(f"and {len(cause.outcomes) - names} more")
        return cls(cause.status, tuple(shown), short(cause.words, _TEXT_LIMIT), short(cause.failure.hint, _TEXT_LIMIT))

    @classmethod
    def of_good(cls, outcome: Outcome) -> _Row:
        words = f"by the refresh of {short(outcome.covered_by, _NAME_LIMIT)}" if outcome.covered_by is not None else ""
        return cls(outcome.status, (_name(outcome),), words or short(skip_reason(outcome), _TEXT_LIMIT), None)

    def what(self) -> Text:

        text = Text(self.words)
        if self.hint:
            text.append("\n" * bool(self.words) + "-> " + self.hint, style="dim")
        return text

    def label(self) -> Text:

        return Text(self.status.words, style=STATUS_STYLES[self.status]) if self.status else Text()

    def stacked(self) -> Group:

        head = self.label()
        head.append("  " * bool(head.plain) + ", ".join(self.names), style="not bold default")
        what = self.what()
        return Group(head, Padding(what, (0, 0, 0, 2))) if what.plain else Group(Text() + head)


def _table(rows: Sequence[_Row], width: int) -> Table:
    """Return the table. Names have the width that they need, up to two fifths or what the last column leaves."""
    widest = max((cell_len(name) for row in rows for name in row.names), default=0)
    words = max((cell_len(line) for row in rows for line in row.what().plain.split("\n")), default=0)
    left = width - _STATUS_WIDTH - 4
    names = max(_TARGET_WIDTH, min(widest, max(2 * (left + 4) // 5, left - max(words, _STATUS_WIDTH + 2))))
    table = Table(box=None, show_header=True, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("STATUS", min_width=_STATUS_WIDTH, no_wrap=True)
    table.add_column("TARGET", width=names, overflow="fold")
    table.add_column("WHAT HAPPENED", overflow="fold")
    for row in rows:
        table.add_row(row.label(), Text("\n".join(row.names)), row.what())
    return table


def _issues(report: Report) -> Text | None:
    """Return what the refreshes broke and repaired, by model."""
    found = issues_of(report)
    text = Text()
    for model in found[:_MODELS_SHOWN]:
        text.append(
            f"{short(model.outcome.name, _NAME_LIMIT)}: {model.words}\n", style="yellow" if model.new else "green"
        )
        for entry in model.new[:_DOCUMENTS_SHOWN]:
            if entry.name:
                text.append(f"  {short(entry.name, _NAME_LIMIT)}{'  ' * bool(entry.link)}{clean(entry.link)}\n")
            for line in entry.lines[:_ISSUES_SHOWN]:
                text.append(f"    {short(line, _TEXT_LIMIT)}\n", style="dim")
            if len(entry.lines) > _ISSUES_SHOWN:
                text.append(f"    and {len(entry.lines) - _ISSUES_SHOWN} more\n", style="dim")
        if len(model.new) > _DOCUMENTS_SHOWN:
            text.append(f"  and {len(model.new) - _DOCUMENTS_SHOWN} more documents\n")
        if model.fixed and model.fixed[0].name:
            text.append(
                f"  repaired: {_listed(short(entry.name, _NAME_LIMIT) for entry in model.fixed)}\n", style="green"
            )
    if len(found) > _MODELS_SHOWN:
        text.append(f"and {len(found) - _MODELS_SHOWN} more models with issues; the report has them all\n")
    text.rstrip()
    return text if found else None


def _warnings(report: Report) -> Text | None:
    remarks = group_warnings(report.run.warnings, report.outcomes)
    lines = []
    for remark in remarks[:_WARNINGS_SHOWN]:
        others = f" and {remark.count - 1} more" if remark.count > 1 else ""
        where = f"{short(remark.where, _NAME_LIMIT)}{others}: " if remark.where is not None else ""
        lines.append(f"Warning: {where}{short(remark.text, _TEXT_LIMIT)}")
    if len(remarks) > _WARNINGS_SHOWN:
        lines.append(f"and {len(remarks) - _WARNINGS_SHOWN} more warnings")
    return Text("\n".join(lines), style="yellow") if lines else None


def _numbers(report: Report) -> Text:
    run, outcomes = report.run, report.outcomes
    text = Text(f"{len(outcomes)} {plural('target', len(outcomes))}: " if outcomes else "No targets")
    found = [(status, count) for status, count in count_statuses(outcomes).items() if count]
    text += Text(", ").join(Text(f"{count} {status.words}", style=STATUS_STYLES[status]) for status, count in found)
    against = against_before(outcomes)
    if against is not None:
        text.append(f"\nAgainst the run before: {against.words}")
        if against.recovered:
            text.append(f"\nRecovered: {_listed(short(o.name, _NAME_LIMIT) for o in against.recovered)}")
    slow = slow_outcomes(outcomes)
    if slow:
        told = (f"{_name(o)} instead of {took(o.usual_s or 0.0)}" for o in slow)
        text.append(f"\nSlower than usual: {_listed(told)}", style="yellow")
    calls = counted(run.requests, "call")
    text.append(f"\nTook {took(run.duration_s)} and {calls}: {counted(run.polls, 'poll')}, {run.throttled:,} throttled")
    if run.budget and run.requests:
        text.append(f"\nAPI budget: {budget_words(run.budget)}")
    text.append(f"\nRun {clean(run.id)}", style="dim")
    return text


def _name(outcome: Outcome) -> str:
    facts = [] if outcome.duration_s is None else [took(outcome.duration_s)]
    since = still_since(outcome)
    if since is not None:
        facts.append(f"failing since {since}")
    return short(outcome.name, _NAME_LIMIT) + (f" ({', '.join(facts)})" if facts else "")


def _listed(names: Iterable[str]) -> str:
    told = list(names)
    return some(told, at_most=_NAMES_SHOWN)
