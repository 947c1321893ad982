"""Blocks: where a routine ends whose body holds semicolons, and which words only hold its statements together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from orchestrator.changes.cursor import Cursor, words
from orchestrator.changes.lexer import NOTHING, Token, TokenKind
from orchestrator.changes.literals import remember_all
from orchestrator.changes.session import Session

ROUTINES: Final = words("FUNCTION PROCEDURE PROC TRIGGER EVENT PACKAGE TASK ALERT RULE")
"""Things whose definition holds statements that do not run now."""
BATCH_ROUTINES: Final = words("FUNCTION PROCEDURE PROC TRIGGER")
"""Those whose definition reaches to the end of its batch, in dialects with batches."""

_COMPOUND: Final = words("IF WHILE LOOP REPEAT FOR")
_BEFORE_STATEMENT: Final = words("; BEGIN THEN ELSE DO LOOP ROW REPEAT : AS >>")
_HEAD_STOPS: Final = words("( AS SELECT TABLE VIEW SCHEMA INDEX TYPE PARTITION")
_CONTROL: Final = words("BEGIN THEN ELSE DO LOOP")
_UNTIL: Final = {
    **dict.fromkeys(("IF", "ELSEIF", "ELSIF", "WHEN", "EXCEPTION", "CASE"), words("THEN")),
    **dict.fromkeys(("WHILE", "FOR"), words("DO LOOP")),
    "FOREACH": words("LOOP"),
}
"""Words that begin a condition, and those that end it."""
_TRANSACTION: Final = words("""
    TRANSACTION TRAN WORK ISOLATION READ DEFERRABLE IMMEDIATE EXCLUSIVE CONCURRENT DISTRIBUTED
""")
_ALONE: Final = words("LOOP REPEAT ELSE THEN")
_PRAGMAS: Final = words("OPTION PRINT_STRICT_PARAMS VARIABLE_CONFLICT")
"""PL/pgSQL's compiler options, each with a value, before the first word of a body."""


def begins_routine(tokens: Sequence[Token]) -> bool:
    """Return whether the statement that begins with these tokens defines something with a body."""
    before = (NOTHING, *tokens)
    verbs = (at for at, token in enumerate(tokens) if token.upper in {"CREATE", "ALTER"})
    begin = next((at for at in verbs if at == 0 or before[at].upper in _CONTROL), len(tokens))
    for token, following in pairwise([*tokens[begin + 1 : begin + 24], NOTHING]):
        if token.upper in ROUTINES:
            return True
        if token.upper in _HEAD_STOPS:
            return (token.upper, following.upper) == ("TABLE", "FUNCTION")
    return False


class Body:
    """Counts what is open in a routine's definition, token by token."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._before = NOTHING
        self._depth = 0
        self._declaring = False
        self._parens = 0
        self._compound = False
        """Whether the token before began a compound statement."""
        self._calls: list[int] = []
        """How many parentheses are open around each `IF (` and the like that may be a function's call."""

    def feed(self, token: Token) -> None:
        """Take the next token, semicolons too."""
        before, word = self._before.upper, token.upper
        if before == "END":
            self._depth = max(0, self._depth - 1)
        elif before == "BEGIN" and word not in {"TRANSACTION", "TRAN", "WORK", ";"}:
            self._depth += 1
            self._declaring = False
        if token.kind is TokenKind.SIGN and word in {"(", ")", ","}:
            self._sign(word, before)
        if before != "END":
            self._compound = word in _COMPOUND and before in _BEFORE_STATEMENT
            if word == "CASE" or self._compound:
                self._depth += 1
            elif word == "DECLARE" and not self._depth:
                self._declaring = True
        self._before = token

    def _sign(self, sign: str, before: str) -> None:
        if sign == "(":
            if before in _COMPOUND and self._compound:
                self._calls.append(self._parens)
            self._parens += 1
        elif sign == ")":
            self._parens = max(0, self._parens - 1)
            if self._calls and self._calls[-1] >= self._parens:
                self._calls.pop()
        elif self._calls and self._calls[-1] == self._parens - 1:
            self._calls.pop()  # `IF (a, b, c)` is a function, and opens nothing
            self._depth = max(0, self._depth - 1)

    def is_open(self) -> bool:
        """Return whether a semicolon that comes now belongs to the body."""
        ends = self._before.upper == "END"
        return self._depth - ends > 0 or self._declaring or self._parens > 0


def pass_control(cursor: Cursor, session: Session) -> bool:
    """Pass everything that is no statement of its own; False if nothing is left to be read."""
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
            cursor.take_any({"ATOMIC", "TRY", "CATCH"})
        elif word == "DECLARE" and cursor.peek(2).upper == "HANDLER":
            ahead = cursor.find("BEGIN", "CREATE", "ALTER", "DROP", "RENAME", "EXECUTE")
            cursor.at = len(cursor.tokens) if ahead < 0 else cursor.at + ahead
        elif word == "DECLARE":
            _declare(cursor, session)
            return False
        elif word in _UNTIL:
            if not _pass_condition(cursor, word):
                return False
        elif word in _ALONE:
            cursor.next()
        elif word == "END" or not _pass_label(cursor):
            return word != "END"
    return False


def _declare(cursor: Cursor, session: Session) -> None:
    cursor.next()
    session.declaring = session.dialect.declare_section or (session.in_body and session.dialect.escape_strings)
    cursor.take("OR", "REPLACE")
    cursor.take_any({"VARIABLE", "VAR"})
    remember_all(session, cursor.rest())


def _pass_condition(cursor: Cursor, word: str) -> bool:
    """Pass a condition: up to the word that ends it, outside parentheses and CASE ... END."""
    depth = cases = 0
    for ahead, token in enumerate(cursor.rest()[1:], start=1):
        if depth <= 0 and cases <= 0 and token.upper in _UNTIL[word]:
            cursor.at += ahead + 1
            return True
        depth += (token.upper == "(") - (token.upper == ")")
        cases += (token.upper == "CASE") - (token.upper == "END")
    return False


def _pass_label(cursor: Cursor) -> bool:
    """Pass `<<label>>`, `label:` and PL/pgSQL's options."""
    is_pragma = cursor.word == "#" and cursor.peek(1).upper in _PRAGMAS
    if is_pragma or (cursor.word == "<<" and cursor.peek(2).upper == ">>"):
        cursor.at += 3
        return True
    is_label = cursor.peek().kind is TokenKind.WORD and cursor.peek(1).upper == ":"
    if is_label and cursor.peek(2).kind in {TokenKind.WORD, TokenKind.END}:
        cursor.at += 2
        return True
    return False
