-- Who may look into the console, who is looking, and from where the audit log's lines came. Safe while instances run, but
-- for two indexes on callbacks: whoever posts one waits while they are built, some seconds a million rows that are kept.

CREATE TABLE operators (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- A session is an operator's or a key's. Of its token only the digest is kept.
CREATE TABLE sessions (
    digest TEXT PRIMARY KEY,
    operator_id UUID REFERENCES operators (id) ON DELETE CASCADE,
    key_id UUID REFERENCES api_keys (id) ON DELETE CASCADE,
    -- The one partner whose things the operator looks at; none means all.
    partner_id UUID REFERENCES partners (id) ON DELETE SET NULL,
    source TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    CHECK ((operator_id IS NULL) <> (key_id IS NULL))
);
CREATE INDEX sessions_seen ON sessions (seen_at);

ALTER TABLE audit_log ADD COLUMN source TEXT;
ALTER TABLE audit_log ADD COLUMN detail TEXT;
CREATE INDEX audit_log_partner ON audit_log (partner_id, id);

-- A transaction's own callbacks, and a partner's newest.
CREATE INDEX callbacks_of_transaction ON callbacks (partner_id, transaction_id) WHERE transaction_id IS NOT NULL;
-- Those that could not be understood.
CREATE INDEX callbacks_unreadable ON callbacks (id) WHERE state = 'unreadable';
