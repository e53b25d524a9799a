-- A transaction's own callbacks, and a partner's newest. A file that has it from 0008 passes over it.
CREATE INDEX IF NOT EXISTS callbacks_of_transaction ON callbacks (partner_id, transaction_id)
    WHERE transaction_id IS NOT NULL;
