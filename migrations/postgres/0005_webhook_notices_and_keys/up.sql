-- What partners are told of their endpoints themselves, and endpoints that verify with a public key. Safe while instances
-- run: new columns are nullable without a default.

-- What a delivery tells that is no event: facts as JSON. It is of no transaction, so that transaction_id is the notice's
-- own id, and it has no place in the feed, so that its sequence counts down from -1.
ALTER TABLE deliveries ADD COLUMN notice TEXT;
-- Set where the endpoint's secret is the private half of a pair, which signs v1a.
ALTER TABLE endpoints ADD COLUMN public_key TEXT;
