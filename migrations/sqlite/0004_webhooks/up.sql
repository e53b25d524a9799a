-- What partners may settle of an endpoint, and the secret before the last rotation, as on PostgreSQL.

ALTER TABLE endpoints ADD COLUMN previous_sealed_secret BLOB;
ALTER TABLE endpoints ADD COLUMN previous_secret_until INTEGER;
ALTER TABLE endpoints ADD COLUMN failing_since INTEGER;
ALTER TABLE endpoints ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 8;
ALTER TABLE endpoints ADD COLUMN rate_per_second INTEGER;

-- A replayed delivery keeps its age, but counts as young when the deliveries of its transaction are put in order.
ALTER TABLE deliveries ADD COLUMN replayed_at INTEGER;
