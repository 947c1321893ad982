CREATE TABLE {{ database }}.billing.invoices (id NUMBER);
