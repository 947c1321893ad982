"""The tables in which migration tools record what they ran. No model reads them."""

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
    """Return whether a name is such a table without a schema, which would count as affecting every model.

    If its schema is known, it counts as any other table.
    """
    return name.schema is None and name.table is not None and name.table.lower() in _BOOKS
