DROP INDEX IF EXISTS deliveries_dead;
