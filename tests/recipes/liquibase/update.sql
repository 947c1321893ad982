-- *********************************************************************
-- Update Database Script
-- *********************************************************************
-- Change Log: changelog.xml
-- Against: ada@jdbc:postgresql://db.example.com/warehouse
-- Liquibase version: 4.29.2
-- *********************************************************************

-- Create Database Lock Table
CREATE TABLE IF NOT EXISTS databasechangeloglock (ID INTEGER NOT NULL, LOCKED BOOLEAN NOT NULL, LOCKGRANTED TIMESTAMP WITHOUT TIME ZONE, LOCKEDBY VARCHAR(255), CONSTRAINT databasechangeloglock_pkey PRIMARY KEY (ID));

-- Initialize Database Lock Table
DELETE FROM databasechangeloglock;

INSERT INTO databasechangeloglock (ID, LOCKED) VALUES (1, FALSE);

-- Create Database Change Log Table
CREATE TABLE IF NOT EXISTS databasechangelog (ID VARCHAR(255) NOT NULL, AUTHOR VARCHAR(255) NOT NULL, FILENAME VARCHAR(255) NOT NULL, DATEEXECUTED TIMESTAMP WITHOUT TIME ZONE NOT NULL);

-- Changeset changelog.xml::1::ada
CREATE TABLE billing.invoices (id INTEGER NOT NULL, note VARCHAR(50), CONSTRAINT invoices_pkey PRIMARY KEY (id));

INSERT INTO databasechangelog (ID, AUTHOR, FILENAME, DATEEXECUTED) VALUES ('1', 'ada', 'changelog.xml', NOW());

-- Changeset changelog.xml::2::ada
ALTER TABLE billing.invoices ADD due_at TIMESTAMP WITHOUT TIME ZONE;

INSERT INTO databasechangelog (ID, AUTHOR, FILENAME, DATEEXECUTED) VALUES ('2', 'ada', 'changelog.xml', NOW());

-- Release Database Lock
UPDATE databasechangeloglock SET LOCKED = FALSE, LOCKEDBY = NULL, LOCKGRANTED = NULL WHERE ID = 1;
