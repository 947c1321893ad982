"""Which changes touch an entry: its `reads`, its scopes, or the schemas of its connection beside what was changed. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from orchestrator.changes.change_set import Change, Effect, ObjectName
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
    """What an entry reads: anything that fits one of `wanted` and, where there are any, one of `within`.

    `new` are schemas, in lower case, that no instance lists and that the change may have created.
    """

    wanted: tuple[Pattern, ...]
    within: tuple[Pattern, ...] = ()
    new: frozenset[str] = frozenset()


def reads_everything(entry: Entry) -> bool:
    """Whether an entry reads every schema of its connection, so that the instance must say which those are."""
    return entry.reads is None and not entry.schemas and not entry.tables


def reach_of(entry: Entry, listed: tuple[str, ...] | None, new: frozenset[str]) -> ReadSet:
    """What an entry reads. `listed` are its connection's schemas as the instance names them. Where they are not known (None), or
    none is there because the model was never refreshed, it reads whatever there is.
    """
    if entry.reads is not None:
        return ReadSet(wanted=patterns_of_reads(entry.reads))
    if entry.tables:
        return ReadSet(wanted=patterns_of_tables(entry.tables), within=patterns_of_schemas(entry.schemas))
    if entry.schemas:
        return ReadSet(wanted=patterns_of_schemas(entry.schemas))
    return ReadSet(wanted=patterns_of_schemas(listed) if listed else (ANY,), new=new)


def fits(pattern: Pattern, name: ObjectName) -> bool:
    """Whether a change of `name` may be a change of something that the pattern means."""
    return (
        may_be(pattern.schema, _known(name.schema))
        and may_be(pattern.table, _known(name.table))
        and may_be(pattern.catalog, _known(name.catalog))
    )


def _known(part: str | None) -> str | None:
    """Return a part of a name; None if it holds a dot, since such names are written in too many ways to compare."""
    return None if part is None or "." in part else part


class Index:
    """Finds changes by pattern. It looks them up by schema and does not examine each of many thousand changes."""

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

    def schemas(self) -> Mapping[str, list[ObjectName]]:
        """The names whose schema is known, by their schemas in lower case."""
        return self._by_schema

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


def new_schemas(index: Index, may_be_new: frozenset[str], lists: Iterable[tuple[str, ...] | None]) -> frozenset[str]:
    """Those schemas of the change that it may have made and that no list names: every model that reads all of its connection may
    be the one that reads them. `lists` are the schemas of connections; None is one that could not be read.
    """
    if not may_be_new:
        return frozenset()
    listed = {
        pattern.schema.lower() for names in lists if names for pattern in patterns_of_schemas(names) if pattern.schema
    }
    return frozenset(s for s in index.schemas() if s in may_be_new and s not in listed)


def is_destructive(changes: Iterable[Change]) -> bool:
    """Whether any of them may have taken something away."""
    return any(change.effect is Effect.DESTRUCTIVE for change in changes)
