-- When the last attempt to tell an endpoint failed and how, as on PostgreSQL: while it is failing, nobody can be left alone for
-- longer after that than the longest pause, whichever instance it is that leaves it alone. Safe while instances run: the
-- columns are new and may be empty.

ALTER TABLE endpoints ADD COLUMN last_failure_at INTEGER;
ALTER TABLE endpoints ADD COLUMN last_failure TEXT;
