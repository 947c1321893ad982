"""Names as they are written and as the warehouse stores them, and the session that completes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from orchestrator.changes.change_set import ObjectName
from orchestrator.changes.dialects import Dialect, Folding
from orchestrator.changes.errors import ChangesError, UnknownNameError
from orchestrator.changes.lexer import NOTHING, Cursor, TokenKind, tokens_of
from orchestrator.changes.tool_text import MARK, PLACEHOLDER, SIGNS

MAX_PARTS: Final = 4
"""Server, catalog, schema, object: nothing has more."""
MAX_LENGTH: Final = 1000
"""The longest text that is read as a name, in characters."""


class NamePart(NamedTuple):
    """One part of a name. An empty one is left out on purpose: `db..t`."""

    text: str
    quoted: bool
    placeholder: str = ""
    """The piece of the part that is not known: a tool's placeholder, or `MARK`."""
    at: int = -1
    """Where the placeholder begins in the lexer's text; -1 if that is not known."""


SqlName = tuple[NamePart, ...]
"""A name as it is written."""


def fold(part: NamePart, dialect: Dialect, *, ignore_quotes: bool = False) -> str:
    """Return the part as `dialect` stores it; with `ignore_quotes` (a setting of Snowflake) as if it had no quotes."""
    if part.quoted and not ignore_quotes and dialect.folding in {Folding.UPPER, Folding.LOWER}:
        return part.text
    if dialect.folding is Folding.UPPER:
        return part.text.upper()
    return part.text if dialect.folding is Folding.KEPT else part.text.lower()


def read_name(cursor: Cursor, dialect: Dialect) -> SqlName | None:
    """Take the name that comes next, part by part. Return None, and stay, if there is none or it is computed."""
    before = cursor.at
    if cursor.word == "IDENTIFIER" and cursor.peek(1).upper == "(":
        return None
    parts: list[NamePart] = []
    while True:
        if parts and cursor.take("."):
            parts.append(NamePart("", quoted=False))
            continue
        read = _part(cursor, dialect, inner=bool(parts))
        if read is None:
            cursor.at = before
            return None
        parts.extend(read)
        if cursor.word != "." or len(parts) >= MAX_PARTS:
            return tuple(parts)
        cursor.next()


def _part(cursor: Cursor, dialect: Dialect, *, inner: bool) -> list[NamePart] | None:
    token = cursor.peek()
    if _begins_placeholder(cursor):
        return [_placeholder(cursor, token.start)]
    # a server may be set to take double quotes for names
    is_quoted = token.kind is TokenKind.QUOTED or (token.kind is TokenKind.STRING and token.quote == '"')
    is_number = token.kind is TokenKind.NUMBER and (inner or not token.text.isdigit())
    if not is_quoted and not is_number and token.kind is not TokenKind.WORD:
        return None
    cursor.next()
    if held := PLACEHOLDER.search(token.text):
        return [NamePart(token.text, quoted=is_quoted, placeholder=held[0], at=token.start)]
    if cursor.peek().start == token.end and _begins_placeholder(cursor):
        return [_placeholder(cursor, token.start)]
    is_path = dialect.paths_in_backticks and token.quote == "`"
    # a project may begin with a domain: `example.com:project.dataset.table`
    texts = re.split(r"\.(?![^:]*:)", token.text) if is_path else [token.text]
    return [NamePart(text, quoted=is_quoted) for text in texts]


def _begins_placeholder(cursor: Cursor) -> bool:
    """Return whether what comes next is a tool's placeholder for a name: `:x`, `$x$`, `{x}`, `%(x)s`, `@x.`, `#{x}`."""
    token, following = cursor.peek(), cursor.peek(1)
    if token.upper == MARK or token.quote.startswith("$"):
        return True
    if following is NOTHING or following.start != token.end:
        return False
    if token.kind is TokenKind.VARIABLE:
        return following.upper in {".", "@"}
    if token.upper not in SIGNS:
        return False
    if following.kind in {TokenKind.WORD, TokenKind.QUOTED, TokenKind.VARIABLE, TokenKind.STRING}:
        return True
    is_number = following.kind is TokenKind.NUMBER and token.upper in "$:"
    return is_number or following.upper in {"{", "(", "<", "%", "&", "$"}


