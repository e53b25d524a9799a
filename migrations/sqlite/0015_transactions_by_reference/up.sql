-- A partner's transactions with one of its references; only rows that have one are in it. A file that has it from 0003 passes over it.
CREATE INDEX IF NOT EXISTS transactions_by_reference ON transactions (partner_id, account_reference, created_at DESC, id DESC)
    WHERE account_reference IS NOT NULL;
