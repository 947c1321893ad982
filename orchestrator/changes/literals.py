"""SQL in strings: the texts that an expression can have. Each piece that is not known becomes a mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import product
from typing import Final

from orchestrator.changes.lexer import Cursor, Token, TokenKind, split_commas, tokens_of, words
from orchestrator.changes.session import Session
from orchestrator.changes.tool_text import MARK

MAX_WAYS: Final = 16
"""The largest number of texts of an expression (IF and CASE have several). With more, it counts as not known."""
MAX_LENGTH: Final = 1_000_000

_UNKNOWN: Final = (MARK,)
_JOINS: Final = frozenset({"||", "+"})
_ENDS: Final = words("FROM WHERE INTO LIMIT ORDER SEPARATOR")
"""Words that end an expression in a query."""
_CHARACTERS: Final = {"10": "\n", "13": "\n", "9": "\t", "32": " ", "39": "'"}


def literal_sql(tokens: Sequence[Token], session: Session, depth: int = 0) -> tuple[str, ...]:
    """Return every text that the expression can have. A text with `MARK` in it is known in part."""
    if depth > 20:
        return _UNKNOWN
    cursor = Cursor(tokens)
    ways: tuple[str, ...] = ("",)
    while not cursor.done():
        if (ways := _joined(ways, _term(cursor, session, depth))) is _UNKNOWN:
            return ways
        if cursor.done() or cursor.word in _ENDS:
            return ways
        if not cursor.take_any(_JOINS):
            return tuple(way + MARK for way in ways)
    return _UNKNOWN


def _joined(before: Iterable[str], behind: Iterable[str]) -> tuple[str, ...]:
    """Return every text of `before` followed by every one of `behind`; `_UNKNOWN` if they are too many or too long."""
    ways = tuple(dict.fromkeys(one + other for one, other in product(before, behind)))
    return ways if len(ways) <= MAX_WAYS and len(ways[0]) <= MAX_LENGTH else _UNKNOWN


def _any_of(values: Iterable[Sequence[Token]], session: Session, depth: int) -> tuple[str, ...]:
    """Return every text that any of the expressions can have."""
    return tuple(dict.fromkeys(way for value in values for way in literal_sql(value, session, depth + 1)))


def _term(cursor: Cursor, session: Session, depth: int) -> tuple[str, ...]:
    if cursor.peek().kind is TokenKind.STRING:
        text = cursor.next().text
        while cursor.peek().kind is TokenKind.STRING:
            text += cursor.next().text
        return (text,)
    if cursor.word == "(":
        inside = Cursor(cursor.skip_parens())  # an expression, or a query for one value
        inside.take("SELECT")
        return literal_sql(inside.rest(), session, depth + 1)
    if cursor.word == "CASE":
        inside, branches = Cursor(cursor.skip_parens("CASE", "END")), []
        while inside.take_to("THEN", "ELSE"):
            branches.append(inside.until("WHEN", "ELSE"))
        return _any_of(branches, session, depth) or _UNKNOWN
    cursor.take_any({":", "$"})
    token = cursor.next()
    if token.kind not in {TokenKind.VARIABLE, TokenKind.WORD, TokenKind.QUOTED}:
        return _UNKNOWN
    if cursor.word == "(":
        return _call(token.upper, split_commas(cursor.skip_parens()), session, depth)
    return session.variables.get(token.text.lower(), _UNKNOWN)


def _call(name: str, arguments: list[Sequence[Token]], session: Session, depth: int) -> tuple[str, ...]:
    """Return every text that a call of a well-known function can have."""
    if not arguments[0]:
        return ("",) if name == "CONCAT" else _UNKNOWN
    if name == "CONCAT":
        return reduce(_joined, (literal_sql(each, session, depth + 1) for each in arguments), ("",))
    if name in {"IF", "IIF"} and len(arguments) == 3:
        return _any_of(arguments[1:], session, depth)
    if name in {"COALESCE", "IFNULL", "ISNULL", "NVL"}:
        return _any_of(arguments, session, depth)
    if name == "FORMAT":
        return _format(arguments, session, depth)
    if name in {"CHAR", "CHR", "NCHAR"}:
        return (_CHARACTERS.get(arguments[0][0].text, MARK),)
    ways = literal_sql(arguments[0], session, depth + 1)
    if name in {"STRING_AGG", "GROUP_CONCAT", "LISTAGG"}:
        return ways  # each row's text has the same known pieces
    if name == "TRIM":
        return tuple(way.strip() for way in ways)
    if name in {"QUOTENAME", "QUOTE_IDENT"}:
        opening, closing = "[]" if name == "QUOTENAME" else '""'
        return tuple(way if MARK in way else f"{opening}{way}{closing}" for way in ways)
    return _UNKNOWN


def _format(arguments: list[Sequence[Token]], session: Session, depth: int) -> tuple[str, ...]:
    """Return every text that FORMAT of PostgreSQL and BigQuery can have."""
    values = [literal_sql(each, session, depth + 1) for each in arguments[1:]]
    filled: list[str] = []
    for pattern in literal_sql(arguments[0], session, depth + 1):
        place = 0

        def fill(match: re.Match[str]) -> str:
            nonlocal place
            if match[0] == "%%":
                return "%"
            place = int(match[1]) if match[1] else place + 1
            value = values[place - 1] if 0 < place <= len(values) else _UNKNOWN
            known = value[0] if len(value) == 1 else MARK
            if match[2] == "L":
                return "'" + known.replace("'", "''") + "'" if MARK not in known else f"'{MARK}'"
            is_bare = match[2] != "I" or re.fullmatch("[a-z_][a-z0-9_]*", known)
            return MARK if MARK in known else known if is_bare else f'"{known}"'

        filled.append(re.sub(r"%(?:%|(?:(\d{1,3})\$)?-?\d{0,4}([sILTtd]))", fill, pattern))
    return tuple(dict.fromkeys(filled))


def named_argument(argument: Sequence[Token]) -> tuple[str, Sequence[Token]]:
    """Return an argument's name in lower case, empty if it has none, and its value."""
    if len(argument) > 2 and argument[1].upper in {"=", "=>", ":="}:
        return argument[0].text.lower(), argument[2:]
    return "", argument


