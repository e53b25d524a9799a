-- Who may look into the console, who is looking, and from where the audit log's lines came. Safe while instances run: the
-- tables are new, and so are the columns, which may be empty. Three indexes are built by 0018, 0019 and 0020.

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
