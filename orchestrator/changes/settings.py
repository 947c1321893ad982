"""USE, SET and ALTER SESSION: statements that change the schema of unqualified names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.changes.context import ParseContext
from orchestrator.changes.cursor import Cursor, split_commas, words
from orchestrator.changes.lexer import NOTHING, Token, TokenKind
from orchestrator.changes.literals import remember_all, remember_each
from orchestrator.changes.names import NamePart, read_name

_NO_PLACE: Final = words("WAREHOUSE ROLE SECONDARY BRANCH")
_PATHS: Final = words("SEARCH_PATH SCHEMA CURRENT_SCHEMA")
_DEFAULTS: Final = {"snowflake": "PUBLIC", "duckdb": "main", "databricks": "default"}
"""The schema in which a session is after USE of a catalog."""


def use(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows USE."""
    session = reading.session
    following = cursor.peek(1)
    if cursor.word in _NO_PLACE and following.kind is not TokenKind.END:
        return
    has_kind = following.kind is not TokenKind.END and following.upper != "."
    kind = cursor.take_any(words("DATABASE SCHEMA CATALOG NAMESPACE")) if has_kind else ""
    parts = _name_or_text(reading, cursor)
    if parts is None:  # a variable
        session.move(None, None)
        return
    stored = [session.stored(part) for part in parts[-2:]]
    if len(stored) == 2:
        session.move(*stored)
    elif _is_catalog(reading, kind, stored[0]):
        session.move(stored[0], _DEFAULTS.get(reading.dialect.name))
    else:
        session.move(session.catalog, stored[0])


def _is_catalog(reading: ParseContext, kind: str, name: str) -> bool:
    """Return whether USE with that word in that dialect means a catalog."""
    if reading.dialect.database_is_schema:
        return kind == "CATALOG"
    if reading.dialect.name == "duckdb":
        return name.lower() in reading.session.attached
    return kind != "SCHEMA"


def set_value(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows SET."""
    session = reading.session
    local = False
    while word := cursor.take_any(words("LOCAL SESSION GLOBAL VAR VARIABLE")):
        local = word == "LOCAL"
    token = cursor.peek()
    if token.upper == "(":
        remember_each(session, cursor)
    elif token.upper == "SPARK" and cursor.holds("AUTOMERGE"):
        session.evolves = cursor.tokens[-1].upper == "TRUE"
    elif token.upper in {"@@DATASET_ID", "@@DATASET_PROJECT_ID"}:  # BigQuery
        text = cursor.peek(2).text if cursor.peek(2).kind is TokenKind.STRING else None
        session.move(*((session.catalog, text) if token.upper == "@@DATASET_ID" else (text, session.schema)))
    elif token.upper in _PATHS:
        cursor.next()
        cursor.take("TO")
        cursor.take("=")
        if local and session.outside is None:
            session.outside = (session.catalog, session.schema)
        _path(reading, cursor.rest())
    elif token.upper == "CATALOG":
        cursor.next()
        cursor.take("=")
        if parts := _name_or_text(reading, cursor):
            session.move(session.stored(parts[-1]), "default")
    elif cursor.take("ENABLE_CASE_SENSITIVE_IDENTIFIER"):
        session.keep_quoted_case = any(each.text.lower() in {"true", "on"} for each in cursor.rest())
    elif token.kind is TokenKind.VARIABLE or cursor.peek(1).upper in {"=", "+=", ":="}:
        remember_all(session, cursor.rest())


def _name_or_text(reading: ParseContext, cursor: Cursor) -> tuple[NamePart, ...] | None:
    """Take a name, which may stand in a string."""
    token = cursor.peek()
    is_text = token.kind is TokenKind.STRING
    return (NamePart(token.text, quoted=True),) if is_text else read_name(cursor, reading.dialect)


def _path(reading: ParseContext, tokens: Sequence[Token]) -> None:
    """Move to the first schema of a search path that all users have: what is created lands in it."""
    session = reading.session
    if tokens and tokens[0].upper == "DEFAULT":
        session.move(*session.home)
        return
    for item in split_commas(tokens):
        token = item[0] if item else NOTHING
        if token.upper == "$":
            continue
        read: Sequence[NamePart] = ()
        if token.kind is TokenKind.STRING and token.quote == "'":
            read = [NamePart(each.strip().strip('"'), quoted=True) for each in token.text.split(",")]
        else:
            read = read_name(Cursor(item), reading.dialect) or ()
        for part in read:
            if part.text and part.text != "$user" and not part.text.lower().startswith("pg_"):
                session.move(session.catalog, session.stored(part))
                return
    session.move(session.catalog, None)


def reset(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows RESET."""
    session = reading.session
    if cursor.word in {"SEARCH_PATH", "ALL"}:
        session.move(session.catalog, session.home[1])
    if cursor.word in {"USE", "ALL"}:
        session.move(session.home[0], session.schema)
    if cursor.word in {"ENABLE_CASE_SENSITIVE_IDENTIFIER", "ALL"}:
        session.keep_quoted_case = False


def alter_session(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows ALTER SESSION."""
    if not cursor.take("SET"):
        return
    while not cursor.done():
        name, sign = cursor.next().upper, cursor.next().upper
        if sign != "=":
            break
        if name == "CURRENT_SCHEMA":
            if parts := read_name(cursor, reading.dialect):
                reading.session.move(reading.session.catalog, reading.session.stored(parts[-1]))
            continue
        if name == "QUOTED_IDENTIFIERS_IGNORE_CASE":
            reading.session.ignore_quotes = cursor.peek().text.upper() == "TRUE"
        cursor.next()
        cursor.take(",")


def end_transaction(reading: ParseContext) -> None:
    """End what SET LOCAL began, as COMMIT and ROLLBACK do."""
    if reading.session.outside is not None:
        reading.session.move(*reading.session.outside)
        reading.session.outside = None


def let(reading: ParseContext, cursor: Cursor) -> None:
    """Read what follows LET: Snowflake's variables of a block."""
    remember_all(reading.session, cursor.rest())
