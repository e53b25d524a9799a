-- What partners may settle of an endpoint, and the secret before the last rotation. Safe while instances run: new columns
-- are nullable or have a constant default, and no table is rewritten. Two indexes on deliveries are built by 0016 and 0017.

ALTER TABLE endpoints ADD COLUMN previous_sealed_secret BYTEA;
ALTER TABLE endpoints ADD COLUMN previous_secret_until TIMESTAMPTZ;
ALTER TABLE endpoints ADD COLUMN failing_since TIMESTAMPTZ;
ALTER TABLE endpoints ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 8;
ALTER TABLE endpoints ADD COLUMN rate_per_second INTEGER;

-- A replayed delivery keeps its age, but counts as young when the deliveries of its transaction are put in order.
ALTER TABLE deliveries ADD COLUMN replayed_at TIMESTAMPTZ;
