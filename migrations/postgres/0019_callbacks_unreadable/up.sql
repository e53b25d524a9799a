-- Callbacks that could not be understood. Online-safe: built CONCURRENTLY, outside a transaction, readers and writers
-- go on meanwhile; transactions that are open already are waited for. One statement a file: several would be one
-- transaction. An installation that has it from 0008 passes over it.
CREATE INDEX CONCURRENTLY IF NOT EXISTS callbacks_unreadable ON callbacks (id)
    WHERE state = 'unreadable';
