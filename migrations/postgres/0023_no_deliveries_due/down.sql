CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_due ON deliveries (partner_id, endpoint_id, due_at) WHERE state = 'pending';
