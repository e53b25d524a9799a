-- Payments that are started through us, as on PostgreSQL, and when a provider is asked no more.

CREATE TABLE payments (
    partner_id TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    reference TEXT,
    outcome TEXT CHECK (outcome IN ('accepted', 'refused', 'unknown')),
    code TEXT,
    message TEXT,
    customer_message TEXT,
    is_retryable BOOLEAN NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (partner_id, transaction_id)
) WITHOUT ROWID;

ALTER TABLE open_transactions ADD COLUMN stuck_at INTEGER;
DROP INDEX open_transactions_to_ask;
CREATE INDEX open_transactions_to_ask ON open_transactions (partner_id, ask_at) WHERE stuck_at IS NULL;
CREATE INDEX open_transactions_stuck ON open_transactions (partner_id, stuck_at) WHERE stuck_at IS NOT NULL;

-- An endpoint of one payment only: the callback_url of a ClickPesa guide's request.
ALTER TABLE endpoints ADD COLUMN transaction_id TEXT;
CREATE INDEX endpoints_of_transaction ON endpoints (partner_id, transaction_id) WHERE transaction_id IS NOT NULL;
