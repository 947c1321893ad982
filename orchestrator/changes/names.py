"""Names as they are written, and as the warehouse stores them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from orchestrator.changes.cursor import Cursor
from orchestrator.changes.dialects import Dialect, Folding
from orchestrator.changes.lexer import Kind, Lexer, Token

MAX_PARTS: Final = 4
"""Server, catalog, schema, object: nothing has more."""


class Part(NamedTuple):
    """One part of a name. An empty one is left out on purpose: `db..t`."""

    text: str
    quoted: bool


def fold(part: Part, dialect: Dialect, *, ignore_quotes: bool = False) -> str:
    """The part as `dialect` stores it; with `ignore_quotes` as if it were not quoted (Snowflake has a setting for that)."""
    quoted = part.quoted and not ignore_quotes
    if dialect.folding is Folding.UPPER:
        return part.text if quoted else part.text.upper()
    if dialect.folding is Folding.LOWER:
        return part.text if quoted else part.text.lower()
    return part.text.lower() if dialect.folding is Folding.ALL_LOWER else part.text


def read_name(cursor: Cursor, dialect: Dialect) -> tuple[Part, ...] | None:
    """The name that comes next, part by part; the cursor stands behind it. None, and the cursor where it was, if there is none.

    `IDENTIFIER('a.b')` gives what the string says; a variable in its place gives None, for nobody can say what it holds.
    """
    before = cursor.at
    if cursor.word == "IDENTIFIER" and cursor.peek(1).upper == "(":
        return _identifier(cursor, dialect, before)
    parts: list[Part] = []
    while True:
        if parts and cursor.word == ".":
            parts.append(Part("", quoted=False))
            cursor.next()
            continue
        read = _part(cursor, dialect, inner=bool(parts))
        if read is None:
            cursor.at = before
            return None
        parts.extend(read)
        if cursor.word != "." or len(parts) >= MAX_PARTS:
            return tuple(parts)
        cursor.next()


def _identifier(cursor: Cursor, dialect: Dialect, before: int) -> tuple[Part, ...] | None:
    cursor.at += 2
    literal = cursor.next()
    if literal.kind is Kind.STRING and cursor.take(")"):
        parts = parse_name(literal.text, dialect)
        if parts is not None:
            return parts
    cursor.at = before
    return None


def _part(cursor: Cursor, dialect: Dialect, *, inner: bool) -> list[Part] | None:
    token = cursor.peek()
    if token.kind is Kind.QUOTED:
        cursor.next()
        if dialect.dashes_in_names and token.quote == "`":
            return _divided(token.text)
        return [Part(token.text, quoted=True)]
    if token.kind is Kind.STRING and token.quote == '"':  # where a server is told to take double quotes for names
        cursor.next()
        return [Part(token.text, quoted=True)]
    if token.kind is not Kind.WORD and (token.kind is not Kind.NUMBER or (token.text.isdigit() and not inner)):
        return None
    cursor.next()
    text, end = token.text, token.end
    while dialect.dashes_in_names and cursor.word == "-" and cursor.peek().start == end:
        following = cursor.peek(1)
        if following.kind not in {Kind.WORD, Kind.NUMBER} or following.start != cursor.peek().end:
            break
        text, end = f"{text}-{following.text}", following.end
        cursor.at += 2
    return [Part(text, quoted=False)]


def _divided(text: str) -> list[Part]:
    """What stands between one pair of BigQuery's backticks: `project.dataset.table`; a project may hold `domain.com:`."""
    domain, colon, rest = text.rpartition(":")
    pieces = rest.split(".")
    if colon:
        pieces[0] = f"{domain}:{pieces[0]}"
    return [Part(piece, quoted=True) for piece in pieces]


def parse_name(text: str, dialect: Dialect) -> tuple[Part, ...] | None:
    """The name that `text` holds, all of it; None if it holds something else."""
    lexer = Lexer(text, dialect, source="")
    tokens: list[Token] = []
    while (token := lexer.next()).kind is not Kind.END:
        tokens.append(token)
        if len(tokens) > 3 * MAX_PARTS:
            break
    cursor = Cursor(tokens)
    parts = read_name(cursor, dialect)
    return parts if parts is not None and cursor.done() else None


def is_temporary(parts: tuple[Part, ...], dialect: Dialect) -> bool:
    """Whether the name itself says that the table goes with its session."""
    if parts[-1].text.startswith(dialect.temporary_signs):
        return True
    within = parts[-2].text.lower() if len(parts) > 1 else ""
    outer = parts[-3].text.lower() if len(parts) > 2 else ""
    return within in {"pg_temp", "_session"} or outer == "tempdb" or bool(re.fullmatch(r"pg_temp_\d+", within))
