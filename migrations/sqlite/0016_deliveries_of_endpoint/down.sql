DROP INDEX IF EXISTS deliveries_of_endpoint;
