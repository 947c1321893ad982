"""Makes the schema of a PostgreSQL store, and says which rights a role lacks."""

from __future__ import annotations

from typing import Final

from orchestrator.journal.database import NO_PATIENCE, JournalError
from orchestrator.journal.layout import JOURNAL, SHARED
from orchestrator.journal.postgres import (
    NO_SCHEMA,
    SCHEMA,
    PostgresDatabase,
    conninfo_of,
    migrate,
)
from orchestrator.journal.postgres_link import HISTORY, Link, StoreClock, close_all_keys


def initialise(url: str, *, salt: str) -> bool:
    """Make the state in a database, or migrate it; return whether it was made.

    Raises `JournalError`, also for a state of a newer version. The first window of each key is closed, because what was sent before is not known.
    """
    database = PostgresDatabase(url, JOURNAL, NO_PATIENCE, StoreClock())
    link = Link(conninfo_of(url), StoreClock())
    try:
        with database.explained(link):
            try:
                transaction = link.begin()
                if not transaction.execute("SELECT 1 FROM pg_namespace WHERE nspname = ?", (SCHEMA,)).fetchone():
                    transaction.execute(f"CREATE SCHEMA {SCHEMA}")
                transaction.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
                transaction.execute("LOCK TABLE meta")
                is_new = not transaction.execute("SELECT 1 FROM meta").fetchone()
                for layout in (JOURNAL, SHARED):
                    migrate(transaction, layout, database.name)
                if is_new:
                    ((history,),) = transaction.read(f"SELECT {HISTORY}")
                    transaction.executemany(
                        "INSERT INTO meta (name, value) VALUES (?, ?)", [("salt", salt), ("history", history)]
                    )
                    close_all_keys(transaction, link.clock)
                link.commit()
            except BaseException:
                link.give_up()
                raise
        return is_new
    finally:
        link.close()
        database.close()


_RELATIONS: Final = """
SELECT relname, wanted, has_table_privilege(pg_class.oid, wanted)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS rights(wanted, number)
WHERE nspname = %s AND (relkind = 'r' OR (relkind = 'v' AND wanted = 'SELECT'))
ORDER BY relname, number
"""
_FUNCTIONS: Final = ("pg_control_system()", "pg_walfile_name(pg_lsn)", "pg_current_wal_insert_lsn()")


def missing_rights(url: str) -> list[str]:
    """Return what the role lacks to run, as statements that grant it. Raises `JournalError` if there is no state to check."""
    database = PostgresDatabase(url, JOURNAL, NO_PATIENCE, StoreClock())
    link = Link(conninfo_of(url), StoreClock())
    try:
        with database.explained(link):
            connection = link.connect()
            # a transaction of the program's own would need some of these rights to begin
            found = [
                f"GRANT EXECUTE ON FUNCTION {function}"
                for function in _FUNCTIONS
                if connection.execute("SELECT has_function_privilege(%s, 'EXECUTE')", (function,)).fetchone() != (True,)
            ]
            if connection.execute("SELECT has_schema_privilege(%s, 'USAGE')", (SCHEMA,)).fetchone() != (True,):
                found.append(f"GRANT USAGE ON SCHEMA {SCHEMA}")
            rights = connection.execute(_RELATIONS, (SCHEMA,)).fetchall()
    finally:
        link.close()
        database.close()
    if not rights:
        raise JournalError(f"{database.name} cannot be used: {NO_SCHEMA}", code="uninitialized-state")
    return [*found, *(f"GRANT {right} ON {SCHEMA}.{name}" for name, right, has in rights if not has)]
