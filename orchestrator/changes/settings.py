"""USE, SET and ALTER SESSION: what moves the schema that an unqualified name is in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.lexer import NOTHING, Token, TokenKind
from orchestrator.changes.literals import remember_all, remember_each
from orchestrator.changes.names import NamePart, read_name
from orchestrator.changes.reading import ParseContext

_NO_PLACE: Final = frozenset({"WAREHOUSE", "ROLE", "SECONDARY", "BRANCH"})


def use(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows USE."""
    session = reading.session
    kind = cursor.word
    if kind in _NO_PLACE and cursor.peek(1).kind is not TokenKind.END:
        return True
    kind = (
        cursor.take_any(frozenset({"DATABASE", "SCHEMA", "CATALOG", "NAMESPACE"}))
        if cursor.peek(1).kind is not TokenKind.END and cursor.peek(1).upper != "."
        else ""
    )
    parts = _name_or_text(reading, cursor)
    if parts is None:
        # A variable: whatever comes now is somewhere that nobody knows.
        session.move(None, None)
        return True
    stored = [session.stored(part) for part in parts[-2:]]
    if len(stored) == 2:
        session.move(*stored)
    elif _is_catalog(reading, kind, stored[0]):
        session.move(
            stored[0], {"snowflake": "PUBLIC", "duckdb": "main", "databricks": "default"}.get(reading.dialect.name)
        )
    else:
        session.move(session.catalog, stored[0])
    return True


def _is_catalog(reading: ParseContext, kind: str, name: str) -> bool:
    """Whether USE with that word in that dialect means a catalog."""
    if reading.dialect.database_is_schema:
        return kind == "CATALOG"
    if reading.dialect.name == "duckdb":
        return name.lower() in reading.session.attached
    return kind != "SCHEMA"


def set_value(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows SET; always understood."""
    local = False
    while word := cursor.take_any(frozenset({"LOCAL", "SESSION", "GLOBAL", "VAR", "VARIABLE"})):
        local = word == "LOCAL"
    if cursor.word == "(":
        remember_each(reading.session, cursor)
        return True
    if cursor.word == "SPARK" and any(token.upper == "AUTOMERGE" for token in cursor.rest()):
        reading.session.evolves = cursor.tokens[-1].upper == "TRUE"
        return True
    if cursor.peek().kind is TokenKind.VARIABLE or (
        cursor.peek().kind is TokenKind.WORD and cursor.peek(1).upper in {"=", "+=", ":="}
    ):
        if _place(reading, cursor):
            return True
        if cursor.word not in {"SEARCH_PATH", "SCHEMA", "CURRENT_SCHEMA", "CATALOG"}:
            remember_all(reading.session, cursor.rest())
            return True
    if cursor.take_any(frozenset({"SEARCH_PATH", "SCHEMA", "CURRENT_SCHEMA"})):
        cursor.take("TO")
        cursor.take("=")
        if local and reading.session.outside is None:
            reading.session.outside = (reading.session.catalog, reading.session.schema)
        _path(reading, cursor.rest())
    elif cursor.take("CATALOG"):
        cursor.take("=")
        _catalog(reading, cursor)
    elif cursor.take("ENABLE_CASE_SENSITIVE_IDENTIFIER"):
        reading.session.keep_quoted_case = any(token.text.lower() in {"true", "on"} for token in cursor.rest())
    return True


def _catalog(reading: ParseContext, cursor: Cursor) -> None:
    parts = _name_or_text(reading, cursor)
    if parts is not None:
        reading.session.move(reading.session.stored(parts[-1]), "default")


def _name_or_text(reading: ParseContext, cursor: Cursor) -> tuple[NamePart, ...] | None:
    """A name, which may stand in a string."""
    token = cursor.peek()
    return (
        (NamePart(token.text, quoted=True),) if token.kind is TokenKind.STRING else read_name(cursor, reading.dialect)
    )


def _place(reading: ParseContext, cursor: Cursor) -> bool:
    """BigQuery's `SET @@dataset_id = 'x'`."""
    value = cursor.peek(2)
    known = {"@@DATASET_ID": 1, "@@DATASET_PROJECT_ID": 0}.get(cursor.word)
    if known is None:
        return False
    session = reading.session
    text = value.text if value.kind is TokenKind.STRING else None
    session.move(*((session.catalog, text) if known else (text, session.schema)))
    return True


def _path(reading: ParseContext, tokens: Sequence[Token]) -> None:
    """The first schema of a search path that is there for all users: what is created lands in it."""
    session = reading.session
    if tokens and tokens[0].upper == "DEFAULT":
        session.move(*session.home)
        return
    for item in split_commas(tokens):
        token = item[0] if item else NOTHING
        if token.kind is TokenKind.STRING and token.quote == "'":
            read: Sequence[NamePart] = [
                NamePart(each.strip().strip('"'), quoted=True) for each in token.text.split(",")
            ]
        elif token.upper == "$":
            continue
        else:
            read = read_name(Cursor(item), reading.dialect) or ()
        for part in read:
            if part.text and part.text != "$user" and not part.text.lower().startswith("pg_"):
                session.move(session.catalog, session.stored(part))
                return
    session.move(session.catalog, None)


def reset(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows RESET; always understood."""
    session = reading.session
    if cursor.word in {"SEARCH_PATH", "ALL"}:
        session.move(session.catalog, session.home[1])
    if cursor.word in {"USE", "ALL"}:
        session.move(session.home[0], session.schema)
    if cursor.word in {"ENABLE_CASE_SENSITIVE_IDENTIFIER", "ALL"}:
        session.keep_quoted_case = False
    return True


def alter_session(reading: ParseContext, cursor: Cursor) -> bool:
    """Reads what follows ALTER SESSION; always understood."""
    if not cursor.take("SET"):
        return True
    while not cursor.done():
        name, sign = cursor.next().upper, cursor.next().upper
        if sign != "=":
            break
        if name == "QUOTED_IDENTIFIERS_IGNORE_CASE":
            reading.session.ignore_quotes = cursor.peek().text.upper() == "TRUE"
        elif name == "CURRENT_SCHEMA":
            parts = read_name(cursor, reading.dialect)
            if parts is not None:
                reading.session.move(reading.session.catalog, reading.session.stored(parts[-1]))
            continue
        cursor.next()
        cursor.take(",")
    return True


def end_transaction(reading: ParseContext) -> None:
    """COMMIT and ROLLBACK end what SET LOCAL began."""
    if reading.session.outside is not None:
        reading.session.move(*reading.session.outside)
        reading.session.outside = None
