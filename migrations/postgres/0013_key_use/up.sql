-- When a key was last used, to the minute or so: nobody dares to revoke a key that may be in use.

ALTER TABLE api_keys ADD COLUMN last_used_at TIMESTAMPTZ;
