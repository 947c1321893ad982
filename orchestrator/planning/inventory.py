"""What is looked up before planning: which names are needed, and what the answers showed. Pure values."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.manifest.manifest import Entry, is_id
from orchestrator.omni.answers import ModelRecord

# Kinds whose models people refresh, in the order in which a name is looked up. There are thousands of the others.
KINDS = ("SHARED", "SHARED_EXTENSION", "SCHEMA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What must be looked up on one instance: models by id (for their connection or branches), models by name, and whether
    their branches are needed.
    """

    ids: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    branches: bool = False

    @property
    def count(self) -> int:
        """The number of models to look up."""
        return len(self.ids) + len(self.names)


def make_needs(entries: Iterable[Entry], *, everything: bool = False) -> Needs:
    """Return what must be looked up for these entries of one instance.

    An entry with the ids of its model and branch and a connection needs nothing. With `everything`, each model and branch is
    looked up, to check that it exists. If the connection of any entry is looked up, it is known by its id. To compare it with
    the labels of other entries, one model of each label is looked up, too.
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
    """Return the id or the name of an entry's model, as it is written."""
    return entry.model_id or entry.model_name or entry.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What look-ups showed of one instance.

    `records` are by model id. `branches`, by model id, are (id, name) pairs, if they were read to the end. `whole` are the
    kinds of which every model was read, and `searched` the names that were looked up one by one, to the end. `environments`
    are (base, environment) pairs of connection ids: the environment replaces the base. `failure` says why the instance could
    not be read, and `refused`, by a model's id or name, why a model could not.
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
        """Return whether only the models `found` can have this name, because all that may have it were read."""
        return name in self.searched or is_whole(found, self.whole)

    def why(self, *keys: str | None) -> str:
        """Return why a model with this id or name could not be read, as the end of a sentence; empty if it could."""
        reason = next((self.refused[key] for key in keys if key is not None and key in self.refused), self.failure)
        return f": {reason}" if reason else ""


def canonical(name: str) -> str:
    """Return the name in one Unicode form: an accented letter may be one character or two."""
    return unicodedata.normalize("NFC", name)


def _is_canonically(name: str, wanted: str) -> bool:
    return name == wanted or (not name.isascii() and canonical(name) == wanted)


def by_name(records: Iterable[ModelRecord]) -> dict[str, tuple[ModelRecord, ...]]:
    """Return the models by their canonical names: those of the first kind that has any with that name, and none in the trash."""
    found: defaultdict[str, defaultdict[str, list[ModelRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.name is not None and record.kind in KINDS and not record.deleted:
            found[canonical(record.name)][record.kind].append(record)
    return {name: tuple(kinds[min(kinds, key=KINDS.index)]) for name, kinds in found.items()}


def same_named(names: Mapping[str, tuple[ModelRecord, ...]], name: str) -> tuple[ModelRecord, ...]:
    """Return the models in `by_name` with exactly this name, else those whose name differs only in its Unicode form."""
    same = names.get(canonical(name), ())
    return tuple(record for record in same if record.name == name) or same


def is_whole(found: Sequence[ModelRecord], whole: Collection[str]) -> bool:
    """Return whether all models of the kind of `found` were read, and all of the kinds before it."""
    kind = found[0].kind if found else KINDS[-1]
    return all(k in whole for k in KINDS[: KINDS.index(kind) + 1 if kind in KINDS else len(KINDS)])
