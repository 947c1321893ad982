"""The tables in which migration tools keep their own books: a change like any other, which no model waits for."""

from __future__ import annotations

from typing import Final

from orchestrator.changes.change_set import ObjectName

_BOOKS: Final = frozenset(
    {
        *("flyway_schema_history", "schema_version", "databasechangelog", "databasechangeloglock", "schema_migrations"),
        *("ar_internal_metadata", "goose_db_version", "alembic_version", "gorp_migrations", "atlas_schema_revisions"),
        *("__efmigrationshistory", "__drizzle_migrations", "_prisma_migrations", "knex_migrations", "pgmigrations"),
        *("knex_migrations_lock", "sequelizemeta", "django_migrations", "doctrine_migration_versions"),
        *("_sqlx_migrations", "refinery_schema_history", "__diesel_schema_migrations", "micrate_db_version"),
        *("schema_lock", "typeorm_metadata", "dbmate_migrations", "yoyo_lock", "_yoyo_migration", "_yoyo_version"),
    }
)


def is_bookkeeping(name: ObjectName) -> bool:
    """Whether that is such a table, of which nobody said the schema: else it would concern every model. One whose schema is
    known concerns those that read it.
    """
    return name.schema is None and name.table is not None and name.table.lower() in _BOOKS
