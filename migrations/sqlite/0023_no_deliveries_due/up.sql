-- Nobody looks there any more: 0021 has a better one.
DROP INDEX IF EXISTS deliveries_due;
