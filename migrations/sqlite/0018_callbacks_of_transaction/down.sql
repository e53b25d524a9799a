DROP INDEX IF EXISTS callbacks_of_transaction;
