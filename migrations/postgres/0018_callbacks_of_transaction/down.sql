DROP INDEX CONCURRENTLY IF EXISTS callbacks_of_transaction;
