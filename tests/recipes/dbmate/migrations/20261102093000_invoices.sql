-- migrate:up
CREATE TABLE billing.invoices (
  id integer,
  note text
);

-- migrate:down
DROP TABLE billing.invoices;
