ALTER TABLE audit_log DROP COLUMN detail;
ALTER TABLE audit_log DROP COLUMN source;
DROP TABLE sessions;
DROP TABLE operators;
