DROP INDEX transactions_by_customer;
DROP INDEX transactions_by_reference;
