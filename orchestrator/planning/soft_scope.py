"""Finds the narrowest scope of a soft refresh that covers all that was added: schemas, and tables in them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.changes.change_set import Change, ObjectName
from orchestrator.manifest.manifest import Entry
from orchestrator.planning.names import (
    Pattern,
    has_wildcard,
    patterns_of_reads,
    patterns_of_schemas,
    patterns_of_tables,
    split_name,
)
from orchestrator.planning.read_set import fits
from orchestrator.text import and_more

TABLES_ALONE = "the schema of {names} is not known: the server scans every schema of the connection for it"


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
    warnings = (TABLES_ALONE.format(names=and_more(homeless[:3], len(homeless))),) if not schemas and homeless else ()
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
