-- The access token of an account, shared by every process that works with it: a provider ends the previous token when it
-- gives a new one. Safe while instances run: the table is new.
CREATE TABLE account_tokens (
    account_id UUID PRIMARY KEY,
    sealed_token BYTEA,
    good_until TIMESTAMPTZ,
    fetching_until TIMESTAMPTZ
) WITH (fillfactor = 70);
