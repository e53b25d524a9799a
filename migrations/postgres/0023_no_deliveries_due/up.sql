-- Nobody looks there any more: 0021 has a better one. Online-safe: CONCURRENTLY waits for whoever still reads it, and holds
-- nobody up.
DROP INDEX CONCURRENTLY IF EXISTS deliveries_due;
