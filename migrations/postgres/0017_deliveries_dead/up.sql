-- An endpoint's dead letters. Online-safe: built CONCURRENTLY, outside a transaction, readers and writers go on
-- meanwhile; transactions that are open already are waited for. One statement a file: several would be one
-- transaction. An installation that has it from 0004 passes over it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_dead ON deliveries (partner_id, endpoint_id, sequence)
    WHERE state = 'dead';
