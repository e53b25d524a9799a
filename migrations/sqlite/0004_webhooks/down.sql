ALTER TABLE deliveries DROP COLUMN replayed_at;
ALTER TABLE endpoints DROP COLUMN rate_per_second;
ALTER TABLE endpoints DROP COLUMN concurrency;
ALTER TABLE endpoints DROP COLUMN failing_since;
ALTER TABLE endpoints DROP COLUMN previous_secret_until;
ALTER TABLE endpoints DROP COLUMN previous_sealed_secret;
