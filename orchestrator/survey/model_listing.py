"""What an instance has: its models by connection, with their branches."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import OmniRefreshError
from orchestrator.omni.answers import ConnectionRecord, ModelRecord
from orchestrator.omni.errors import CallError
from orchestrator.planning.inventory import Inventory
from orchestrator.quota.rate_limiter import LimiterClosed
from orchestrator.survey.survey import Survey


class CannotTell(OmniRefreshError):
    """An instance did not tell what it has; `refused` is whether it refused its keys."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which models are of interest: of any of these kinds; on any of these connections (ids or names), and with a name that
    any of the globs fits, where there are any.
    """

    kinds: tuple[str, ...] = ("SHARED",)
    connections: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What an instance has: `models` that are wanted, sorted by connection and name; all that was read; the connections by
    id, as far as the key may list them.
    """

    models: tuple[ModelRecord, ...]
    inventory: Inventory
    connections: Mapping[str, ConnectionRecord] = field(default_factory=dict)

    def connection_name(self, connection_id: str | None) -> str | None:
        """A connection's name, where it is known and no other has it."""
        record = self.connections.get(connection_id or "")
        if record is None or not record.name:
            return None
        return record.name if sum(c.name == record.name for c in self.connections.values()) == 1 else None

    def branches(self, model_id: str) -> tuple[str, ...]:
        """The names of a model's active branches."""
        return tuple(name for _, name in self.inventory.branches.get(model_id, ()))

    def by_connection(self) -> Mapping[str | None, Sequence[ModelRecord]]:
        """The wanted models of each connection."""
        found: dict[str | None, list[ModelRecord]] = defaultdict(list)
        for model in self.models:
            found[model.connection_id].append(model)
        return found


async def take_stock(survey: Survey, instance: str, wanted: Wanted) -> Stock:
    """Read all models of the wanted kinds (pages of 100) and the connections (one call). Raises `CannotTell`."""
    reader, calls = await survey.look_up(instance), await survey.calls(instance)
    try:
        inventory = await reader.all_models(wanted.kinds)
        try:
            connections = {c.id: c for c in await reader.read(calls.client.connections) if not c.deleted}
        except CallError:
            # the list is for administrators; the models are known without it
            connections = {}
    except LimiterClosed as closed:
        raise CannotTell(
            f"the instance {instance} could not be asked: {survey.why(closed)}", refused=bool(survey.refused)
        ) from None
    if inventory.failure:
        raise CannotTell(f"the models of {instance} could not be read: {inventory.failure}")
    if not inventory.whole >= set(wanted.kinds):
        raise CannotTell(f"the models of {instance} could not be read: their pages do not end")
    models = [m for m in inventory.records.values() if _is_wanted(m, wanted, connections)]

    def place(model: ModelRecord) -> tuple[str, str, str, str]:
        connection = connections.get(model.connection_id or "")
        called = connection.name if connection is not None and connection.name else model.connection_id or ""
        return called, model.connection_id or "", model.name or "", model.id

    return Stock(models=tuple(sorted(models, key=place)), inventory=inventory, connections=connections)


def _is_wanted(model: ModelRecord, wanted: Wanted, connections: Mapping[str, ConnectionRecord]) -> bool:
    if model.deleted or model.kind not in wanted.kinds:
        return False
    connection = connections.get(model.connection_id or "")
    called = {model.connection_id, connection.name if connection is not None else None}
    if wanted.connections and not any(c in called or c.lower() in called for c in wanted.connections):
        return False
    return not wanted.names or any(fnmatch.fnmatchcase(model.name or "", glob) for glob in wanted.names)
