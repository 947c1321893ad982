"""The words that rules know: verbs that change nothing, and the kinds of things that statements create, alter and drop."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from orchestrator.changes.errors import UnknownFormError
from orchestrator.changes.lexer import Cursor, words

SKIPPED: Final = words("""
    INSERT UPDATE DELETE MERGE COPY UNLOAD LOAD PUT GET VALUES TRUNCATE GRANT REVOKE COMMENT ANALYZE ANALYSE VACUUM SHOW DESCRIBE
    DESC LOCK UNLOCK
""")
"""First words of statements whose other words are not looked at: data, rights, remarks. Large migrations consist mostly of these."""

CALLING: Final = words(
    "SELECT WITH FROM ( PERFORM INSERT UPDATE DELETE MERGE COPY UNLOAD VALUES RETURN ASSERT SET LET OPEN"
)
"""First words of statements that run the functions that they call."""

HARMLESS: Final = (
    SKIPPED
    | {"", ")"}
    | words("""
    DENY UPSERT LIST LS REMOVE RM TABLE START COMMIT ROLLBACK ABORT SAVEPOINT SAVE RELEASE RESET UNSET LISTEN NOTIFY UNLISTEN
    DISCARD DEALLOCATE FETCH MOVE CLOSE OPEN CHECKPOINT CLUSTER REINDEX REFRESH INSTALL PRAGMA CHECK CHECKSUM OPTIMIZE REPAIR FLUSH
    KILL HANDLER HELP PURGE BINLOG CHANGE XA BACKUP PRINT RAISERROR THROW RETURN WAITFOR RECONFIGURE DBCC CACHE UNCACHE CLEAR MSCK
    REORG FSCK GENERATE SECURITY REASSIGN SUMMARIZE PIVOT UNPIVOT EXPORT ATTACH DETACH ASSERT RAISE PERFORM NULL EXIT CONTINUE
    ITERATE LEAVE BREAK SIGNAL RESIGNAL UNTIL GOTO REVERT ENABLE DISABLE BULK READTEXT WRITETEXT UPDATETEXT SHUTDOWN STOP RESUME
    SUSPEND CANCEL AWAIT UNINSTALL AUDIT NOAUDIT APPLY AUTO ADD QUIT PROMPT WHENEVER SPOOL
""")
)
"""First words of statements that neither create, change nor remove a table, a view or a column."""


class Level(Enum):
    """What a kind of thing is to a model."""

    TABLE = auto()
    """A table, a view, or something that models read like one."""
    SCHEMA = auto()
    CATALOG = auto()
    NOTHING = auto()
    """No model sees it or its change."""
    ROUTINE = auto()
    """Something with a body that runs later."""


ADJECTIVES: Final = words("""
    SECURE RECURSIVE FORCE NOFORCE LOCAL GLOBAL TRANSIENT UNLOGGED LOGGED HYBRID ICEBERG DYNAMIC IMMUTABLE SNAPSHOT MATERIALIZED LIVE
    STREAMING INTERACTIVE MANAGED EXTERNAL FOREIGN ONLINE OFFLINE PRIVATE SEMANTIC BASE IGNORE APACHE STABLE PUBLIC TRUSTED PROCEDURAL
    PERSISTENT TEMP TEMPORARY VOLATILE EDITIONABLE NONEDITIONABLE PROTECTED VERSIONED
""")
TEMPORARY: Final = words("TEMP TEMPORARY VOLATILE")

LEVELS: Final = {
    **dict.fromkeys(words("TABLE TABLES VIEW VIEWS STREAM SYNONYM"), Level.TABLE),
    **dict.fromkeys(words("SCHEMA NAMESPACE"), Level.SCHEMA),
    **dict.fromkeys(words("DATABASE CATALOG"), Level.CATALOG),
    **dict.fromkeys(words("FUNCTION PROCEDURE PROC ROUTINE TRIGGER TASK EVENT ALERT RULE"), Level.ROUTINE),
    **dict.fromkeys(
        words("""
    ALL INDEX UNIQUE CLUSTERED NONCLUSTERED COLUMNSTORE FULLTEXT SPATIAL SEARCH VECTOR XML BLOOMFILTER PRIMARY AGGREGATE SEQUENCE ROLE
    USER LOGIN GROUP EXTENSION TYPE DOMAIN CAST OPERATOR COLLATION CONVERSION LANGUAGE TEXT POLICY PUBLICATION SUBSCRIPTION SERVER DATA
    TABLESPACE STATISTICS ACCESS TRANSFORM CONSTRAINT LARGE DEFAULT OWNED PREPARE PREPARED WAREHOUSE STAGE FILE PIPE TAG MASKING ROW
    NETWORK PASSWORD SESSION PACKAGES PACKAGE AUTHENTICATION SECURITY API STORAGE NOTIFICATION INTEGRATION SHARE RESOURCE SECRET
    STREAMLIT NOTEBOOK COMPUTE SERVICE IMAGE GIT CONNECTION ACCOUNT ORGANIZATION APPLICATION FAILOVER REPLICATION VOLUME CORTEX MODEL
    MACRO RESERVATION ASSIGNMENT CAPACITY BI_CAPACITY PROJECT LIBRARY ASSEMBLY CERTIFICATE MASTER SYMMETRIC ASYMMETRIC CREDENTIAL
    PARTITION QUEUE CONTRACT MESSAGE ROUTE BROKER ENDPOINT AVAILABILITY WORKLOAD CRYPTOGRAPHIC COLUMN REMOTE RECIPIENT PROVIDER VARIABLE
    DATASHARE IDENTITY RLS LOGFILE UNDO INSTANCE AUTHORIZATION SYSTEM PROPERTY PROFILE ATTRIBUTE DATASET PROJECTION CONTACT AGGREGATION
    JOIN BACKUP CLEAN METADATA PRIVACY FEATURE SIGNATURE PLUGIN COMPONENT FLOW DICTIONARY QUOTA SETTINGS WORKSPACE EXPERIMENT AGENT MCP
    WIDGET LOCATION SCHEDULE LISTING ARTIFACT BUDGET ANOMALY DBT GATEWAY CODE
"""),
        Level.NOTHING,
    ),
}
_AFTER: Final = {
    "DATABASE": words("ROLE SCOPED LINK AUDIT ENCRYPTION RESOURCE"),
    "CATALOG": words("INTEGRATION"),
    "TABLE": words("FUNCTION"),
}
"""Words behind a kind that make another kind of it."""


def is_kind(word: str) -> bool:
    """Return whether the word names a kind of thing, or may precede one."""
    return word in LEVELS or word in ADJECTIVES


def take_kind(cursor: Cursor) -> tuple[Level, str, frozenset[str]]:
    """Take the kind of thing that is named next: its level, its word and the adjectives before it.

    Raises `UnknownFormError` if the kind is not known.
    """
    adjectives: set[str] = set()
    while word := cursor.take_any(ADJECTIVES):
        adjectives.add(word)
    if cursor.word == "EVENT" and cursor.peek(1).upper == "TABLE":
        cursor.next()
    kind = cursor.word
    level = LEVELS.get(kind)
    if "SNAPSHOT" in adjectives and level in {None, Level.NOTHING, Level.ROUTINE}:
        return Level.NOTHING, "SNAPSHOT", frozenset()
    if level is None:
        raise UnknownFormError
    cursor.next()
    return Level.NOTHING if cursor.word in _AFTER.get(kind, ()) else level, kind, frozenset(adjectives)
