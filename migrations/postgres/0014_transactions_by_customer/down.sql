DROP INDEX CONCURRENTLY IF EXISTS transactions_by_customer;
