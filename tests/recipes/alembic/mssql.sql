BEGIN TRANSACTION;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

GO

-- Running upgrade  -> a1

CREATE TABLE billing.invoices (
    id INTEGER NOT NULL IDENTITY, 
    note VARCHAR(50) NULL DEFAULT 'it''s; new', 
    PRIMARY KEY (id)
);

GO

CREATE INDEX ix_invoices_note ON billing.invoices (note);

GO

CREATE TABLE billing.payments (
    id INTEGER NOT NULL IDENTITY, 
    invoice_id INTEGER NULL, 
    PRIMARY KEY (id), 
    FOREIGN KEY(invoice_id) REFERENCES billing.invoices (id)
);

GO

INSERT INTO alembic_version (version_num) OUTPUT inserted.version_num VALUES ('a1');

GO

-- Running upgrade a1 -> b2

ALTER TABLE billing.invoices ADD due_at DATETIME NULL;

GO

UPDATE billing.invoices SET due_at = NULL;

GO

UPDATE alembic_version SET version_num='b2' WHERE alembic_version.version_num = 'a1';

GO

-- Running upgrade b2 -> c3

EXEC sp_rename 'billing.payments', receipts;

GO

EXEC sp_rename 'billing.invoices.note', remark, 'COLUMN';

GO

ALTER TABLE billing.invoices DROP COLUMN due_at;

GO

UPDATE alembic_version SET version_num='c3' WHERE alembic_version.version_num = 'b2';

GO

COMMIT;

GO

