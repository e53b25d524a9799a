-- When a key was last used, to the minute or so, as on PostgreSQL: nobody dares to revoke a key that may be in use. Safe
-- while instances run: the column is new and may be empty.

ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
