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
MAX_LENGTH: Final = 1000
"""The longest text that is read as a name, in characters."""


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


def parse_name(text: str, dialect: Dialect) -> tuple[NamePart, ...] | None:
    """Return the name that `text` holds, all of it; None if it holds something else, or a placeholder."""
    cursor = Cursor(tokens_of(text, dialect) if len(text) <= MAX_LENGTH else ())
    parts = read_name(cursor, dialect)
    is_whole = parts is not None and cursor.done() and not any(part.placeholder for part in parts)
    return parts if is_whole else None
