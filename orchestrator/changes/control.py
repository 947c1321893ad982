"""Blocks laid flat: the words that hold statements together are passed, the statements inside are read."""

from __future__ import annotations

from typing import Final

from orchestrator.changes.cursor import Cursor
from orchestrator.changes.lexer import TokenKind
from orchestrator.changes.literals import remember_all
from orchestrator.changes.session import Session

_UNTIL: Final = {
    "IF": ("THEN",),
    "ELSEIF": ("THEN",),
    "ELSIF": ("THEN",),
    "WHEN": ("THEN",),
    "EXCEPTION": ("THEN",),
    "CASE": ("THEN",),
    "WHILE": ("DO", "LOOP"),
    "FOR": ("DO", "LOOP"),
    "FOREACH": ("LOOP",),
}
"""Words that begin a condition, and those that end it."""
_TRANSACTION: Final = frozenset(
    {
        "TRANSACTION",
        "TRAN",
        "WORK",
        "ISOLATION",
        "READ",
        "DEFERRABLE",
        "IMMEDIATE",
        "EXCLUSIVE",
        "CONCURRENT",
        "DISTRIBUTED",
    }
)
_ALONE: Final = frozenset({"LOOP", "REPEAT", "ELSE", "THEN"})
_PRAGMAS: Final = frozenset({"OPTION", "PRINT_STRICT_PARAMS", "VARIABLE_CONFLICT"})
"""PL/pgSQL's compiler options, each with a value, before the first word of a body."""


def pass_control(cursor: Cursor, session: Session, *, in_body: bool) -> bool:
    """Goes past everything that is no statement of its own; False if nothing is left to be read."""
    while not cursor.done():
        word = cursor.word
        if session.declaring and word != "BEGIN":
            remember_all(session, cursor.rest())
            return False
        if word == "BEGIN":
            session.declaring = False
            cursor.next()
            if cursor.word in _TRANSACTION or (cursor.word == "NAME" and cursor.peek(2).kind is TokenKind.END):
                return False
            cursor.take("NOT", "ATOMIC")
            cursor.take_any(frozenset({"ATOMIC", "TRY", "CATCH"}))
        elif word == "DECLARE":
            if not _pass_handler(cursor):
                return _declare(cursor, session, in_body=in_body)
        elif word == "END":
            return False
        elif word in _UNTIL:
            if not _pass_condition(cursor, word, batches=session.dialect.batches):
                return False
        elif word in _ALONE:
            cursor.next()
        elif not _pass_label(cursor):
            return True
    return False


def _pass_handler(cursor: Cursor) -> bool:
    """Goes past `DECLARE EXIT HANDLER FOR ...`, up to the statement that may run; False where none is declared."""
    if cursor.peek(2).upper != "HANDLER":
        return False
    at = cursor.find("BEGIN", "CREATE", "ALTER", "DROP", "RENAME", "EXECUTE")
    cursor.at = len(cursor.tokens) if at < 0 else cursor.at + at
    return True


def _declare(cursor: Cursor, session: Session, *, in_body: bool) -> bool:
    cursor.next()
    if session.dialect.declare_section or (in_body and session.dialect.escape_strings):
        session.declaring = True
    cursor.take("OR", "REPLACE")
    cursor.take_any(frozenset({"VARIABLE", "VAR"}))
    remember_all(session, cursor.rest())
    return False


def _pass_condition(cursor: Cursor, word: str, *, batches: bool) -> bool:
    if batches:
        return False
    if word == "IF" and cursor.peek(1).upper == "EXISTS" and cursor.peek(2).upper != "(":
        return False
    at = _find(cursor, _UNTIL[word])
    if at < 0:
        return False
    cursor.at += at + 1
    return True


def _find(cursor: Cursor, words: tuple[str, ...]) -> int:
    """How far ahead one of `words` comes, outside parentheses and CASE ... END."""
    depth = cases = 0
    for ahead, token in enumerate(cursor.rest()):
        if ahead and depth <= 0 and cases <= 0 and token.upper in words:
            return ahead
        depth += (token.upper == "(") - (token.upper == ")")
        if ahead:
            cases += (token.upper == "CASE") - (token.upper == "END")
    return -1


def _pass_label(cursor: Cursor) -> bool:
    """Goes past `<<label>>`, `label:` and PL/pgSQL's options."""
    if cursor.word == "#" and cursor.peek(1).upper in _PRAGMAS:
        cursor.at += 3
        return True
    if cursor.word == "<<" and cursor.peek(2).upper == ">>":
        cursor.at += 3
        return True
    if (
        cursor.peek().kind is TokenKind.WORD
        and cursor.peek(1).upper == ":"
        and cursor.peek(2).kind in {TokenKind.WORD, TokenKind.END}
    ):
        cursor.at += 2
        return True
    return False
