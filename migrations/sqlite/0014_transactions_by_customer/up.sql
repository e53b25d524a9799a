-- A partner's transactions of one of its customers; only rows that have one are in it. A file that has it from 0003 passes over it.
CREATE INDEX IF NOT EXISTS transactions_by_customer ON transactions (partner_id, customer_id, created_at DESC, id DESC)
    WHERE customer_id IS NOT NULL;
