-- A partner's transactions with one of its references; only rows that have one are in it. Online-safe: built
-- CONCURRENTLY, outside a transaction, readers and writers go on meanwhile; transactions that are open already are
-- waited for. One statement a file: several would be one transaction. An installation that has it from 0003 passes
-- over it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS transactions_by_reference ON transactions (partner_id, account_reference, created_at DESC, id DESC)
    WHERE account_reference IS NOT NULL;
