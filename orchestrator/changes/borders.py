"""Whether a statement begins at a word that begins a line, although nothing ended the statement before it.

Files whose last statement has no semicolon are put together by people and tools; so are parts of files. T-SQL, where no statement
needs a semicolon, has its own rule (`batches`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from orchestrator.changes.dialects import Dialect
from orchestrator.changes.kinds import ADJECTIVES, is_kind
from orchestrator.changes.lexer import Token, TokenKind

_OPEN: Final = frozenset(
    {
        *(",", "(", ".", "=", "+", "-", "/", "||", ":=", "::", "=>", ":", "<", ">", "[", "%"),
        *("AS", "THEN", "ELSE", "DO", "BEGIN", "LOOP", "REPEAT", "ROW", "ATOMIC", "INSTEAD", "ALSO", "OR", "FOR"),
        *("EXPLAIN", "ANALYZE", "VERBOSE", "IMMEDIATE", "DECLARE", "TRY", "CATCH"),
    }
)
"""A statement that ends in one of these is not complete."""
_STANDING: Final = frozenset(
    {
        "TABLE",
        "VIEW",
        "MATERIALIZED",
        "SCHEMA",
        "DATABASE",
        "SEQUENCE",
        "FUNCTION",
        "PROCEDURE",
        "EXTENSION",
        "DOMAIN",
        "TYPE",
    }
    | {"TEMPORARY", "TEMP", "DYNAMIC", "EXTERNAL", "CATALOG"}
)
"""What ALTER and DROP are said of behind an ALTER: the other kinds (a column, an index) are parts of what it alters."""
_HEAD: Final = 200
"""So many tokens of a routine are looked at for its body."""
_PLACES: Final = frozenset({"CREATE", "ALTER", "DROP"})


def begins_statement(
    tokens: Sequence[Token], token: Token, following: Token, dialect: Dialect, *, routine: bool
) -> bool:
    """Return whether `token`, first in its line, begins a statement behind `tokens`, in which no parenthesis is open.

    `routine` says that these define a routine, and `following` is what comes behind the token.
    """
    head, word = tokens[0].upper, token.upper
    if tokens[-1].upper in _OPEN:
        return False
    if word == "CREATE" and head == "CREATE" and dialect.views_depend and tokens[1].upper == "SCHEMA":
        return tokens[2].upper == "IF"  # else it is an element of the new schema
    if not _opens(head, word, following, routine=routine):
        return False
    if head == "ALTER" and _is_bare(tokens):
        return False
    return not routine or _is_whole(tokens, dialect)


def _opens(head: str, word: str, following: Token, *, routine: bool) -> bool:
    kind = following.upper
    if word == "DO":
        return following.kind is TokenKind.STRING
    if word == "EXECUTE":
        return kind == "IMMEDIATE"
    if word in {"USE", "SET"}:
        is_place = (
            kind in {"SEARCH_PATH", "SCHEMA"} if word == "SET" else following.kind in {TokenKind.WORD, TokenKind.QUOTED}
        )
        return is_place and head in _PLACES and not routine and (word == "USE" or head != "ALTER")
    if word == "RENAME":
        return kind in {"TABLE", "TABLES", "OBJECT"}
    if word == "CREATE" or head != "ALTER":
        return kind == "OR" or is_kind(kind)
    return kind in _STANDING


def _is_bare(tokens: Sequence[Token]) -> bool:
    """Whether nothing stands behind the name of what is altered yet."""
    if len(tokens) > 16:
        return False
    after = [each for each in tokens[1:] if each.upper not in ADJECTIVES | {"IF", "EXISTS", "ONLY", "*"}]
    while after and is_kind(after[0].upper):
        after = after[1:]
    return all((each.upper == ".") is bool(number % 2) for number, each in enumerate(after))


def _is_whole(tokens: Sequence[Token], dialect: Dialect) -> bool:
    """Whether a routine's definition has its body: a string, a block that has ended, or the name of a function that runs."""
    if dialect.escape_strings or "END" in {tokens[-1].upper, tokens[-2].upper if len(tokens) > 1 else ""}:
        return True
    return any(each.kind is TokenKind.STRING and before.upper == "AS" for before, each in pairwise(tokens[:_HEAD]))
