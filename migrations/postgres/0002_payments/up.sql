-- Payments that are started through us, and when a provider is asked no more. Safe while instances run: new columns are
-- nullable without a default, and the indexes are on tables that hold only what is open or configured.

CREATE TABLE payments (
    partner_id UUID NOT NULL,
    transaction_id UUID NOT NULL,
    account_id UUID NOT NULL,
    digest TEXT NOT NULL,
    reference TEXT,
    outcome TEXT CHECK (outcome IN ('accepted', 'refused', 'unknown')),
    code TEXT,
    message TEXT,
    customer_message TEXT,
    is_retryable BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (partner_id, transaction_id)
) WITH (fillfactor = 90);

ALTER TABLE open_transactions ADD COLUMN stuck_at TIMESTAMPTZ;
DROP INDEX open_transactions_to_ask;
CREATE INDEX open_transactions_to_ask ON open_transactions (partner_id, ask_at) WHERE stuck_at IS NULL;
CREATE INDEX open_transactions_stuck ON open_transactions (partner_id, stuck_at) WHERE stuck_at IS NOT NULL;

-- An endpoint of one payment only: the callback_url of a ClickPesa guide's request.
ALTER TABLE endpoints ADD COLUMN transaction_id UUID;
CREATE INDEX endpoints_of_transaction ON endpoints (partner_id, transaction_id) WHERE transaction_id IS NOT NULL;
