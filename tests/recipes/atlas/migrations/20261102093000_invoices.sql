-- atlas:txmode none

-- Create "invoices" table
CREATE TABLE "billing"."invoices" ("id" integer NOT NULL, "note" text NULL, PRIMARY KEY ("id"));
-- Modify "payments" table
ALTER TABLE "billing"."payments" ADD COLUMN "paid_at" timestamp NULL;
