-- Which delivery of a transaction comes first at an endpoint. Like 0021 it says what goes without saying, so that nobody
-- who asks what is due is led here, to sort it all. Online-safe: built CONCURRENTLY, outside a transaction.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_in_turn ON deliveries (partner_id, endpoint_id, transaction_id, sequence)
    WHERE state = 'pending' AND sequence IS NOT NULL;
