"""A preview for people: the refreshes in order, what cannot be planned, warnings, and costs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.changes.change_set import Change
from orchestrator.manifest.manifest import Manifest, RefreshKind, is_id
from orchestrator.planning.plan import RefreshPlan, how_refreshed
from orchestrator.report.links import document_link
from orchestrator.report.wording import text_console, took
from orchestrator.survey.forecast import Forecast, Step
from orchestrator.survey.preview import Preview
from orchestrator.survey.usage import Use
from orchestrator.terminal.changes_table import concern_lines, other_lines
from orchestrator.terminal.console import Console
from orchestrator.text import clean, some

if TYPE_CHECKING:
    from rich.table import Table

_ROWS = 200
_OTHERS = 20
_LANE_LIMIT = 40
_BRANCHES = 10


def render_preview(preview: Preview, console: Console, *, redact: Callable[[str], str]) -> str:
    """The preview as text, ending in a newline; without colour it holds no escape. `redact` takes secrets out."""
    out = io.StringIO()
    rich = text_console(out, width=max(console.width, 40), color=console.color)
    for line in _change(preview):
        rich.print(redact(line), soft_wrap=True)
    if preview.steps:
        rich.print(_table(preview.steps))
        if len(preview.steps) > _ROWS:
            rich.print(f"and {len(preview.steps) - _ROWS} more; --json has them all")
        rich.print()
    for line in _others(preview):
        rich.print(clean(redact(line)), soft_wrap=True)
    rich.print(_numbers(preview.plan, preview.steps))
    for line in _costs(preview.forecast, len(preview.steps)):
        rich.print(line)
    if preview.usage is not None:
        rich.print(f"Read for this plan alone: {_count(preview.usage.reads, 'call')}")
    lines = (line if console.color else line.rstrip() for line in out.getvalue().split("\n"))
    return "\n".join(lines).rstrip("\n") + "\n"


def _change(preview: Preview) -> Iterator[str]:
    """Yield the changes with the models that each affects, then the refresh that each model gets, and why."""
    if preview.followed is None:
        return
    changes, impacts = preview.followed.changes, [c for c in preview.plan.impacts if not c.is_skipped]
    shown = changes.changes[:_ROWS]
    among = set(shown)
    concerned: dict[Change, list[str]] = {}
    for one in impacts:
        for change in among.intersection(one.changes):
            concerned.setdefault(change, []).append(one.entry.name)
    for change, line in zip(shown, concern_lines(shown, concerned), strict=True):
        yield line
        yield from _uses(change, preview)
    if len(changes.changes) > _ROWS:
        yield f"and {len(changes.changes) - _ROWS} more changes; --json has them all"
    yield from other_lines(changes)
    if not preview.followed.is_nothing or changes.not_refreshed:
        yield ""
    for one in impacts[:_OTHERS]:
        yield f"{clean(one.entry.name)}: {clean(one.why)}"
    if len(impacts) > _OTHERS:
        yield f"and {len(impacts) - _OTHERS} more models; --json has them all"
    if impacts:
        yield ""


def _uses(change: Change, preview: Preview) -> Iterator[str]:
    """Yield what uses the things that one change takes away, if that was read."""
    uses = [use for use in preview.usage.uses if use.change == change] if preview.usage is not None else []
    for use in uses[:_OTHERS]:
        yield from _use(use, preview.plan.manifest)
    if len(uses) > _OTHERS:
        yield f"    and {len(uses) - _OTHERS} more models; --json has them all"


def _use(use: Use, manifest: Manifest) -> Iterator[str]:
    """Yield the fields of one model that use what a change takes away, then each document with its page in Omni."""
    what, names = ("field", use.fields) if use.change.columns else ("view", use.views)
    count = len(use.documents)
    words = f"{what}{'' if len(names) == 1 else 's'} {some(names)}" if names else f"no {what} uses it"
    if use.problem:
        words = f"{words}; {use.problem}" if names else use.problem
    elif names:
        words += (
            f"; {_count(count, 'document uses', 'documents use')} {'it' if len(names) == 1 else 'them'}"
            if count
            else "; no document"
        )
    yield f"    {clean(use.entry.name)}: {clean(words)}"
    address = manifest.instances[use.entry.instance].base_url
    for document in use.documents[:_OTHERS]:
        link = document_link(address, document.identifier)
        folder = f" in {document.folder}" if document.folder else ""
        draft = " (draft)" if document.kind is not None and document.kind.lower() == "draft" else ""
        yield f"      {clean((document.name or document.id) + draft + folder)}" + (f"  {link}" if link else "")
    if count > _OTHERS:
        yield f"      and {count - _OTHERS} more documents; --json has them all"


def _table(steps: Sequence[Step]) -> Table:
    from rich.table import Table

    several = len({step.lane.instance for step in steps}) > 1
    any_waits = any(step.turn > 1 for step in steps)
    number_of = {(step.lane.instance, step.lane.key, step.turn): step.number for step in steps}
    table = Table(box=None, pad_edge=False, header_style="dim")
    titles = ("#", "LANE", *(("AFTER",) if any_waits else ()), "CALL", "SCOPE", "SERVES AS WELL")
    for title in titles:
        right = title in ("#", "AFTER")
        table.add_column(title, overflow="fold", justify="right" if right else "left", no_wrap=right or title == "LANE")
    for step in steps[:_ROWS]:
        before = number_of.get((step.lane.instance, step.lane.key, step.turn - 1), "")
        waits = (str(before),) if any_waits else ()
        table.add_row(str(step.number), _lane(step, several=several), *waits, _call(step), _scope(step), _serves(step))
    return table


def _lane(step: Step, *, several: bool) -> str:
    """What people call the connection, else the beginning of its id, or of the model's that is alone."""
    labels = (t.entry.connection for t in step.lane.targets)
    label = next((label for label in labels if label is not None and not is_id(label)), None)
    name = label or step.lane.key.removeprefix("connection ").removeprefix("model ")[:8]
    if label is None and step.lane.key.startswith("model "):
        name = f"model {name}"
    return clean(f"{step.lane.instance}: {name}" if several else name)[:_LANE_LIMIT]


