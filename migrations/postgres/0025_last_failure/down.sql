ALTER TABLE endpoints DROP COLUMN last_failure;
ALTER TABLE endpoints DROP COLUMN last_failure_at;
