"""The warnings of a plan, each once and with its entries. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.manifest.manifest import Entry, Mode
from orchestrator.planning.inventory import KINDS, Inventory
from orchestrator.planning.make_plan import coverage_warnings
from orchestrator.planning.plan import RefreshPlan
from orchestrator.survey.forecast import Step
from orchestrator.text import some

_REMOVES = (
    "a hard refresh removes what is gone from the warehouse, and what it makes anew is live at once (hard is the API's "
    "own default; `mode: soft` only adds)"
)
_PROMOTE = "a branch refresh changes the branch alone: it must be promoted afterwards"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanWarning:
    """Something that is allowed but should be known. `entries` are those that it is about, in manifest order."""

    message: str
    entries: tuple[Entry, ...]


def make_plan_warnings(
    plan: RefreshPlan, steps: Sequence[Step], inventories: Mapping[str, Inventory]
) -> tuple[PlanWarning, ...]:
    """Return all warnings of a plan, those about single entries last."""
    senders = [step.refresh.sender.entry for step in steps]
    found = [
        PlanWarning(message=message, entries=entries)
        for message, entries in (
            (_REMOVES, tuple(e for e in senders if e.mode is Mode.HARD)),
            (_PROMOTE, tuple(e for e in senders if e.branch is not None)),
        )
        if entries
    ]
    found += _outsiders(plan, steps, inventories)
    by_message: dict[str, list[Entry]] = defaultdict(list)
    for step in steps:
        for target in step.refresh.covered:
            for message in coverage_warnings(step.refresh.sender.entry.mode, target.entry):
                by_message[message].append(target.entry)
    for entry in plan.entries:
        for message in plan.warnings.get(entry.index, ()):
            by_message[message].append(entry)
    found += [PlanWarning(message=message, entries=tuple(entries)) for message, entries in by_message.items()]
    return tuple(found)


def _outsiders(plan: RefreshPlan, steps: Sequence[Step], inventories: Mapping[str, Inventory]) -> Iterator[PlanWarning]:
    """Yield hard refreshes of connections with models outside the manifest, as far as the plan's look-ups showed them."""
    mine = {(t.entry.instance, t.model_id) for lane in plan.lanes for t in lane.targets}
    mine |= {(e.instance, e.model_id or e.model_name or e.name) for e in plan.manifest.entries}
    others: dict[tuple[str, str], list[str]] = defaultdict(list)
    for instance, inventory in inventories.items():
        for record in inventory.records.values():
            is_mine = (instance, record.id) in mine or (instance, record.name) in mine
            if record.connection_id and record.kind in KINDS[:2] and not record.deleted and not is_mine:
                others[instance, record.connection_id].append(record.name or record.id)
    for step in steps:
        target = step.refresh.sender
        names = others.pop((target.entry.instance, target.connection or ""), None)
        if target.entry.mode is Mode.HARD and names:
            yield PlanWarning(
                message=f"this hard refresh is of the whole connection, and rebuilds models outside the manifest: {some(names)}",
                entries=(target.entry,),
            )
