ALTER TABLE endpoints DROP COLUMN public_key;
DELETE FROM deliveries WHERE notice IS NOT NULL;
ALTER TABLE deliveries DROP COLUMN notice;
