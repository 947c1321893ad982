"""What has changed, for people: a line for each change, with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from orchestrator.changes.change_set import Change, ChangeSet, Effect
from orchestrator.planning.impact import source_of
from orchestrator.text import clean, some

_WIDEST = 48
_SIGNS = {Effect.ADDITIVE: "+", Effect.DESTRUCTIVE: "-"}


def change_lines(changes: Sequence[Change]) -> Iterator[str]:
    """Each change on a line: `+` for what was added, `-` for what may be gone, its name, where it is written, and why."""
    rows = [(f"{_SIGNS[c.effect]} {clean(str(c.name))}", clean(source_of(c)), clean(_reason(c))) for c in changes]
    widths = [max((min(len(row[i]), _WIDEST) for row in rows), default=0) for i in range(2)]
    for name, place, reason in rows:
        yield f"{name:<{widths[0]}}  {place:<{widths[1]}}  {reason}".rstrip()


def _reason(change: Change) -> str:
    return f"{change.reason}: {some(change.columns)}" if change.columns else change.reason


def concern_lines(changes: Sequence[Change], concerned: Mapping[Change, Sequence[str]]) -> Iterator[str]:
    """Each change on a line, with the models that it concerns."""
    for line, change in zip(change_lines(changes), changes, strict=True):
        names = concerned.get(change, ())
        yield f"{line} -> {clean(some(names)) if names else 'no model'}"


def other_lines(changes: ChangeSet) -> Iterator[str]:
    """What was not understood, and what dbt did not build."""
    for lost in changes.not_understood:
        why = f" ({clean(lost.reason)})" if lost.reason else ""
        yield f"? {clean(source_of(lost))}: not understood{why}, touches everything: {clean(lost.text)}"
    for node in changes.not_refreshed:
        yield f"! {clean(node.node)}: not built: {clean(node.reason)}"


def count_line(changes: ChangeSet) -> str:
    """How much it is, on one line."""
    gone = sum(change.effect is Effect.DESTRUCTIVE for change in changes.changes)
    count = len(changes.changes)
    words = [f"{count} change{'' if count == 1 else 's'}"]
    if count:
        words[0] += f" ({count - gone} additive, {gone} destructive)"
    if changes.not_understood:
        words.append(f"{len(changes.not_understood)} not understood")
    if changes.not_refreshed:
        words.append(f"{len(changes.not_refreshed)} not built")
    return ", ".join(words)


def render_changes(changes: ChangeSet) -> str:
    """All of it as text, ending in a newline."""
    lines: Iterable[str] = (*change_lines(changes.changes), *other_lines(changes))
    return "\n".join((*lines, *([""] if lines else []), count_line(changes))) + "\n"
