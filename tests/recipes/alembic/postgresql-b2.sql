BEGIN;

-- Running upgrade a1 -> b2

ALTER TABLE billing.invoices ADD COLUMN due_at TIMESTAMP WITHOUT TIME ZONE;

UPDATE billing.invoices SET due_at = NULL;

UPDATE alembic_version SET version_num='b2' WHERE alembic_version.version_num = 'a1';

COMMIT;

