"""Where a statement begins although nothing ended the one before.

In T-SQL no statement needs a semicolon. In the other dialects, the last statement of a file or of a part needs none, and people and
tools put files together: there, a word that begins a line may begin a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from orchestrator.changes.cursor import words
from orchestrator.changes.dialects import Dialect
from orchestrator.changes.keywords import ADJECTIVES, is_kind
from orchestrator.changes.lexer import Token, TokenKind

LINE_VERBS: Final = words("CREATE ALTER DROP RENAME UNDROP DO EXECUTE USE SET SELECT CALL")
"""First words, in a line, that may begin a statement although the one before has no semicolon."""
RIGHTS: Final = words("GRANT REVOKE DENY")
_OPEN: Final = words("""
    , ( . = + - / || := :: => : < > [ % AS THEN ELSE DO BEGIN LOOP REPEAT ROW ATOMIC INSTEAD ALSO OR FOR EXPLAIN ANALYZE VERBOSE
    IMMEDIATE DECLARE TRY CATCH
""")
"""A statement that ends in one of these is not complete."""
_STANDING: Final = words("""
    TABLE VIEW MATERIALIZED SCHEMA DATABASE SEQUENCE FUNCTION PROCEDURE PROC EXTENSION DOMAIN TYPE TEMPORARY TEMP DYNAMIC EXTERNAL
    CATALOG
""")
"""What ALTER and DROP may name behind an ALTER: the other kinds (a column, an index) are parts of what it alters."""
_PLACES: Final = words("CREATE ALTER DROP")
_ALWAYS: Final = words("""
    INSERT UPDATE DELETE MERGE SELECT EXEC EXECUTE DECLARE PRINT GRANT REVOKE DENY TRUNCATE RETURN WHILE RAISERROR THROW COMMIT ROLLBACK
    SAVE USE BACKUP RESTORE DBCC WAITFOR BEGIN REVERT SP_RENAME BULK GOTO END ELSE
""")
"""Words that begin a statement of T-SQL, except behind the words in `_PARTS`."""
_PARTS: Final = {
    **dict.fromkeys(("UPDATE", "DELETE"), words("ON FOR AFTER OF ,")),
    **dict.fromkeys(("INSERT", "SELECT"), words("FOR AFTER OF ,")),
    **dict.fromkeys(("EXEC", "EXECUTE"), words("WITH")),
    "SP_RENAME": words("EXEC EXECUTE ="),
    "USE": words("( ,"),
}
_HEAD: Final = 200
"""How many tokens of a routine are searched for its body."""


def begins_statement(
    tokens: Sequence[Token], token: Token, ahead: Sequence[Token], dialect: Dialect, *, routine: bool
) -> bool:
    """Return whether `token`, first in its line, begins a statement behind `tokens`, in which no parenthesis is open.

    `routine` says that these define a routine, and `ahead` holds the four tokens behind the token.
    """
    following = ahead[0]
    head, word = tokens[0].upper, token.upper
    if tokens[-1].upper in _OPEN and head != "ANALYZE":
        return False
    if word == "CREATE" and head == "CREATE" and dialect.views_depend and tokens[1].upper == "SCHEMA":
        return tokens[2].upper == "IF"  # else it is an element of the new schema
    if word == "DO":
        begins = following.kind is TokenKind.STRING
    elif word == "EXECUTE":
        begins = following.upper == "IMMEDIATE"
    elif word == "RENAME":
        begins = following.upper in {"TABLE", "TABLES", "OBJECT"}
    elif word == "SET":
        begins = following.upper in {"SEARCH_PATH", "SCHEMA"} and head in {"CREATE", "DROP"} and not routine
    elif word in {"SELECT", "CALL"}:
        begins = head not in {"EXPLAIN", "WITH"} and _calls(ahead)
    elif word == "USE":
        begins = following.kind in {TokenKind.WORD, TokenKind.QUOTED} and head in _PLACES and not routine
    else:
        begins = _names_kind(head, word, following)
    if not begins or (head == "ALTER" and _is_bare(tokens)):
        return False
    return not routine or _is_whole(tokens, dialect)


def _calls(ahead: Sequence[Token]) -> bool:
    """Return whether a function or a procedure is called first, which may change tables: `f(`, `s.f(`."""
    named = ahead[2:] if ahead[1].upper == "." else ahead
    return named[0].kind in {TokenKind.WORD, TokenKind.QUOTED} and named[1].upper == "("


def _names_kind(head: str, word: str, following: Token) -> bool:
    """Return whether CREATE, ALTER or DROP begins a statement: a kind of thing follows, and it is no clause of an ALTER."""
    if word == "CREATE" or head != "ALTER":
        return following.upper == "OR" or is_kind(following.upper)
    return following.upper in _STANDING


def _is_bare(tokens: Sequence[Token]) -> bool:
    """Return whether nothing stands behind the name of what is altered yet."""
    if len(tokens) > 16:
        return False
    after = [each for each in tokens[1:] if each.upper not in ADJECTIVES | {"IF", "EXISTS", "ONLY", "*"}]
    while after and is_kind(after[0].upper):
        after = after[1:]
    return all((each.upper == ".") is bool(number % 2) for number, each in enumerate(after))


def _is_whole(tokens: Sequence[Token], dialect: Dialect) -> bool:
    """Return whether a routine's definition has its body: a string, a block that has ended, or the function that it runs."""
    if dialect.escape_strings or "END" in {each.upper for each in tokens[-2:]}:
        return True
    return any(each.kind is TokenKind.STRING and before.upper == "AS" for before, each in pairwise(tokens[:_HEAD]))


class Starters:
    """Follows one statement of T-SQL, and says whether the next word begins another."""

    def __init__(self) -> None:
        """No statement has begun."""
        self.begin()

    def begin(self) -> None:
        """Start anew: a statement has ended."""
        self._parens = 0
        self._cases = 0
        self._granting = False

    def starts(self, tokens: list[Token], token: Token, following: Callable[[], Token]) -> bool:
        """Return whether `token` begins a statement of its own, behind those `tokens` of the present one."""
        word = token.upper
        if token.kind is TokenKind.SIGN:
            self._parens = max(0, self._parens + (word == "(") - (word == ")"))
            return False
        if token.kind is not TokenKind.WORD or self._parens or not tokens:
            self._granting = self._granting or (not tokens and word in RIGHTS)
            return False
        before = tokens[-1].upper
        if before == ".":
            return False
        if self._granting:
            self._granting = before not in {"TO", "FROM"}
            return False
        if word == "CASE" or (self._cases and word in {"END", "ELSE"}):
            self._cases += (word == "CASE") - (word == "END")
            return False
        return _begins(tokens, word, following)


def _begins(tokens: list[Token], word: str, following: Callable[[], Token]) -> bool:
    before = tokens[-1].upper
    if word in _PLACES:
        return not (word == "ALTER" and before == "OR") and _names_kind(tokens[0].upper, word, following())
    if word in RIGHTS:
        return following().upper != "OPTION"
    if word in _ALWAYS:
        return before not in _PARTS.get(word, ())
    if word == "IF":
        return not (is_kind(before) or before == "OR") or following().upper == "NOT"
    if word == "SET":
        option = following()
        plain = option.kind in {TokenKind.VARIABLE, TokenKind.WORD} and option.upper not in {"NULL", "DEFAULT"}
        return plain and before != "ON"
    return False
