-- atlas:delimiter \n\n\n

-- Rename a column from "note" to "remark"
ALTER TABLE "billing"."invoices" RENAME COLUMN "note" TO "remark";


-- Drop "legacy" table
DROP TABLE "billing"."legacy";
