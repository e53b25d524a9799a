DROP INDEX callbacks_unreadable;
DROP INDEX callbacks_of_transaction;
DROP INDEX audit_log_partner;
ALTER TABLE audit_log DROP COLUMN detail;
ALTER TABLE audit_log DROP COLUMN source;
DROP TABLE sessions;
DROP TABLE operators;
