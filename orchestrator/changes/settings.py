"""USE, SET and ALTER SESSION: statements that change the schema of unqualified names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.changes.context import ParseContext, Rule
from orchestrator.changes.lexer import NOTHING, Cursor, Token, TokenKind, split_commas, words
from orchestrator.changes.literals import remember_all
from orchestrator.changes.session import NamePart, SqlName, read_name

_PLACES: Final = words("DATABASE SCHEMA CATALOG NAMESPACE")
_NO_PLACE: Final = words("WAREHOUSE ROLE SECONDARY BRANCH")
_DEFAULTS: Final = {"snowflake": "PUBLIC", "duckdb": "main", "databricks": "default"}
"""The schema of a session after USE of a catalog."""


def _use(reading: ParseContext, cursor: Cursor) -> None:
    session = reading.session
    following = cursor.peek(1)
    has_kind = following.kind is not TokenKind.END
    if has_kind and cursor.word in _NO_PLACE:
        return
    kind = cursor.take_any(_PLACES) if has_kind and following.upper != "." else ""
    parts = _name_or_text(reading, cursor)
    stored = [session.stored(part) for part in (parts or ())[-2:]]
    is_catalog = kind == "CATALOG" or (kind != "SCHEMA" and not reading.dialect.database_is_schema)
    if reading.dialect.name == "duckdb":
        is_catalog = "".join(stored).lower() in session.attached
    if len(stored) != 1:  # a variable gives no name
        session.move(*stored or (None, None))
    elif is_catalog:
        session.move(stored[0], _DEFAULTS.get(reading.dialect.name))
    else:
        session.move(session.catalog, stored[0])


def set_value(reading: ParseContext, cursor: Cursor) -> None:
    """Read the rest of a SET statement."""
    session = reading.session
    local = False
    while word := cursor.take_any(words("LOCAL SESSION GLOBAL VAR VARIABLE")):
        local = word == "LOCAL"
    assignment = cursor.rest()
    token = cursor.next()
    sign = cursor.take_any({"TO", "=", "+=", ":="})
    text = cursor.peek().text if cursor.peek().kind is TokenKind.STRING else None
    match token.upper:
        case "SPARK" if cursor.holds("AUTOMERGE"):
            session.evolves = assignment[-1].upper == "TRUE"
        case "@@DATASET_ID":
            session.move(session.catalog, text)
        case "@@DATASET_PROJECT_ID":
            session.move(text, session.schema)
        case "SEARCH_PATH" | "SCHEMA" | "CURRENT_SCHEMA":
            if local and session.outside is None:
                session.outside = (session.catalog, session.schema)
            _path(reading, cursor.rest())
        case "CATALOG":
            if parts := _name_or_text(reading, cursor):
                session.move(session.stored(parts[-1]), _DEFAULTS["databricks"])
        case "ENABLE_CASE_SENSITIVE_IDENTIFIER":
            session.keep_quoted_case = any(each.text.lower() in {"true", "on"} for each in cursor.rest())
        case _ if token.kind is TokenKind.VARIABLE or token.upper == "(" or sign not in {"", "TO"}:
            remember_all(session, assignment)


def _name_or_text(reading: ParseContext, cursor: Cursor) -> SqlName | None:
    """Take a name, which may be in a string."""
    token = cursor.peek()
    is_text = token.kind is TokenKind.STRING
    return (NamePart(token.text, quoted=True),) if is_text else read_name(cursor, reading.dialect)


def _path(reading: ParseContext, tokens: Sequence[Token]) -> None:
    """Move to the first schema of a search path that does not depend on the user. New objects are created in it."""
    session = reading.session
    if tokens and tokens[0].upper == "DEFAULT":
        session.move(*session.home)
        return
    schemas: list[NamePart] = []
    for item in split_commas(tokens):
        first = item[0] if item else NOTHING
        if first.kind is TokenKind.STRING and first.quote == "'":
            schemas += (NamePart(each.strip().strip('"'), quoted=True) for each in first.text.split(","))
        elif first.upper != "$":  # `$user`
            schemas += read_name(Cursor(item), reading.dialect) or ()
    own = [part for part in schemas if part.text not in {"", "$user"} and part.text[:3].lower() != "pg_"]
    session.move(session.catalog, session.stored(own[0]) if own else None)


def _reset(reading: ParseContext, cursor: Cursor) -> None:
    session = reading.session
    if cursor.word in {"SEARCH_PATH", "ALL"}:
        session.move(session.catalog, session.home[1])
    if cursor.word in {"USE", "ALL"}:
        session.move(session.home[0], session.schema)
    if cursor.word in {"ENABLE_CASE_SENSITIVE_IDENTIFIER", "ALL"}:
        session.keep_quoted_case = False


def alter_session(reading: ParseContext, cursor: Cursor) -> None:
    """Read the rest of an ALTER SESSION statement."""
    session = reading.session
    if cursor.take("SET", "CURRENT_SCHEMA", "=") and (parts := read_name(cursor, reading.dialect)):
        session.move(session.catalog, session.stored(parts[-1]))
    elif cursor.take_to("QUOTED_IDENTIFIERS_IGNORE_CASE") and cursor.take("="):
        session.ignore_quotes = cursor.peek().text.upper() == "TRUE"


RULES: Final[Mapping[str, Rule]] = {"USE": _use, "SET": set_value, "RESET": _reset}
