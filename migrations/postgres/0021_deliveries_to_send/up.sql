-- What is due at an endpoint, in the very order in which it is taken. Of thousands that are due at the same moment (a
-- replay, a pause that ends) the index of before left all to be sorted, for each few that were taken. That the time is
-- there goes without saying; it is said so that this index and no other serves those who say it too. Online-safe: built
-- CONCURRENTLY, outside a transaction, readers and writers go on meanwhile.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_to_send ON deliveries (partner_id, endpoint_id, due_at, sequence)
    WHERE state = 'pending' AND due_at IS NOT NULL;
