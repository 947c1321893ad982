"""Names as they are written, and as the warehouse stores them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from orchestrator.changes.cursor import Cursor
from orchestrator.changes.dialects import Dialect, Folding
from orchestrator.changes.lexer import NOTHING, TokenKind, tokens_of
from orchestrator.changes.placeholders import MARK, PLACEHOLDER, SIGNS

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
    """Return the part as `dialect` stores it; with `ignore_quotes` as if it were not quoted (Snowflake has a setting for that)."""
    if part.quoted and not ignore_quotes and dialect.folding in {Folding.UPPER, Folding.LOWER}:
        return part.text
    if dialect.folding is Folding.UPPER:
        return part.text.upper()
    return part.text if dialect.folding is Folding.KEPT else part.text.lower()


def read_name(cursor: Cursor, dialect: Dialect) -> tuple[NamePart, ...] | None:
    """Take the name that comes next, part by part; None, with the cursor where it was, if there is none.

    `IDENTIFIER('a.b')` gives what the string says; a variable in its place gives None: its value is not known.
    """
    before = cursor.at
    if cursor.take("IDENTIFIER", "("):
        literal = cursor.next()
        if literal.kind is TokenKind.STRING and cursor.take(")") and (named := parse_name(literal.text, dialect)):
            return named
        cursor.at = before
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
    if token.kind is TokenKind.QUOTED or (token.kind is TokenKind.STRING and token.quote == '"'):
        cursor.next()  # a server may be set to take double quotes for names
        if held := PLACEHOLDER.search(token.text):
            return [NamePart(token.text, quoted=True, placeholder=held[0], at=token.start)]
        is_path = dialect.dashes_in_names and token.quote == "`"
        parts = [NamePart(text, quoted=True) for text in (_divided(token.text) if is_path else [token.text])]
    elif token.kind is TokenKind.WORD or (token.kind is TokenKind.NUMBER and (inner or not token.text.isdigit())):
        text = _dashed(cursor) if dialect.dashes_in_names else cursor.next().text
        held = re.search(r"\$[^\W\d]\w*\$", text)
        parts = [NamePart(text, quoted=False, placeholder=held[0] if held else "", at=token.start)]
    else:
        return None
    if cursor.peek().start == cursor.tokens[cursor.at - 1].end and _begins_placeholder(cursor):
        return [_placeholder(cursor, token.start)]
    return parts


def _dashed(cursor: Cursor) -> str:
    """Take a BigQuery project's name, which may hold dashes."""
    token = cursor.next()
    text, end = token.text, token.end
    while cursor.word == "-" and cursor.peek().start == end:
        following = cursor.peek(1)
        if following.kind not in {TokenKind.WORD, TokenKind.NUMBER} or following.start != cursor.peek().end:
            break
        text, end = f"{text}-{following.text}", following.end
        cursor.at += 2
    return text


def _divided(text: str) -> list[str]:
    """Return the parts between one pair of BigQuery's backticks: `project.dataset.table`; a project may hold `domain.com:`."""
    domain, colon, rest = text.rpartition(":")
    first, *others = rest.split(".")
    return [domain + colon + first, *others]


def _begins_placeholder(cursor: Cursor) -> bool:
    """Return whether what comes next is a tool's placeholder for a name: `:x`, `$x$`, `{x}`, `%(x)s`, `@x.`, `#{x}`."""
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
    shown = "".join("$...$" if each.quote == "$" else each.text for each in cursor.tokens[first : cursor.at])
    return NamePart(shown, quoted=True, placeholder=MARK if MARK in shown else shown, at=begin)


def parse_name(text: str, dialect: Dialect) -> tuple[NamePart, ...] | None:
    """Return the name that `text` holds, all of it; None if it holds something else, or a placeholder."""
    cursor = Cursor(tokens_of(text, dialect, limit=3 * MAX_PARTS))
    parts = read_name(cursor, dialect)
    is_whole = parts is not None and cursor.done() and not any(part.placeholder for part in parts)
    return parts if is_whole else None


def is_temporary(parts: tuple[NamePart, ...], dialect: Dialect) -> bool:
    """Return whether the name itself says that the table ends with its session."""
    if parts[-1].text.startswith(dialect.temporary_signs):
        return True
    within = parts[-2].text.lower() if len(parts) > 1 else ""
    outer = parts[-3].text.lower() if len(parts) > 2 else ""
    return outer == "tempdb" or re.fullmatch(r"pg_temp|_session|pg_temp_\d+", within) is not None
