"""T-SQL needs no semicolons: where the next statement begins, told from the words themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.changes.lexer import NOTHING, Token, TokenKind

_ALWAYS: Final = frozenset(
    {
        *("INSERT", "UPDATE", "DELETE", "MERGE", "SELECT", "EXEC", "EXECUTE", "DECLARE", "PRINT", "GRANT", "REVOKE"),
        *("DENY", "TRUNCATE", "RETURN", "WHILE", "RAISERROR", "THROW", "COMMIT", "ROLLBACK", "SAVE", "USE", "BACKUP"),
        *("RESTORE", "DBCC", "WAITFOR", "BEGIN", "REVERT", "SP_RENAME", "BULK", "GOTO"),
    }
)
_OPENS: Final = frozenset({"CREATE", "ALTER", "DROP"})
_OBJECTS: Final = frozenset(
    {
        *("TABLE", "VIEW", "SCHEMA", "DATABASE", "PROCEDURE", "PROC", "FUNCTION", "TRIGGER", "INDEX", "UNIQUE"),
        *(
            "CLUSTERED",
            "NONCLUSTERED",
            "TYPE",
            "USER",
            "ROLE",
            "LOGIN",
            "SEQUENCE",
            "SYNONYM",
            "STATISTICS",
            "EXTERNAL",
        ),
        *("SECURITY", "OR", "PARTITION", "FULLTEXT", "XML", "SPATIAL", "COLUMNSTORE", "RULE", "DEFAULT", "ASSEMBLY"),
        *("APPLICATION", "AGGREGATE", "MATERIALIZED", "CERTIFICATE", "CREDENTIAL", "MASTER", "SYMMETRIC", "ASYMMETRIC"),
        *("SERVER", "AUTHORIZATION", "AVAILABILITY", "EVENT", "QUEUE", "SERVICE", "MESSAGE", "CONTRACT", "ROUTE"),
        *("RESOURCE", "WORKLOAD", "ENDPOINT", "CRYPTOGRAPHIC", "BROKER", "REMOTE", "SEARCH", "SIGNATURE", "COLUMN"),
    }
)
_GRANTS: Final = frozenset({"GRANT", "REVOKE", "DENY"})


class Starters:
    """Follows one statement and tells whether the next word begins another."""

    def __init__(self) -> None:
        """No statement has begun."""
        self.begin()

    def begin(self) -> None:
        """Forgets what went before: a statement has ended."""
        self._parens = 0
        self._cases = 0
        self._granting = False

    def starts(self, tokens: list[Token], token: Token, following: Callable[[], Token]) -> bool:
        """Whether `token` begins a statement of its own, behind those `tokens` of the present one."""
        word = token.upper
        if token.kind is TokenKind.SIGN:
            self._parens = max(0, self._parens + {"(": 1, ")": -1}.get(word, 0))
            return False
        if token.kind is not TokenKind.WORD or self._parens or not tokens:
            self._granting = self._granting or (not tokens and word in _GRANTS)
            return False
        before = tokens[-1]
        if before.upper == ".":
            return False
        if self._granting:
            self._granting = before.upper not in {"TO", "FROM"}
            return False
        if word == "CASE":
            self._cases += 1
            return False
        if self._cases and word in {"END", "ELSE"}:
            self._cases -= word == "END"
            return False
        return _begins(tokens, before, word, following)


def _begins(tokens: list[Token], before: Token, word: str, following: Callable[[], Token]) -> bool:
    if word == "ALTER" and before.upper == "OR":
        return False
    if word in _OPENS:
        return _opens(tokens[0].upper, before, word, following().upper)
    if word in {"UPDATE", "DELETE"} and before.upper in {"ON", "FOR", "AFTER", "OF", ",", "THEN"}:
        return before.upper == "THEN"
    if word in {"INSERT", "SELECT"} and before.upper in {"FOR", "AFTER", "OF", ","}:
        return False
    if word in {"EXEC", "EXECUTE"}:
        return before.upper != "WITH"
    if word in _GRANTS:
        return following().upper != "OPTION"
    if word == "SP_RENAME":
        return before.upper not in {"EXEC", "EXECUTE", "="}
    if word == "USE":
        return before.upper not in {"(", ","}
    if word in _ALWAYS or word in {"END", "ELSE"}:
        return True
    if word == "IF":
        after = following().upper
        return before.upper not in _OBJECTS | {"CONSTRAINT"} or after == "NOT"
    if word == "SET":
        option = following()
        plain = option.kind in {TokenKind.VARIABLE, TokenKind.WORD} and option.upper not in {"NULL", "DEFAULT"}
        return plain and before.upper != "ON"
    return False


def _opens(head: str, before: Token, word: str, following: str) -> bool:
    """CREATE, ALTER and DROP begin a statement where a kind of thing follows, but for the clauses of ALTER TABLE."""
    if before is NOTHING or following not in _OBJECTS:
        return False
    return not (head == "ALTER" and following in {"COLUMN", "ROLE"} | ({"INDEX"} if word == "ALTER" else set()))
