"""SQL in strings: what an expression comes to, as far as its literals say; every piece that nobody can know becomes a mark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Final

from orchestrator.changes.cursor import Cursor, split_commas
from orchestrator.changes.lexer import Token, TokenKind
from orchestrator.changes.placeholders import MARK
from orchestrator.changes.session import Session

MAX_WAYS: Final = 16
"""So many texts may an expression come to: IF and CASE have several. With more of them it counts as not known."""
MAX_LENGTH: Final = 1_000_000

_UNKNOWN: Final = (MARK,)
_JOINS: Final = frozenset({"||", "+"})
_ENDS: Final = frozenset({"FROM", "WHERE", "INTO", "LIMIT", "ORDER", "SEPARATOR"})
"""What ends an expression in a query."""


def literal_sql(tokens: Sequence[Token], session: Session, depth: int = 0) -> tuple[str, ...]:
    """Every text that the expression may come to; a text with `MARK` in it is known in part."""
    if depth > 20:
        return _UNKNOWN
    cursor = Cursor(tokens)
    ways: tuple[str, ...] = ("",)
    while not cursor.done():
        term = _term(cursor, session, depth)
        ways = tuple(dict.fromkeys(one + other for one, other in product(ways, term)))
        if len(ways) > MAX_WAYS or len(ways[0]) > MAX_LENGTH:
            return _UNKNOWN
        if cursor.done() or cursor.word in _ENDS:
            return ways
        if not cursor.take_any(_JOINS):
            return tuple(way + MARK for way in ways)
    return _UNKNOWN


def _term(cursor: Cursor, session: Session, depth: int) -> tuple[str, ...]:
    token = cursor.peek()
    if token.kind is TokenKind.STRING:
        text = ""
        while cursor.peek().kind is TokenKind.STRING:
            text += cursor.next().text
        return (text,)
    if token.upper == "(":
        return _inner(_parenthesized(cursor), session, depth)
    if token.upper == "CASE":
        return _case(cursor, session, depth)
    if token.upper in {":", "$"}:
        cursor.next()
        token = cursor.peek()
    if token.kind in {TokenKind.VARIABLE, TokenKind.WORD, TokenKind.QUOTED}:
        cursor.next()
        if cursor.word == "(":
            return _call(token.upper, split_commas(_parenthesized(cursor)), session, depth)
        return session.variables.get(token.text.lower(), _UNKNOWN)
    cursor.next()
    return _UNKNOWN


def _parenthesized(cursor: Cursor) -> Sequence[Token]:
    begin = cursor.at
    cursor.skip_parens()
    return cursor.tokens[begin + 1 : cursor.at - 1]


def _inner(tokens: Sequence[Token], session: Session, depth: int) -> tuple[str, ...]:
    """What stands between parentheses: an expression, or a query for one value."""
    cursor = Cursor(tokens)
    if not cursor.take("SELECT"):
        return literal_sql(tokens, session, depth + 1)
    end = cursor.find("FROM", "LIMIT", "WHERE", "INTO")
    rest = cursor.rest()
    return literal_sql(rest[:end] if end >= 0 else rest, session, depth + 1)


def _case(cursor: Cursor, session: Session, depth: int) -> tuple[str, ...]:
    """What any branch of a CASE may come to."""
    begin = cursor.at
    nested = 0
    while not cursor.done():
        word = cursor.next().upper
        nested += (word == "CASE") - (word == "END")
        if not nested:
            break
    inside = Cursor(cursor.tokens[begin + 1 : cursor.at - 1])
    ways: list[str] = []
    while (at := inside.find("THEN", "ELSE")) >= 0:
        inside.at += at + 1
        end = inside.find("WHEN", "ELSE")
        rest = inside.rest()
        ways.extend(literal_sql(rest[:end] if end >= 0 else rest, session, depth + 1))
    return tuple(dict.fromkeys(ways)) or _UNKNOWN


def _call(name: str, arguments: list[Sequence[Token]], session: Session, depth: int) -> tuple[str, ...]:
    """What a call of a well-known function comes to."""
    if name == "CONCAT":
        joined: tuple[str, ...] = ("",)
        for argument in arguments:
            ways = literal_sql(argument, session, depth + 1)
            joined = tuple(one + other for one, other in product(joined, ways))
            if len(joined) > MAX_WAYS:
                return _UNKNOWN
        return joined
    if name in {"IF", "IIF"} and len(arguments) == 3:
        ways = tuple(way for each in arguments[1:] for way in literal_sql(each, session, depth + 1))
        return tuple(dict.fromkeys(ways))
    if name in {"STRING_AGG", "GROUP_CONCAT", "LISTAGG"} and arguments:
        return literal_sql(arguments[0], session, depth + 1)  # each row's text has the same known pieces
    if name in {"COALESCE", "IFNULL", "ISNULL", "NVL"}:
        return tuple(dict.fromkeys(way for each in arguments for way in literal_sql(each, session, depth + 1)))
    if name == "FORMAT" and arguments:
        return _format(arguments, session, depth)
    if name in {"QUOTENAME", "QUOTE_IDENT", "TRIM", "CHAR", "CHR", "NCHAR"} and arguments:
        return _one_argument(name, arguments[0], session, depth)
    return _UNKNOWN


def _one_argument(name: str, argument: Sequence[Token], session: Session, depth: int) -> tuple[str, ...]:
    if name in {"CHAR", "CHR", "NCHAR"}:
        known = {"10": "\n", "13": "\n", "9": "\t", "32": " ", "39": "'"}
        return (known.get(argument[0].text, MARK),) if argument else _UNKNOWN
    ways = literal_sql(argument, session, depth + 1)
    if name == "TRIM":
        return tuple(way.strip() for way in ways)
    opening, closing = ("[", "]") if name == "QUOTENAME" else ('"', '"')
    return tuple(way if MARK in way else f"{opening}{way}{closing}" for way in ways)


def _format(arguments: list[Sequence[Token]], session: Session, depth: int) -> tuple[str, ...]:
    """PostgreSQL's and BigQuery's FORMAT, with each argument that is a literal put in its place."""
    patterns = literal_sql(arguments[0], session, depth + 1)
    values = [literal_sql(each, session, depth + 1) for each in arguments[1:]]
    filled: list[str] = []
    for pattern in patterns:
        place = 0

        def fill(match: re.Match[str]) -> str:
            nonlocal place
            if match[0] == "%%":
                return "%"
            place = int(match[1]) if match[1] else place + 1
            value = values[place - 1] if 0 < place <= len(values) else _UNKNOWN
            if len(value) != 1 or MARK in value[0]:
                return f"'{MARK}'" if match[2] == "L" else MARK
            if match[2] == "L":
                return "'" + value[0].replace("'", "''") + "'"
            return value[0] if match[2] != "I" or re.fullmatch("[a-z_][a-z0-9_]*", value[0]) else f'"{value[0]}"'

        filled.append(re.sub(r"%(?:%|(?:(\d{1,3})\$)?-?\d{0,4}([sILTtd]))", fill, pattern))
    return tuple(dict.fromkeys(filled))


def with_identifiers(tokens: Sequence[Token], session: Session) -> Sequence[Token]:
    """The tokens with what stands in each `IDENTIFIER(...)` put there, where that is known: a variable's text, or several joined."""
    if not any(token.upper == "IDENTIFIER" for token in tokens):
        return tokens
    cursor, put = Cursor(tokens), list[Token]()
    while not cursor.done():
        put.append(cursor.next())
        if put[-1].upper == "IDENTIFIER" and cursor.word == "(":
            begin = cursor.at
            inside = _parenthesized(cursor)
            ways = literal_sql(inside, session) if len(inside) > 1 else _UNKNOWN
            if len(ways) == 1 and MARK not in ways[0]:
                inside = [inside[0]._replace(kind=TokenKind.STRING, text=ways[0], upper="")]
            put += [tokens[begin], *inside, tokens[cursor.at - 1]]
    return put


def remember_each(session: Session, cursor: Cursor) -> None:
    """Keeps several variables that are set at once: `(a, b) = ('...', '...')`."""
    names = split_commas(_parenthesized(cursor))
    if cursor.take("=") and cursor.word == "(":
        for name, value in zip(names, split_commas(_parenthesized(cursor)), strict=False):
            if name:
                session.variables[name[-1].text.lower()] = literal_sql(value, session)


def remember_all(session: Session, tokens: Sequence[Token]) -> None:
    """Keeps what variables are set to, for they may hold SQL that runs later: `@a = '...', @b = '...'`, `x := '...'`."""
    for part in split_commas(tokens):
        cursor = Cursor(part)
        name = cursor.next()
        at = cursor.find("=", ":=", "+=", "DEFAULT")
        if at < 0 or name.kind is TokenKind.END:
            continue
        cursor.at += at
        sign = cursor.next().upper
        known = name.text.lower()
        value = literal_sql(cursor.rest(), session)
        if sign == "+=":
            before = session.variables.get(known, _UNKNOWN)
            value = tuple(one + other for one, other in product(before, value))[:MAX_WAYS]
        session.variables[known] = value
