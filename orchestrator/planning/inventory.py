"""What is looked up before the plan: which names are needed, and what the answers showed. Pure values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.manifest.manifest import Entry
from orchestrator.omni.answers import ModelRecord

UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")

# Kinds whose models people refresh, in the order in which a name is looked for; the others come by the thousand.
KINDS = ("SHARED", "SHARED_EXTENSION", "SCHEMA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What must be looked up on one instance: models by id (for their connection or their branches), models by name,
    and whether their branches are of interest.
    """

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    branches: bool = False

    @property
    def count(self) -> int:
        """How many single look-ups would answer all of it."""
        return len(self.ids) + len(self.names)


def make_needs(entries: Iterable[Entry], *, everything: bool = False) -> Needs:
    """What these entries of one instance leave open: nothing of an entry that says its id and connection, unless its
    branch is a name. `everything` looks up each model and branch, to check that they exist.

    Where an entry says no connection, look-ups answer with its id; what the others call that connection is then known
    only if a model of theirs is looked up as well: one for each label.
    """
    entries = tuple(entries)
    said = {_model_of(e) for e in entries if e.connection is not None}
    ids: dict[str, None] = {}
    names: dict[str, None] = {}
    branches = is_unsaid = False
    told: set[str | None] = set()
    for entry in entries:
        by_name = entry.branch is not None and (everything or not is_id(entry.branch))
        branches = branches or by_name
        unsaid = entry.connection is None and _model_of(entry) not in said
        if entry.model_id is None:
            names[entry.model_name or entry.name] = None
        elif everything or unsaid or by_name:
            ids[entry.model_id] = None
        else:
            continue
        is_unsaid = is_unsaid or unsaid
        told.add(entry.connection)
    if is_unsaid:
        for entry in entries:
            label = entry.connection
            if label is not None and label not in told and not is_id(label) and entry.model_id is not None:
                told.add(label)
                ids[entry.model_id] = None
    return Needs(ids=tuple(ids), names=tuple(names), branches=branches)


def _model_of(entry: Entry) -> str:
    """What an entry calls its model: an id, or a name."""
    return entry.model_id or entry.model_name or entry.name


def is_id(text: str) -> bool:
    """Whether a text is an id and not a name."""
    return UUID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What look-ups showed of one instance. `records` by model id. `branches` by model id holds (id, name) pairs of
    the models whose branches were read to the end. `whole` holds the kinds of which every model was read, `searched` the
    names that were looked up one by one, to the end.

    `environments` holds (base, environment) pairs of connection ids: the environment stands in for the base.

    `failure` says why the instance could not be read, or is empty; `refused`, by a model's id or name, why this one
    could not.
    """

    records: Mapping[str, ModelRecord] = field(default_factory=dict)
    branches: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    searched: frozenset[str] = frozenset()
    failure: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    environments: tuple[tuple[str, str], ...] = ()

    def named(self, name: str) -> tuple[ModelRecord, ...]:
        """Return the models of this name, of the first kind that has any."""
        wanted = canonical(name)
        records = (r for r in self.records.values() if r.name is not None and _is_canonically(r.name, wanted))
        return same_named(by_name(records), name)

    def is_settled(self, name: str, found: Sequence[ModelRecord]) -> bool:
        """Return whether no other model can have this name than those `found`: all that may have it were read."""
        return name in self.searched or is_whole(found, self.whole)

    def why(self, *keys: str | None) -> str:
        """Return why a model of this id or name could not be read, as the end of a sentence; empty if it could."""
        reason = next((self.refused[key] for key in keys if key is not None and key in self.refused), self.failure)
        return f": {reason}" if reason else ""


def canonical(name: str) -> str:
    """Return the name in one Unicode form: what people see and type as one text may come composed or decomposed."""
    return unicodedata.normalize("NFC", name)


def _is_canonically(name: str, wanted: str) -> bool:
    return name == wanted or (not name.isascii() and canonical(name) == wanted)


def by_name(records: Iterable[ModelRecord]) -> dict[str, tuple[ModelRecord, ...]]:
    """Models by their names in canonical form: of the first kind that has any of that name, without those in the trash."""
    found: dict[str, dict[str, list[ModelRecord]]] = {}
    for record in records:
        if record.name is not None and record.kind in KINDS and not record.deleted:
            found.setdefault(canonical(record.name), {}).setdefault(record.kind, []).append(record)
    return {name: _first_kind(kinds) for name, kinds in found.items()}


def same_named(names: Mapping[str, tuple[ModelRecord, ...]], name: str) -> tuple[ModelRecord, ...]:
    """Return those of `by_name` that have exactly this name; if none has, those whose name differs in its Unicode form alone."""
    same = names.get(canonical(name), ())
    return tuple(record for record in same if record.name == name) or same


def is_whole(found: Sequence[ModelRecord], whole: Collection[str]) -> bool:
    """Return whether every model was read of the kind of those `found`, and of the kinds that go before it."""
    kind = found[0].kind if found else KINDS[-1]
    return all(k in whole for k in KINDS[: KINDS.index(kind) + 1 if kind in KINDS else len(KINDS)])


def _first_kind(kinds: Mapping[str, Sequence[ModelRecord]]) -> tuple[ModelRecord, ...]:
    return next(tuple(kinds[kind]) for kind in KINDS if kind in kinds)
