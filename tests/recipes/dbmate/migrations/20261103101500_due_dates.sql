-- migrate:up transaction:false
ALTER TABLE billing.invoices ADD COLUMN due_at timestamp;

-- migrate:down transaction:false
ALTER TABLE billing.invoices DROP COLUMN due_at;
