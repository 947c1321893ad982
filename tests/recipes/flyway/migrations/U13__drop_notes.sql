ALTER TABLE billing.invoices ADD COLUMN note text;
CREATE TABLE billing.ghost (id integer);
