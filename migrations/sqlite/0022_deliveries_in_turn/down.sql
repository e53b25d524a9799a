DROP INDEX IF EXISTS deliveries_in_turn;
