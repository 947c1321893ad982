ALTER TABLE billing.invoices DROP COLUMN note;
DROP VIEW IF EXISTS reporting.open_invoices;
