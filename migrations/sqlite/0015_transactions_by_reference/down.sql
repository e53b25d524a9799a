DROP INDEX IF EXISTS transactions_by_reference;
