"""Names as they are written, and as the warehouse stores them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from orchestrator.changes.cursor import Cursor
from orchestrator.changes.dialects import Dialect, Folding
from orchestrator.changes.lexer import NOTHING, Token, TokenKind, tokens_of
from orchestrator.changes.placeholders import MARK, QUOTED_PLACEHOLDER, SIGNS

MAX_PARTS: Final = 4
"""Server, catalog, schema, object: nothing has more."""


class NamePart(NamedTuple):
    """One part of a name. An empty one is left out on purpose: `db..t`."""

    text: str
    quoted: bool
    placeholder: str = ""
    """What stands in the part for text that is not known: a tool's placeholder, or `MARK`."""
    at: int = -1
    """Where the placeholder begins in the lexer's text; -1 if that is not known."""


def fold(part: NamePart, dialect: Dialect, *, ignore_quotes: bool = False) -> str:
    """The part as `dialect` stores it; with `ignore_quotes` as if it were not quoted (Snowflake has a setting for that)."""
    quoted = part.quoted and not ignore_quotes
    if dialect.folding is Folding.UPPER:
        return part.text if quoted else part.text.upper()
    if dialect.folding is Folding.LOWER:
        return part.text if quoted else part.text.lower()
    return part.text.lower() if dialect.folding is Folding.ALL_LOWER else part.text


def read_name(cursor: Cursor, dialect: Dialect) -> tuple[NamePart, ...] | None:
    """The name that comes next, part by part; the cursor stands behind it. None, and the cursor where it was, if there is none.

    `IDENTIFIER('a.b')` gives what the string says; a variable in its place gives None, for nobody can say what it holds.
    """
    before = cursor.at
    if cursor.word == "IDENTIFIER" and cursor.peek(1).upper == "(":
        return _identifier(cursor, dialect, before)
    parts: list[NamePart] = []
    while True:
        if parts and cursor.word == ".":
            parts.append(NamePart("", quoted=False))
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


def _identifier(cursor: Cursor, dialect: Dialect, before: int) -> tuple[NamePart, ...] | None:
    cursor.at += 2
    literal = cursor.next()
    if literal.kind is TokenKind.STRING and cursor.take(")"):
        parts = parse_name(literal.text, dialect)
        if parts is not None:
            return parts
    cursor.at = before
    return None


def _part(cursor: Cursor, dialect: Dialect, *, inner: bool) -> list[NamePart] | None:
    token = cursor.peek()
    if _begins_placeholder(cursor):
        return [_placeholder(cursor, token.start)]
    if token.kind is TokenKind.QUOTED or (token.kind is TokenKind.STRING and token.quote == '"'):
        cursor.next()  # a server may be told to take double quotes for names
        parts = _divided(token.text) if dialect.dashes_in_names and token.quote == "`" else [_quoted(token)]
    elif token.kind is TokenKind.WORD or (token.kind is TokenKind.NUMBER and (inner or not token.text.isdigit())):
        cursor.next()
        text, end = token.text, token.end
        while dialect.dashes_in_names and cursor.word == "-" and cursor.peek().start == end:
            following = cursor.peek(1)
            if following.kind not in {TokenKind.WORD, TokenKind.NUMBER} or following.start != cursor.peek().end:
                break
            text, end = f"{text}-{following.text}", following.end
            cursor.at += 2
        held = re.search(r"\$[^\W\d]\w*\$", text)
        parts = [NamePart(text, quoted=False, placeholder=held[0] if held else "", at=token.start)]
    else:
        return None
    if cursor.peek().start == cursor.tokens[cursor.at - 1].end and _begins_placeholder(cursor):
        return [_placeholder(cursor, token.start)]
    return parts


def _quoted(token: Token) -> NamePart:
    held = QUOTED_PLACEHOLDER.search(token.text)
    return NamePart(token.text, quoted=True, placeholder=held[0] if held else "", at=token.start)


def _begins_placeholder(cursor: Cursor) -> bool:
    """Whether what comes next stands for a name that a tool puts there: `:x`, `$x$`, `{x}`, `%(x)s`, `@x.`, `#{x}`."""
    token, following = cursor.peek(), cursor.peek(1)
    if token.upper == MARK or (token.kind is TokenKind.STRING and token.quote == "$"):
        return True
    if following is NOTHING or following.start != token.end:
        return False
    if token.kind is TokenKind.VARIABLE:
        return following.upper in {".", "@"}
    if token.upper not in SIGNS:
        return False
    if following.kind in {TokenKind.WORD, TokenKind.QUOTED, TokenKind.VARIABLE, TokenKind.STRING}:
        return True
    return following.upper in {"{", "(", "<", "%", "&", "$"} or (
        token.upper in "$:" and following.kind is TokenKind.NUMBER
    )


def _placeholder(cursor: Cursor, begin: int) -> NamePart:
    """Goes past a part of a name that holds a placeholder: everything up to a blank, a dot, a comma or a parenthesis."""
    first = cursor.at
    while first and cursor.tokens[first - 1].end > begin:
        first -= 1
    cursor.next()
    end = cursor.tokens[cursor.at - 1].end
    while (token := cursor.peek()).start == end and token.upper not in {".", ",", ")", ";"}:
        if token.upper == "(":
            if cursor.tokens[cursor.at - 1].upper not in {"%", "$"}:
                break
            cursor.skip_parens()
        else:
            cursor.next()
        end = cursor.tokens[min(cursor.at, len(cursor.tokens)) - 1].end
    held = cursor.tokens[first : cursor.at]
    shown = "".join("$...$" if token.quote == "$" else token.text for token in held)
    return NamePart(shown, quoted=True, placeholder=MARK if MARK in shown else shown, at=begin)


def _divided(text: str) -> list[NamePart]:
    """What stands between one pair of BigQuery's backticks: `project.dataset.table`; a project may hold `domain.com:`."""
    domain, colon, rest = text.rpartition(":")
    pieces = rest.split(".")
    if colon:
        pieces[0] = f"{domain}:{pieces[0]}"
    held = [QUOTED_PLACEHOLDER.search(piece) for piece in pieces]
    return [
        NamePart(piece, quoted=True, placeholder=each[0] if each else "")
        for piece, each in zip(pieces, held, strict=True)
    ]


def parse_name(text: str, dialect: Dialect) -> tuple[NamePart, ...] | None:
    """The name that `text` holds, all of it; None if it holds something else, or a placeholder."""
    cursor = Cursor(tokens_of(text, dialect, limit=3 * MAX_PARTS))
    parts = read_name(cursor, dialect)
    is_whole = parts is not None and cursor.done() and not any(part.placeholder for part in parts)
    return parts if is_whole else None


def is_temporary(parts: tuple[NamePart, ...], dialect: Dialect) -> bool:
    """Whether the name itself says that the table goes with its session."""
    if parts[-1].text.startswith(dialect.temporary_signs):
        return True
    within = parts[-2].text.lower() if len(parts) > 1 else ""
    outer = parts[-3].text.lower() if len(parts) > 2 else ""
    return within in {"pg_temp", "_session"} or outer == "tempdb" or bool(re.fullmatch(r"pg_temp_\d+", within))
