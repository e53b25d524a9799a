-- What a partner's own customer or reference finds; only rows that have one are in it.
CREATE INDEX transactions_by_customer ON transactions (partner_id, customer_id, created_at DESC, id DESC)
    WHERE customer_id IS NOT NULL;
CREATE INDEX transactions_by_reference ON transactions (partner_id, account_reference, created_at DESC, id DESC)
    WHERE account_reference IS NOT NULL;
