-- Which delivery of a transaction comes first at an endpoint; has its name from PostgreSQL.
CREATE INDEX IF NOT EXISTS deliveries_in_turn ON deliveries (partner_id, endpoint_id, transaction_id, sequence) WHERE state = 'pending';
