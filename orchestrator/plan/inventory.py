"""What was asked of an instance before the plan: which names are needed, and what the answers showed. Pure values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.manifest.manifest import Entry
from orchestrator.omni.answers import ModelRecord

UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")

# Kinds whose models people refresh, in the order in which a name is looked for; the others come by the thousand.
KINDS = ("SHARED", "SHARED_EXTENSION", "SCHEMA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a run must look up on one instance: models by id (for their connection or their branches), models by name,
    and whether any branch is given by its name.
    """

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    branches: bool = False

    @property
    def count(self) -> int:
        """How many single look-ups would answer all of it."""
        return len(self.ids) + len(self.names)


def make_needs(entries: Iterable[Entry]) -> Needs:
    """What these entries of one instance leave open. Nothing is needed of an entry that says its id and connection,
    unless its branch is a name.
    """
    ids: dict[str, None] = {}
    names: dict[str, None] = {}
    branches = False
    for entry in entries:
        by_name = entry.branch is not None and not UUID.fullmatch(entry.branch)
        branches = branches or by_name
        if entry.model_id is None:
            names[entry.model_name or entry.name] = None
        elif entry.connection is None or by_name:
            ids[entry.model_id] = None
    return Needs(ids=tuple(ids), names=tuple(names), branches=branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What look-ups showed of one instance. `records` by model id. `branches` by model id holds (id, name) pairs of
    the models whose branches were read. `failure` says why something could not be read, or is empty.
    """

    records: Mapping[str, ModelRecord] = field(default_factory=dict)
    branches: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    failure: str = ""
    asked: bool = False

    def named(self, name: str) -> list[ModelRecord]:
        """The models of exactly this name, of the first kind that has any."""
        same = [r for r in self.records.values() if r.name == name and not r.deleted]
        for kind in KINDS:
            found = [r for r in same if r.kind == kind]
            if found:
                return found
        return []