def _call(step: Step) -> str:
    sender = step.refresh.sender
    how = how_refreshed(sender.entry)
    words = f"{how if sender.entry.refresh is RefreshKind.DBT_SYNC else f'{how} refresh'} of {clean(sender.entry.name)}"
    if sender.entry.branch is not None and not sender.entry.name.endswith(f"@{sender.entry.branch}"):
        words += f", branch {clean(sender.entry.branch)}"
    calls = len(step.refresh.requests)
    return words if calls == 1 else f"{words}, in {calls} calls"


def _scope(step: Step) -> str:
    entry = step.refresh.sender.entry
    parts = [
        f"{what} {clean(some(names, at_most=3))}"
        for what, names in (("schemas", entry.schemas), ("tables", entry.tables))
        if names
    ]
    is_sync = entry.refresh is RefreshKind.DBT_SYNC
    return ", ".join(parts) or ("metadata of dbt" if is_sync else "everything")


def _serves(step: Step) -> str:
    return clean(some([target.entry.name for target in step.refresh.covered]))


def _others(preview: Preview) -> Iterator[str]:
    plan = preview.plan
    for one in plan.expansions[:_OTHERS]:
        count = _count(len(one.entries), "branch", "branches")
        found = some([entry.branch or "" for entry in one.entries], at_most=_BRANCHES)
        yield f"{one.pattern.name}: {count} (at most {one.pattern.max_branches}): {found}"
    if len(plan.expansions) > _OTHERS:
        yield f"and {len(plan.expansions) - _OTHERS} more branch patterns; --json has them all"
    for unresolved in plan.unresolved[:_OTHERS]:
        place = unresolved.entry.place
        hint = f"; {unresolved.hint}" if unresolved.hint else ""
        where = f"{plan.manifest.path}:{place.line}:{place.column}"
        yield f"{where}: error: {unresolved.entry.name}: {unresolved.message}{hint}"
    if len(plan.unresolved) > _OTHERS:
        yield f"and {len(plan.unresolved) - _OTHERS} more errors; --json has them all"
    for remark in plan.remarks:
        yield f"warning: {remark}"
    for warning in preview.warnings[:_OTHERS]:
        yield f"warning: {warning.message}: {some([entry.name for entry in warning.entries])}"
    if len(preview.warnings) > _OTHERS:
        yield f"and {len(preview.warnings) - _OTHERS} more warnings; --json has them all"
    reasons: dict[str, list[str]] = {}
    for skip in plan.skips:
        reasons.setdefault(skip.reason, []).append(skip.entry.name)
    for reason, names in list(reasons.items())[:_OTHERS]:
        yield f"skipped: {some(names)}: {reason}"
    if plan.expansions or plan.unresolved or plan.remarks or preview.warnings or reasons:
        yield ""


def _numbers(plan: RefreshPlan, steps: Sequence[Step]) -> str:
    if not steps and not plan.unresolved:
        skipped = f"{_count(len(plan.skips), 'target is', 'targets are')} skipped" if plan.skips else ""
        return f"Nothing to do: {skipped or 'nothing is selected'}"
    targets = sum(len(lane.targets) for lane in plan.lanes)
    words = f"{_count(len(steps), 'refresh', 'refreshes')} in {_count(len(plan.lanes), 'lane')} for {_count(targets, 'target')}"
    if plan.unresolved:
        words += f", {len(plan.unresolved)} in error"
    return words + (f", {len(plan.skips)} skipped" if plan.skips else "")


def _costs(forecast: Forecast, refreshes: int) -> Iterator[str]:
    if not forecast.calls:
        return
    parts = [
        f"{count} {what}"
        for count, what in (
            (forecast.look_ups, "to look up"),
            (forecast.submits, "to submit"),
            (forecast.polls, "or so to follow"),
            (forecast.proofs, "to prove"),
        )
        if count
    ]
    yield f"Calls: about {forecast.calls}" + (f" ({', '.join(parts)})" if parts else "")
    if forecast.time_s is not None:
        words = f"about {took(forecast.time_s)}"
        if not forecast.known:
            words += "; a guess, since no earlier run tells how long these models take"
        elif forecast.known < refreshes:
            words += f"; earlier runs tell of {forecast.known} of {refreshes}"
        yield f"Time: {words}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