def with_identifiers(tokens: Sequence[Token], session: Session) -> Sequence[Token]:
    """Return the tokens with each `IDENTIFIER(...)` replaced by its name, if that is known."""
    if not any(token.upper == "IDENTIFIER" for token in tokens):
        return tokens
    cursor, put = Cursor(tokens), list[Token]()
    while not cursor.done():
        token, ahead = cursor.next(), Cursor(tokens, cursor.at)
        is_call = token.upper == "IDENTIFIER" and ahead.word == "("
        ways = literal_sql(ahead.skip_parens(), session) if is_call else _UNKNOWN
        if len(ways) == 1 and MARK not in ways[0]:
            put += (each._replace(start=token.start, end=token.end) for each in tokens_of(ways[0], session.dialect))
            cursor = ahead
        else:
            put.append(token)
    return put


def remember_all(session: Session, tokens: Sequence[Token]) -> None:
    """Record what variables are set to, because they may hold SQL that runs later.

    Read are `@a = '...', @b = '...'`, `x := '...'` and `(a, b) = ('...', '...')`.
    """
    for part in split_commas(tokens):
        cursor = Cursor(part)
        names = split_commas(cursor.skip_parens()) if cursor.word == "(" else [[cursor.next()]]
        if not cursor.take_to("=", ":=", "+=", "DEFAULT"):
            continue
        is_added = cursor.tokens[cursor.at - 1].upper == "+="
        values = split_commas(cursor.skip_parens()) if len(names) > 1 else [cursor.rest()]
        for name, value in zip(names, values, strict=False):
            known = name[-1].text.lower() if name else ""
            ways = literal_sql(value, session)
            before = session.variables.get(known, _UNKNOWN) if is_added else ("",)
            session.variables[known] = _joined(before, ways)
