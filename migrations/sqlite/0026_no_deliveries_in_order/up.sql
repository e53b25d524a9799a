-- Nobody looks there any more: 0022 is the same.
DROP INDEX IF EXISTS deliveries_in_order;
