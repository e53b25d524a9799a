DROP INDEX IF EXISTS deliveries_to_send;
