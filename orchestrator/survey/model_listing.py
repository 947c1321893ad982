"""The models of an instance by connection, and how a manifest differs from them."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from orchestrator import __version__
from orchestrator.engine.calls import Calls
from orchestrator.engine.look_up import LookUp
from orchestrator.errors import OmniRefreshError
from orchestrator.manifest.manifest import Entry, Manifest
from orchestrator.omni.answers import ConnectionRecord, ModelRecord, ModelsQuery
from orchestrator.omni.errors import CallError
from orchestrator.planning.inventory import Inventory, Needs, by_name, same_named
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.survey import Survey

_MOST_ENVIRONMENTS = 50


class CannotTell(OmniRefreshError):
    """An instance's models could not be read. `refused`: it refused its keys."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFilter:
    """Selects models: of any of these kinds, on any of these connections (ids or names), and with a name that matches any of
    these globs. No connections or no globs select all.
    """

    kinds: tuple[str, ...] = ("SHARED",)
    connections: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelListing:
    """What an instance has: the wanted `models` by connection and name, all models that were read, and the connections by id,
    as far as the key may list them.

    `environments` has the connections that can replace a base connection, by its id, each with its schema model.
    """

    models: tuple[ModelRecord, ...]
    inventory: Inventory
    connections: Mapping[str, ConnectionRecord] = field(default_factory=dict)
    environments: Mapping[str, Sequence[tuple[str, ModelRecord]]] = field(default_factory=dict)

    def connection_name(self, connection_id: str | None) -> str | None:
        """Return a connection's name if it is known and unique."""
        record = self.connections.get(connection_id or "")
        if record is None or not record.name:
            return None
        return record.name if sum(c.name == record.name for c in self.connections.values()) == 1 else None

    def branches(self, model_id: str) -> tuple[str, ...]:
        """Return the names of a model's active branches."""
        return tuple(name for _, name in self.inventory.branches.get(model_id, ()))

    def by_connection(self) -> Mapping[str | None, Sequence[ModelRecord]]:
        """Return the wanted models of each connection."""
        found: dict[str | None, list[ModelRecord]] = defaultdict(list)
        for model in self.models:
            found[model.connection_id].append(model)
        return found


async def list_models(survey: Survey, instance: str, wanted: ModelFilter) -> ModelListing:
    """Read all models of the wanted kinds (pages of 100) and the connections (one call). Raises `CannotTell`."""
    reader, calls = await survey.look_up(instance), await survey.calls(instance)
    try:
        inventory = await reader.all_models(wanted.kinds)
        try:
            connections = {c.id: c for c in await reader.read(calls.client.connections) if not c.deleted}
        except CallError:
            # only administrators may list connections; the models are known without the list
            connections = {}
        environments = await _environments(reader, calls)
    except LimiterClosed as closed:
        raise CannotTell(
            f"the instance {instance} could not be read: {survey.why(closed)}", refused=bool(survey.refused)
        ) from None
    if inventory.failure:
        raise CannotTell(f"the models of {instance} could not be read: {inventory.failure}")
    if not inventory.whole >= set(wanted.kinds):
        raise CannotTell(f"the models of {instance} could not be read: their pages do not end")
    models = [m for m in inventory.records.values() if _is_wanted(m, wanted, connections)]

    def order(model: ModelRecord) -> tuple[str, str, str, str]:
        connection = connections.get(model.connection_id or "")
        called = connection.name if connection is not None and connection.name else model.connection_id or ""
        return called, model.connection_id or "", model.name or "", model.id

    return ModelListing(
        models=tuple(sorted(models, key=order)),
        inventory=inventory,
        connections=connections,
        environments=environments,
    )


async def _environments(reader: LookUp, calls: Calls) -> dict[str, list[tuple[str, ModelRecord]]]:
    """Return the environments of connections with their schema models: one call for the list, one for each environment."""
    found: dict[str, list[tuple[str, ModelRecord]]] = defaultdict(list)
    for base, environment in (await reader.environments())[:_MOST_ENVIRONMENTS]:
        query = ModelsQuery(kind="SCHEMA", connection_id=environment)
        with suppress(CallError):
            page = await reader.read(partial(calls.client.models, query), about=environment)
            found[base] += [
                (environment, record)
                for record in page.records
                if record.connection_id == environment and record.kind == "SCHEMA" and not record.deleted
            ]
    return found


def _is_wanted(model: ModelRecord, wanted: ModelFilter, connections: Mapping[str, ConnectionRecord]) -> bool:
    if model.deleted or model.kind not in wanted.kinds:
        return False
    connection = connections.get(model.connection_id or "")
    called = {model.connection_id, connection.name if connection is not None else None}
    if wanted.connections and not any(c in called or c.lower() in called for c in wanted.connections):
        return False
    return not wanted.names or any(fnmatch.fnmatchcase(model.name or "", glob) for glob in wanted.names)


SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`new` are models that the manifest does not name, `gone` its entries whose model no longer exists."""

    new: tuple[ModelRecord, ...]
    gone: tuple[Entry, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.gone)


async def find_difference(survey: Survey, manifest: Manifest, instance: str, listing: ModelListing) -> Difference:
    """Compare the manifest's entries of one instance, including disabled ones, with the listing. Raises `CannotTell`.

    Models of other kinds are looked up one by one.
    """
    entries = [entry for entry in manifest.entries if entry.instance == instance]
    names = by_name(listing.inventory.records.values())
    needs = Needs(
        ids=tuple(
            dict.fromkeys(e.model_id for e in entries if e.model_id and e.model_id not in listing.inventory.records)
        ),
        names=tuple(dict.fromkeys(_name(e) for e in entries if e.model_id is None and not same_named(names, _name(e)))),
    )
    rest = Inventory()
    if needs.count:
        reader = await survey.look_up(instance)
        try:
            rest = await reader.find(needs)
        except LimiterClosed as closed:
            raise CannotTell(f"the instance {instance} could not be read: {survey.why(closed)}") from None
        if rest.failure or rest.refused:
            raise CannotTell(f"some models of the manifest could not be looked up{rest.why(*needs.ids, *needs.names)}")
    records = {**listing.inventory.records, **rest.records}
    names = by_name(records.values())
    known: set[str] = set()
    gone: list[Entry] = []
    for entry in entries:
        found = _models(entry, records, names)
        known.update(model.id for model in found)
        if not any(not model.deleted for model in found):
            gone.append(entry)
    return Difference(new=tuple(model for model in listing.models if model.id not in known), gone=tuple(gone))


def _name(entry: Entry) -> str:
    return entry.model_name or entry.name


def _models(
    entry: Entry, records: Mapping[str, ModelRecord], names: Mapping[str, tuple[ModelRecord, ...]]
) -> Sequence[ModelRecord]:
    if entry.model_id is None:
        return same_named(names, _name(entry))
    return [records[entry.model_id]] if entry.model_id in records else []


def make_difference_document(difference: Difference, manifest: Manifest, listing: ModelListing) -> Mapping[str, Any]:
    """Return what `discover --diff --json` prints. Its `schema_version` grows when a field changes or is removed."""
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
                "connection": listing.connection_name(model.connection_id),
            }
            for model in difference.new
        ],
        "gone": [
            {"name": e.name, "model_id": e.model_id, "line": e.place.line, "column": e.place.column}
            for e in difference.gone
        ],
    }
