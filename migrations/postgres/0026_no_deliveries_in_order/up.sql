-- Nobody looks there any more: 0022 has a better one. Online-safe: CONCURRENTLY waits for whoever still reads it, and holds
-- nobody up.
DROP INDEX CONCURRENTLY IF EXISTS deliveries_in_order;