def _placeholder(cursor: Cursor, begin: int) -> NamePart:
    """Take a part of a name that holds a placeholder: everything up to a blank, a dot, a comma or a parenthesis."""
    first = cursor.at
    while first and cursor.tokens[first - 1].end > begin:
        first -= 1
    cursor.next()
    end = cursor.tokens[cursor.at - 1].end
    while (token := cursor.peek()).start == end and token.upper not in {".", ",", ")", ";"}:
        if token.upper != "(":
            cursor.next()
        elif cursor.tokens[cursor.at - 1].upper in {"%", "$"}:
            cursor.skip_parens()
        else:
            break
        end = cursor.tokens[min(cursor.at, len(cursor.tokens)) - 1].end
    shown = "".join(
        each.quote if each.quote.startswith("$") else each.text for each in cursor.tokens[first : cursor.at]
    )
    return NamePart(shown, quoted=True, placeholder=MARK if MARK in shown else shown, at=begin)


def parse_name(text: str, dialect: Dialect) -> SqlName | None:
    """Return the name if `text` is one, and None if it is anything else or has a placeholder."""
    cursor = Cursor(tokens_of(text, dialect) if len(text) <= MAX_LENGTH else ())
    parts = read_name(cursor, dialect)
    is_whole = parts is not None and cursor.done() and not any(part.placeholder for part in parts)
    return parts if is_whole else None


class Routine(NamedTuple):
    """A routine that the given SQL defines."""

    text: str
    """Its body."""
    line: int
    """The line of the body's beginning."""
    parameters: tuple[str, ...]
    """The names of its parameters, in lower case."""
    source: str
    """The file that defines it."""


