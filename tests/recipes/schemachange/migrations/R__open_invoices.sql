CREATE OR REPLACE VIEW warehouse.reporting.open_invoices AS
SELECT id FROM warehouse.billing.invoices;
