"""The words that begin statements: which change nothing that a model reads, whatever follows."""

from __future__ import annotations

from typing import Final

SKIPPED: Final = frozenset(
    {
        *("INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "UNLOAD", "LOAD", "PUT", "GET", "VALUES"),
        *("TRUNCATE", "GRANT", "REVOKE", "COMMENT", "ANALYZE", "ANALYSE", "VACUUM", "SHOW", "DESCRIBE"),
        *("DESC", "LOCK", "UNLOCK"),
    }
)
"""Passed over without a look at their words: data, rights, remarks. They are most of what large migrations hold."""

HARMLESS: Final = SKIPPED | frozenset(
    {
        *("DENY", "UPSERT", "LIST", "LS", "REMOVE", "RM", "TABLE", "START", "COMMIT", "ROLLBACK", "ABORT", "SAVEPOINT"),
        *(
            "SAVE",
            "RELEASE",
            "RESET",
            "UNSET",
            "LISTEN",
            "NOTIFY",
            "UNLISTEN",
            "DISCARD",
            "DEALLOCATE",
            "FETCH",
            "MOVE",
        ),
        *("CLOSE", "OPEN", "CHECKPOINT", "CLUSTER", "REINDEX", "REFRESH", "INSTALL", "PRAGMA", "CHECK", "CHECKSUM"),
        *(
            "OPTIMIZE",
            "REPAIR",
            "FLUSH",
            "KILL",
            "HANDLER",
            "HELP",
            "PURGE",
            "BINLOG",
            "CHANGE",
            "XA",
            "BACKUP",
            "PRINT",
        ),
        *("RAISERROR", "THROW", "RETURN", "WAITFOR", "RECONFIGURE", "DBCC", "CACHE", "UNCACHE", "CLEAR", "MSCK"),
        *("REORG", "FSCK", "GENERATE", "SECURITY", "REASSIGN", "SUMMARIZE", "PIVOT", "UNPIVOT", "EXPORT", "ATTACH"),
        *("DETACH", "ASSERT", "RAISE", "PERFORM", "NULL", "EXIT", "CONTINUE", "ITERATE", "LEAVE", "BREAK", "SIGNAL"),
        *(
            "RESIGNAL",
            "UNTIL",
            "GOTO",
            "REVERT",
            "ENABLE",
            "DISABLE",
            "BULK",
            "READTEXT",
            "WRITETEXT",
            "UPDATETEXT",
            "SHUTDOWN",
        ),
        *("STOP", "RESUME", "SUSPEND", "CANCEL", "AWAIT", "UNINSTALL", "AUDIT", "NOAUDIT"),
        *("APPLY", "AUTO", "ADD", "QUIT", "PROMPT", "WHENEVER", "SPOOL"),
    }
)
"""First words of statements that neither make, change nor remove a table, a view or a column."""
