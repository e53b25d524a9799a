-- A partner's transactions of one of its customers; only rows that have one are in it. Online-safe: built
-- CONCURRENTLY, outside a transaction, readers and writers go on meanwhile; transactions that are open already are
-- waited for. One statement a file: several would be one transaction. An installation that has it from 0003 passes
-- over it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS transactions_by_customer ON transactions (partner_id, customer_id, created_at DESC, id DESC)
    WHERE customer_id IS NOT NULL;
