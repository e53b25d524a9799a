-- Questions about what is on an account: who asked, and what came of it, as on PostgreSQL. Safe while instances run: nothing else
-- changes.

CREATE TABLE balance_enquiries (
    partner_id TEXT NOT NULL,
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    -- As the audit log names it.
    asked_by TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    answered_at INTEGER,
    -- The balances as JSON; or why there are none.
    told TEXT,
    failure TEXT,
    PRIMARY KEY (partner_id, id)
);
