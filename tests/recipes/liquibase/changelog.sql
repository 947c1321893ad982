--liquibase formatted sql

--changeset ada:1 labels:billing
CREATE TABLE billing.invoices (id int PRIMARY KEY, note varchar(50));
--rollback DROP TABLE billing.invoices;

--changeset ada:2 splitStatements:true endDelimiter:;
--comment: due dates; they come with the ledger
ALTER TABLE billing.invoices ADD COLUMN due_at timestamp;
--rollback ALTER TABLE billing.invoices DROP COLUMN due_at;

--changeset ben:3
ALTER TABLE billing.payments RENAME TO receipts;
/* liquibase rollback
ALTER TABLE billing.receipts RENAME TO payments;
DROP TABLE billing.ghost;
*/
