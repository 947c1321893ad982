"""The kinds of things that statements make, alter and drop: which of them hold columns that a model reads."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from orchestrator.changes.cursor import Cursor


class Level(Enum):
    """What a kind of thing is to a model."""

    TABLE = auto()
    """A table, a view, or what stands for one."""
    SCHEMA = auto()
    CATALOG = auto()
    NOTHING = auto()
    """Neither it nor its change is seen by any model."""
    ROUTINE = auto()
    """Something with a body that runs later."""


ADJECTIVES: Final = frozenset(
    {
        *("SECURE", "RECURSIVE", "FORCE", "NOFORCE", "LOCAL", "GLOBAL", "TRANSIENT", "UNLOGGED", "LOGGED", "HYBRID"),
        *("ICEBERG", "DYNAMIC", "IMMUTABLE", "SNAPSHOT", "MATERIALIZED", "LIVE", "STREAMING", "INTERACTIVE", "MANAGED"),
        *("EXTERNAL", "FOREIGN", "ONLINE", "OFFLINE", "PRIVATE", "SEMANTIC", "BASE", "IGNORE", "APACHE", "STABLE"),
        *(
            "PUBLIC",
            "TRUSTED",
            "PROCEDURAL",
            "PERSISTENT",
            "TEMP",
            "TEMPORARY",
            "VOLATILE",
            "EDITIONABLE",
            "NONEDITIONABLE",
            "PROTECTED",
            "VERSIONED",
        ),
    }
)
TEMPORARY: Final = frozenset({"TEMP", "TEMPORARY", "VOLATILE"})

_LEVELS: Final = {
    **dict.fromkeys(("TABLE", "TABLES", "VIEW", "VIEWS", "STREAM", "SYNONYM"), Level.TABLE),
    "SCHEMA": Level.SCHEMA,
    "NAMESPACE": Level.SCHEMA,
    "DATABASE": Level.CATALOG,
    "CATALOG": Level.CATALOG,
    **dict.fromkeys(("FUNCTION", "PROCEDURE", "PROC", "ROUTINE", "TRIGGER"), Level.ROUTINE),
}
_NOTHING: Final = frozenset(
    {
        *(
            "ALL",
            "INDEX",
            "UNIQUE",
            "CLUSTERED",
            "NONCLUSTERED",
            "COLUMNSTORE",
            "FULLTEXT",
            "SPATIAL",
            "SEARCH",
            "VECTOR",
            "XML",
        ),
        *("BLOOMFILTER", "PRIMARY", "AGGREGATE", "RULE", "SEQUENCE", "ROLE", "USER", "LOGIN", "GROUP", "EXTENSION"),
        *("TYPE", "DOMAIN", "CAST", "OPERATOR", "COLLATION", "CONVERSION", "LANGUAGE", "TEXT", "POLICY", "PUBLICATION"),
        *("SUBSCRIPTION", "SERVER", "DATA", "TABLESPACE", "STATISTICS", "ACCESS", "TRANSFORM", "EVENT", "CONSTRAINT"),
        *("LARGE", "DEFAULT", "OWNED", "PREPARE", "PREPARED", "WAREHOUSE", "STAGE", "FILE", "PIPE", "TASK", "ALERT"),
        *(
            "TAG",
            "MASKING",
            "ROW",
            "NETWORK",
            "PASSWORD",
            "SESSION",
            "PACKAGES",
            "PACKAGE",
            "AUTHENTICATION",
            "SECURITY",
        ),
        *("API", "STORAGE", "NOTIFICATION", "INTEGRATION", "SHARE", "RESOURCE", "SECRET", "STREAMLIT", "NOTEBOOK"),
        *("COMPUTE", "SERVICE", "IMAGE", "GIT", "CONNECTION", "ACCOUNT", "ORGANIZATION", "APPLICATION", "FAILOVER"),
        *("REPLICATION", "VOLUME", "CORTEX", "MODEL", "MACRO", "RESERVATION", "ASSIGNMENT", "CAPACITY", "BI_CAPACITY"),
        *(
            "PROJECT",
            "LIBRARY",
            "ASSEMBLY",
            "CERTIFICATE",
            "MASTER",
            "SYMMETRIC",
            "ASYMMETRIC",
            "CREDENTIAL",
            "PARTITION",
        ),
        *("QUEUE", "CONTRACT", "MESSAGE", "ROUTE", "BROKER", "ENDPOINT", "AVAILABILITY", "WORKLOAD", "CRYPTOGRAPHIC"),
        *("COLUMN", "REMOTE", "RECIPIENT", "PROVIDER", "VARIABLE", "DATASHARE", "IDENTITY", "RLS", "LOGFILE", "UNDO"),
        *(
            "INSTANCE",
            "AUTHORIZATION",
            "SYSTEM",
            "PROPERTY",
            "PROFILE",
            "ATTRIBUTE",
            "DATASET",
            "PROJECTION",
            "CONTACT",
        ),
        *(
            "AGGREGATION",
            "JOIN",
            "BACKUP",
            "CLEAN",
            "METADATA",
            "PRIVACY",
            "FEATURE",
            "SIGNATURE",
            "PLUGIN",
            "COMPONENT",
        ),
        *("FLOW", "DICTIONARY", "QUOTA", "SETTINGS", "WORKSPACE", "EXPERIMENT", "AGENT", "MCP"),
        *("WIDGET", "LOCATION", "SCHEDULE", "LISTING", "ARTIFACT", "BUDGET", "ANOMALY", "DBT", "GATEWAY", "CODE"),
    }
)
_AFTER: Final = {
    "DATABASE": frozenset({"ROLE", "SCOPED", "LINK", "AUDIT", "ENCRYPTION", "RESOURCE"}),
    "CATALOG": frozenset({"INTEGRATION"}),
    "TABLE": frozenset({"FUNCTION"}),
}


def is_kind(word: str) -> bool:
    """Return whether the word names a kind of thing, or stands before one."""
    return word in _LEVELS or word in _NOTHING or word in ADJECTIVES


def take_kind(cursor: Cursor) -> tuple[Level, str, frozenset[str]] | None:
    """The kind of thing that is named next, its word, and the adjectives before it; None if the kind is not known."""
    adjectives: set[str] = set()
    while word := cursor.take_any(ADJECTIVES):
        adjectives.add(word)
    kind = cursor.word
    following = cursor.peek(1).upper
    if kind == "EVENT" and following == "TABLE":
        cursor.next()
        kind, following = "TABLE", cursor.peek(1).upper
    level = _LEVELS.get(kind)
    if level is None and "SNAPSHOT" in adjectives:
        return Level.NOTHING, "SNAPSHOT", frozenset()
    if level is None:
        if kind not in _NOTHING:
            return None
        level = Level.ROUTINE if kind in {"TASK", "EVENT", "ALERT", "RULE"} else Level.NOTHING
    elif following in _AFTER.get(kind, frozenset()):
        level = Level.NOTHING
    cursor.next()
    return level, kind, frozenset(adjectives)
