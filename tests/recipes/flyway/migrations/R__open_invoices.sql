CREATE OR REPLACE VIEW reporting.open_invoices AS
SELECT id FROM billing.invoices;
