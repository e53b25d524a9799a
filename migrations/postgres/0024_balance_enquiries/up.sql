-- Questions about what is on an account: who asked, and what came of it. Safe while instances run: nothing else
-- changes.

CREATE TABLE balance_enquiries (
    partner_id UUID NOT NULL,
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    -- As the audit log names it.
    asked_by TEXT NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL,
    answered_at TIMESTAMPTZ,
    -- The balances as JSON; or why there are none.
    told TEXT,
    failure TEXT,
    PRIMARY KEY (partner_id, id)
);
