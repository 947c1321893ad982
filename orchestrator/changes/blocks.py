"""Where a routine ends whose body holds semicolons: BEGIN ... END and its kin, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.changes.lexer import NOTHING, Token, TokenKind

ROUTINES: Final = frozenset({"FUNCTION", "PROCEDURE", "PROC", "TRIGGER", "EVENT", "PACKAGE", "TASK", "ALERT", "RULE"})
"""Things whose definition holds statements that do not run now."""

BATCH_ROUTINES: Final = frozenset({"FUNCTION", "PROCEDURE", "PROC", "TRIGGER"})
"""Those whose definition reaches to the end of its batch, where there are batches."""

_TRANSACTION: Final = frozenset({"TRANSACTION", "TRAN", "WORK", ";"})
_COMPOUND: Final = frozenset({"IF", "WHILE", "LOOP", "REPEAT", "FOR"})
_BEFORE_STATEMENT: Final = frozenset({";", "BEGIN", "THEN", "ELSE", "DO", "LOOP", "ROW", "REPEAT", ":", "AS", ">>"})
_HEAD_STOPS: Final = frozenset({"(", "AS", "SELECT", "TABLE", "VIEW", "SCHEMA", "INDEX", "TYPE", "PARTITION"})
_CONTROL: Final = frozenset({"BEGIN", "THEN", "ELSE", "DO", "LOOP"})


def begins_routine(tokens: Sequence[Token]) -> bool:
    """Whether the statement that begins with these tokens defines something with a body."""
    for at, token in enumerate(tokens):
        if token.upper in {"CREATE", "ALTER"} and (at == 0 or tokens[at - 1].upper in _CONTROL):
            return _kind_is_routine(tokens[at + 1 : at + 24])
    return False


def _kind_is_routine(tokens: Sequence[Token]) -> bool:
    for at, token in enumerate(tokens):
        if token.upper in ROUTINES:
            return True
        if token.upper in _HEAD_STOPS:
            following = tokens[at + 1].upper if at + 1 < len(tokens) else ""
            return token.upper == "TABLE" and following == "FUNCTION"
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
        """How many parentheses are open around each `IF (` and its kin that may be a function's call."""

    def feed(self, token: Token) -> None:
        """Takes the next token, semicolons too."""
        before, word = self._before, token.upper
        if before.upper == "END":
            self._depth = max(0, self._depth - 1)
        elif before.upper == "BEGIN" and word not in _TRANSACTION:
            self._depth += 1
            self._declaring = False
        if token.kind is TokenKind.SIGN and word in {"(", ")", ","}:
            self._sign(word, before.upper)
        if before.upper != "END":
            self._compound = word in _COMPOUND and before.upper in _BEFORE_STATEMENT
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
        """Whether a semicolon that comes now belongs to the body."""
        ends = self._before.upper == "END"
        return self._depth - ends > 0 or self._declaring or self._parens > 0
