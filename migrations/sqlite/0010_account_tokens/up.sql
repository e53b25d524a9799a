-- The access token of an account, shared by every process that works with it: a provider ends the previous token when it
-- gives a new one.
CREATE TABLE account_tokens (
    account_id TEXT PRIMARY KEY NOT NULL,
    sealed_token BLOB,
    good_until INTEGER,
    fetching_until INTEGER
);
