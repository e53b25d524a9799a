-- Writers of the table wait while these are built, readers do not: nothing on a new installation, some seconds a million
-- rows on one that has grown before. There, build them first by hand with CREATE INDEX CONCURRENTLY; IF NOT EXISTS then
-- passes them over.
-- What a partner's own customer or reference finds; only rows that have one are in it.
CREATE INDEX IF NOT EXISTS transactions_by_customer ON transactions (partner_id, customer_id, created_at DESC, id DESC)
    WHERE customer_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS transactions_by_reference ON transactions (partner_id, account_reference, created_at DESC, id DESC)
    WHERE account_reference IS NOT NULL;
