"""What an entry reads, which changes affect that, and the narrowest scope of a soft refresh that covers them. Pure."""

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
    split_name,
)
from orchestrator.text import some

TABLES_ALONE = "the schema of {names} is not known: the server scans every schema of the connection for it"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftScope:
    """What a soft refresh is limited to. If `schemas` and `tables` are empty, nothing limits it."""

    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one change needs: schemas (None: not known), and tables in them (None: all)."""

    schemas: tuple[str, ...] | None
    tables: tuple[str, ...] | None


def make_soft_scope(entry: Entry, changes: Iterable[Change], listed: tuple[str, ...] | None) -> SoftScope:
    """Return the scope for the changes that affect `entry`, never wider than the entry's own. `listed` are its connection's
    schemas as the instance names them.

    A name is sent as the manifest or the instance writes it, else as the warehouse stores it. If a whole schema changed, no
    tables are sent, because they would limit that schema as well.
    """
    speller = _Speller(entry, listed)
    pieces = [piece for name in dict.fromkeys(c.name for c in changes) if (piece := speller.piece(name)) is not None]
    if not pieces:
        return SoftScope(schemas=entry.schemas, tables=entry.tables)
    is_anywhere = any(piece.schemas is None for piece in pieces)
    is_whole = any(piece.tables is None for piece in pieces)
    schemas = () if is_anywhere else _distinct(name for piece in pieces for name in piece.schemas or ())
    tables = () if is_whole else _distinct(name for piece in pieces for name in piece.tables or ())
    if not schemas and not tables:
        return SoftScope(schemas=entry.schemas, tables=entry.tables)
    homeless = _distinct(name for piece in pieces if piece.schemas is None for name in piece.tables or ())
    warnings = (TABLES_ALONE.format(names=some(homeless, at_most=3)),) if not schemas and homeless else ()
    return SoftScope(schemas=schemas, tables=tables, warnings=warnings)


class _Speller:
    """Finds for one entry how each changed name is written, and which part of it is within the entry's own scope."""

    def __init__(self, entry: Entry, listed: tuple[str, ...] | None) -> None:
        self._tables = patterns_of_tables(entry.tables)
        self._schemas = patterns_of_schemas(entry.schemas)
        if entry.reads is not None:
            self._known = patterns_of_reads(entry.reads)
        else:
            self._known = self._tables or patterns_of_schemas(listed or ())
        self._knows_tables = any(pattern.table is not None for pattern in self._known)
        self._found: dict[ObjectName, tuple[str, ...] | None] = {}

    def piece(self, name: ObjectName) -> _Piece | None:
        """Return what a change of `name` needs; None if it is outside the entry's own scope."""
        schemas, tables = self._schemas_of(name), self._tables_of(name)
        if schemas == () or tables == ():
            return None
        if schemas is not None and not all(map(_can_be_sent, schemas)):
            schemas = None
        return _Piece(schemas, tables)

    def _schemas_of(self, name: ObjectName) -> tuple[str, ...] | None:
        """Return how its schema is written. If only schemas are known, thousands of tables share one result."""
        key = name if self._knows_tables else ObjectName(name.catalog, name.schema, None)
        if key not in self._found:
            self._found[key] = self._spell_schemas(key)
        return self._found[key]

    def _spell_schemas(self, name: ObjectName) -> tuple[str, ...] | None:
        if self._schemas:
            mine = [p for p in self._schemas if fits(p, ObjectName(name.catalog, name.schema, None))]
            if name.schema is None:
                return _distinct(p.text for p in mine)
            return _spelled(mine, name)
        if name.schema is None:
            return None
        fitting = [p for p in self._known if fits(p, name)]
        known = [p for p in fitting if p.schema is not None]
        # a table without a schema may be in any schema that the change means
        alone = () if known and len(known) == len(fitting) else (name.schema,)
        return _distinct([*_spelled(known, name), *alone])

    def _tables_of(self, name: ObjectName) -> tuple[str, ...] | None:
        if self._tables:
            mine = [p for p in self._tables if fits(p, name)]
            if name.table is None or has_wildcard(name.table):
                return _distinct(p.text for p in mine)
            return _distinct(p.text if not has_wildcard(p.text) else _fill_table(p, name) for p in mine)
        return None if name.table is None else self._qualified(name)

    def _qualified(self, name: ObjectName) -> tuple[str, ...] | None:
        """Return `schema.table` for each schema that may be meant; None if that is ambiguous or cannot be sent."""
        owners = [split_name(schema)[-1:] for schema in self._schemas_of(name) or ()] if name.schema is not None else []
        parts = [(*owner, name.table or "") for owner in owners or [()]]
        if not all(_can_be_sent(part) and "." not in part for each in parts for part in each):
            return None
        return _distinct(".".join(each) for each in parts)


def _spelled(patterns: list[Pattern], name: ObjectName) -> tuple[str, ...]:
    """Return how the patterns that `name` fits write its schema; patterns without wildcards first, as they are."""
    plain = [p for p in patterns if not has_wildcard(p.schema or "")]
    wild = [p for p in patterns if has_wildcard(p.schema or "")]
    return _distinct([*(_schema_of(p) for p in plain), *(_fill(p, name) for p in wild)])


def _schema_of(pattern: Pattern) -> str:
    if pattern.table is None:
        return pattern.text
    return f"{pattern.catalog}.{pattern.schema}" if pattern.catalog is not None else str(pattern.schema)


def _fill(pattern: Pattern, name: ObjectName) -> str:
    """Return the schema that a pattern with wildcards means; the pattern itself if the change does not say which."""
    if name.schema is None or has_wildcard(name.schema):
        return _schema_of(pattern)
    if pattern.catalog is None:
        return name.schema
    return f"{pattern.catalog if name.catalog is None else name.catalog}.{name.schema}"


def _fill_table(pattern: Pattern, name: ObjectName) -> str:
    """Return the table that a pattern with wildcards means; the pattern itself if that cannot be sent."""
    schema = pattern.schema if name.schema is None or has_wildcard(name.schema) else name.schema
    parts = [part for part in (pattern.catalog, schema, name.table) if part is not None]
    return ".".join(parts) if all(_can_be_sent(part) and "." not in part for part in parts) else pattern.text


def _can_be_sent(name: str) -> bool:
    return bool(name.strip()) and "," not in name


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name once, as it is written first. The case of letters does not count."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(name.lower(), name)
    return tuple(first.values())
