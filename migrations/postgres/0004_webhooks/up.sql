-- What partners may settle of an endpoint, the secret before the last rotation, and finding deliveries to replay. Safe while
-- instances run: new columns are nullable or have a constant default, and no table is rewritten; whoever delivers waits
-- while the two indexes are built, on a table that keeps 30 days.

ALTER TABLE endpoints ADD COLUMN previous_sealed_secret BYTEA;
ALTER TABLE endpoints ADD COLUMN previous_secret_until TIMESTAMPTZ;
ALTER TABLE endpoints ADD COLUMN failing_since TIMESTAMPTZ;
ALTER TABLE endpoints ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 8;
ALTER TABLE endpoints ADD COLUMN rate_per_second INTEGER;

-- A replayed delivery keeps its age, but counts as young when the deliveries of its transaction are put in order.
ALTER TABLE deliveries ADD COLUMN replayed_at TIMESTAMPTZ;
-- An event goes to an endpoint once; also how an endpoint's deliveries are listed.
CREATE UNIQUE INDEX deliveries_of_endpoint ON deliveries (partner_id, endpoint_id, sequence);
CREATE INDEX deliveries_dead ON deliveries (partner_id, endpoint_id, sequence) WHERE state = 'dead';
