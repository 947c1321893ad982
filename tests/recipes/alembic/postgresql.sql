BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> a1

CREATE TABLE billing.invoices (
    id SERIAL NOT NULL, 
    note VARCHAR(50) DEFAULT 'it''s; new', 
    PRIMARY KEY (id)
);

CREATE INDEX ix_invoices_note ON billing.invoices (note);

CREATE TABLE billing.payments (
    id SERIAL NOT NULL, 
    invoice_id INTEGER, 
    PRIMARY KEY (id), 
    FOREIGN KEY(invoice_id) REFERENCES billing.invoices (id)
);

INSERT INTO alembic_version (version_num) VALUES ('a1') RETURNING alembic_version.version_num;

-- Running upgrade a1 -> b2

ALTER TABLE billing.invoices ADD COLUMN due_at TIMESTAMP WITHOUT TIME ZONE;

UPDATE billing.invoices SET due_at = NULL;

UPDATE alembic_version SET version_num='b2' WHERE alembic_version.version_num = 'a1';

-- Running upgrade b2 -> c3

ALTER TABLE billing.payments RENAME TO receipts;

ALTER TABLE billing.invoices RENAME note TO remark;

ALTER TABLE billing.invoices DROP COLUMN due_at;

UPDATE alembic_version SET version_num='c3' WHERE alembic_version.version_num = 'b2';

COMMIT;

