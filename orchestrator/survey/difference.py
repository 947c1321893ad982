"""A manifest against what its instance has: which models are new there, and which of the manifest's are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import __version__
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.omni.answers import ModelRecord
from orchestrator.planning.inventory import Inventory, Needs, by_name, same_named
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.model_listing import CannotTell, Stock
from orchestrator.survey.survey import Survey

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`new` are models that the manifest does not name, `gone` its entries whose model is not there any more."""

    new: tuple[ModelRecord, ...]
    gone: tuple[Entry, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone)


async def find_difference(survey: Survey, manifest: Manifest, instance: str, stock: Stock) -> Difference:
    """Hold the manifest's entries of one instance, disabled ones too, against the stock; models of other kinds are asked
    for one by one. Raises `CannotTell`.
    """
    entries = [entry for entry in manifest.entries if entry.instance == instance]
    names = by_name(stock.inventory.records.values())
    needs = Needs(
        ids=tuple(
            dict.fromkeys(e.model_id for e in entries if e.model_id and e.model_id not in stock.inventory.records)
        ),
        names=tuple(dict.fromkeys(_name(e) for e in entries if e.model_id is None and not same_named(names, _name(e)))),
    )
    rest = Inventory()
    if needs.count:
        reader = await survey.look_up(instance)
        try:
            rest = await reader.find(needs)
        except LimiterClosed as closed:
            raise CannotTell(f"the instance {instance} could not be asked: {survey.why(closed)}") from None
        if rest.failure or rest.refused:
            raise CannotTell(f"some models of the manifest could not be looked up{rest.why(*needs.ids, *needs.names)}")
    records = {**stock.inventory.records, **rest.records}
    names = by_name(records.values())
    known: set[str] = set()
    gone: list[Entry] = []
    for entry in entries:
        found = _models(entry, records, names)
        known.update(model.id for model in found)
        if not any(not model.deleted for model in found):
            gone.append(entry)
    return Difference(new=tuple(model for model in stock.models if model.id not in known), gone=tuple(gone))


def _name(entry: Entry) -> str:
    return entry.model_name or entry.name


def _models(
    entry: Entry, records: Mapping[str, ModelRecord], names: Mapping[str, tuple[ModelRecord, ...]]
) -> Sequence[ModelRecord]:
    if entry.model_id is None:
        return same_named(names, _name(entry))
    return [records[entry.model_id]] if entry.model_id in records else []


def make_difference_document(difference: Difference, manifest: Manifest, stock: Stock) -> Mapping[str, Any]:
    """What `discover --diff --json` prints. Its `schema_version` grows when a field changes or goes."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "omni-refresh", "version": __version__},
        "manifest": {"path": manifest.path, "sha256": manifest.sha256},
        "new": [
            {
                "id": model.id,
                "name": model.name,
                "kind": model.kind,
                "connection_id": model.connection_id,
                "connection": stock.connection_name(model.connection_id),
            }
            for model in difference.new
        ],
        "gone": [
            {"name": e.name, "model_id": e.model_id, "line": e.place.line, "column": e.place.column}
            for e in difference.gone
        ],
    }
