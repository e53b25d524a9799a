-- What is due at an endpoint, in the very order in which it is taken. Of thousands that are due at the same moment (a
-- replay, a pause that ends) the index of before left all to be sorted, for each few that were taken. The service waits
-- while it is built.
CREATE INDEX IF NOT EXISTS deliveries_to_send ON deliveries (partner_id, endpoint_id, due_at, sequence) WHERE state = 'pending';
