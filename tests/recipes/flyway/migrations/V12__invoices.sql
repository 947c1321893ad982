-- Flyway: one versioned migration
SET search_path TO billing;

CREATE TABLE invoices (
    id integer PRIMARY KEY,
    note text DEFAULT 'it''s new; really'
);
CREATE INDEX invoices_note ON invoices (note);