@dataclass(slots=True, kw_only=True)
class Session:
    """One file's session; the next file starts with a new one."""

    dialect: Dialect
    catalog: str | None = None
    schema: str | None = None
    home: tuple[str | None, str | None] = (None, None)
    """Catalog and schema at the beginning: what RESET goes back to."""
    outside: tuple[str | None, str | None] | None = None
    """Catalog and schema to go back to at the transaction's end, after SET LOCAL."""
    ignore_quotes: bool = False
    """Snowflake's QUOTED_IDENTIFIERS_IGNORE_CASE."""
    keep_quoted_case: bool = False
    """Redshift's enable_case_sensitive_identifier."""
    temporary: set[str] = field(default_factory=set)
    attached: set[str] = field(default_factory=set)
    variables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Every text that a variable may hold."""
    prepared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    evolves: bool = False
    """Databricks: data statements may add columns to their table."""
    around: tuple[str | None, str | None] | None = None
    """Catalog and schema to go back to behind the elements of T-SQL's CREATE SCHEMA."""
    in_body: bool = False
    """Whether a block of the procedural language is being read."""
    declaring: bool = False
    """Whether the statements that come next are declarations."""

    def stored(self, part: NamePart) -> str:
        """Return the part as the warehouse stores it. Raises `UnknownNameError` if it holds a placeholder."""
        if part.placeholder:
            raise UnknownNameError(part.placeholder, part.at)
        if self.keep_quoted_case and part.quoted:
            return part.text
        return fold(part, self.dialect, ignore_quotes=self.ignore_quotes)

    def table(self, parts: SqlName) -> ObjectName:
        """Return the full name of a table or view."""
        *outer, name = (self.stored(part) for part in parts[-3:])
        if len(outer) == 2:
            schema = {"snowflake": "PUBLIC", "tsql": "dbo"}.get(self.dialect.name, self.schema)  # of `db..t`
            return ObjectName(outer[0] or self.catalog, outer[1] or schema, name)
        if outer and outer[0].lower() in self.attached:
            return ObjectName(outer[0], "main", name)
        return ObjectName(self.catalog, "".join(outer) or self.schema, name)

    def schema_name(self, parts: SqlName) -> ObjectName:
        """Return the full name of a schema."""
        catalog, schema = [self.catalog, *(self.stored(part) for part in parts[-2:])][-2:]
        return ObjectName(catalog, schema, None)

    def beside(self, name: ObjectName, parts: SqlName) -> ObjectName:
        """Return the full name of what `parts` say, if a name without a schema means one beside `name`."""
        if len(parts) == 1:
            return ObjectName(name.catalog, name.schema, self.stored(parts[0]))
        full = self.table(parts)
        return full if full.catalog is not None else ObjectName(name.catalog, full.schema, full.table)

    def new_names(self, old: ObjectName, parts: SqlName) -> tuple[ObjectName, ...]:
        """Return what `parts` may mean as the new name of `old`, or as the other one in a swap with it.

        If a bare name is one of the session's schema and that is not known, both places are returned.
        """
        beside = self.beside(old, parts)
        if len(parts) > 1 or not self.dialect.renames_into_session:
            return (beside,)
        here = self.table(parts)
        return (here,) if here.schema is not None or here == beside else (beside, here)

    def says_temporary(self, parts: SqlName) -> bool:
        """Return whether the name itself, as written, is one of a temporary table."""
        *outer, last = (part.text.lower() for part in parts)
        if outer and re.fullmatch(r"pg_temp|_session|pg_temp_\d+", outer[-1]):
            return not parts[-1].placeholder
        is_inside = outer[-2:-1] == ["tempdb"] or (self.dialect.name == "duckdb" and outer[:1] == ["temp"])
        return not parts[-1].placeholder and (is_inside or last.startswith(self.dialect.temporary_signs))

    def is_temporary(self, parts: SqlName) -> bool:
        """Return whether the name means a table that ends with the connection."""
        if self.says_temporary(parts):
            return True
        return bool(self.temporary) and not self.temporary.isdisjoint(self._known_as(parts))

    def make_temporary(self, parts: SqlName) -> None:
        """Record that the name means a temporary table from here on."""
        if not any(part.placeholder for part in parts):
            self.temporary |= self._known_as(parts)

    def drop_temporary(self, parts: SqlName) -> None:
        """Record that a temporary table is gone."""
        self.temporary -= self._known_as(parts)

    def _known_as(self, parts: SqlName) -> set[str]:
        """Return the names of a temporary table; if it is in no schema, its bare name alone."""
        full = str(self.table(parts)).lower()
        if len(parts) > 1:
            return {full}
        bare = self.stored(parts[0]).lower()
        return {bare, full} if self.dialect.temporary_in_schema else {bare}

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Restore the current catalog and schema at the block's end."""
        place = (self.catalog, self.schema)
        try:
            yield
        finally:
            self.move(*place)

    def move(self, catalog: str | None, schema: str | None) -> None:
        """Make these the current catalog and schema."""
        self.catalog, self.schema = catalog, schema


def open_session(dialect: Dialect, default_schema: str | None) -> Session:
    """Return a session that begins in `default_schema`, which may be written `schema` or `catalog.schema`, with the dialect's quotes.

    Raises `ChangesError` if it is no such name.
    """
    session = Session(dialect=dialect)
    if default_schema is None:
        return session
    parts = parse_name(default_schema, dialect)
    if parts is None or len(parts) > 2:
        what = f"{default_schema!r} is not a schema; give its name, or catalog.schema, as you would in SQL"
        raise ChangesError(what, code="invalid-name")
    name = session.schema_name(parts)
    session.home = (name.catalog, name.schema)
    session.move(*session.home)
    return session
