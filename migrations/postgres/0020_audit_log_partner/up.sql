-- What was done to a partner's things. Online-safe: built CONCURRENTLY, outside a transaction, readers and writers go
-- on meanwhile; transactions that are open already are waited for. One statement a file: several would be one
-- transaction. An installation that has it from 0008 passes over it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_log_partner ON audit_log (partner_id, id);
