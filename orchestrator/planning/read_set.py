"""Which changes affect an entry: compares them with its `reads`, its scope, or the schemas of its connection. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.changes.change_set import Change, ObjectName
from orchestrator.manifest.manifest import Entry
from orchestrator.planning.names import (
    Pattern,
    has_wildcard,
    may_be,
    patterns_of_reads,
    patterns_of_schemas,
    patterns_of_tables,
)

ANY = Pattern(None, None, None, "*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSet:
    """What an entry reads: all that fits one of `wanted` and one of `within` (if there are any).

    `new` are schemas, in lower case, that the change may have created and that no instance lists.
    """

    wanted: tuple[Pattern, ...]
    within: tuple[Pattern, ...] = ()
    new: frozenset[str] = frozenset()


def reads_everything(entry: Entry) -> bool:
    """Return whether an entry reads every schema of its connection, so that these must be looked up."""
    return entry.reads is None and not entry.schemas and not entry.tables


def reach_of(entry: Entry, listed: tuple[str, ...] | None, new: frozenset[str]) -> ReadSet:
    """Return what an entry reads. `listed` are its connection's schemas as the instance names them. If they are not known
    (None), or the model was never refreshed and has none, the entry reads everything.
    """
    if entry.reads is not None:
        return ReadSet(wanted=patterns_of_reads(entry.reads))
    if entry.tables:
        return ReadSet(wanted=patterns_of_tables(entry.tables), within=patterns_of_schemas(entry.schemas))
    if entry.schemas:
        return ReadSet(wanted=patterns_of_schemas(entry.schemas))
    return ReadSet(wanted=patterns_of_schemas(listed) if listed else (ANY,), new=new)


def fits(pattern: Pattern, name: ObjectName) -> bool:
    """Return whether a change of `name` may change something that the pattern means."""
    return (
        may_be(pattern.schema, _known(name.schema))
        and may_be(pattern.table, _known(name.table))
        and may_be(pattern.catalog, _known(name.catalog))
    )


def _known(part: str | None) -> str | None:
    """Return a part of a name; None if it has a dot: such names are written in too many ways to compare."""
    return None if part is None or "." in part else part


class Index:
    """Finds changes by pattern. It looks them up by schema, because there can be many thousands."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._changes: defaultdict[ObjectName, list[tuple[int, Change]]] = defaultdict(list)
        for number, change in enumerate(changes):
            self._changes[change.name].append((number, change))
        self._by_schema: defaultdict[str, list[ObjectName]] = defaultdict(list)
        self._anywhere: list[ObjectName] = []
        for name in self._changes:
            schema = _known(name.schema)
            if schema is None or has_wildcard(schema):
                self._anywhere.append(name)
            else:
                self._by_schema[schema.lower()].append(name)

    def new_schemas(self, may_be_new: frozenset[str], lists: Iterable[tuple[str, ...] | None]) -> frozenset[str]:
        """Return the changed schemas that the change may have created and that no list has.

        Any model that reads all of its connection may read them. `lists` are the schemas of connections (None: not known).
        """
        listed = {p.schema.lower() for names in lists if names for p in patterns_of_schemas(names) if p.schema}
        return may_be_new & self._by_schema.keys() - listed

    def touching(self, reach: ReadSet) -> tuple[Change, ...]:
        """Return the changes that affect what is read, in the order of their sources."""
        names = {
            name
            for pattern in reach.wanted
            for name in self._candidates(pattern)
            if fits(pattern, name) and (not reach.within or any(fits(p, name) for p in reach.within))
        }
        for schema in reach.new:
            names.update(self._by_schema.get(schema, ()))
        found = sorted((item for name in names for item in self._changes[name]), key=lambda item: item[0])
        return tuple(change for _, change in found)

    def _candidates(self, pattern: Pattern) -> Iterator[ObjectName]:
        yield from self._anywhere
        schema = pattern.schema
        if schema is not None and not has_wildcard(schema):
            yield from self._by_schema.get(schema.lower(), ())
            return
        for known, names in self._by_schema.items():
            if may_be(schema, known):
                yield from names
