CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_in_order ON deliveries (partner_id, endpoint_id, transaction_id, sequence)
    WHERE state = 'pending';
