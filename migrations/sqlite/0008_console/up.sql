-- Who may look into the console, who is looking, and from where the audit log's lines came, as on PostgreSQL.

CREATE TABLE operators (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

-- A session is an operator's or a key's. Of its token only the digest is kept.
CREATE TABLE sessions (
    digest TEXT PRIMARY KEY,
    operator_id TEXT REFERENCES operators (id) ON DELETE CASCADE,
    key_id TEXT REFERENCES api_keys (id) ON DELETE CASCADE,
    -- The one partner whose things the operator looks at; none means all.
    partner_id TEXT REFERENCES partners (id) ON DELETE SET NULL,
    source TEXT,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    CHECK ((operator_id IS NULL) <> (key_id IS NULL))
);
CREATE INDEX sessions_seen ON sessions (seen_at);

ALTER TABLE audit_log ADD COLUMN source TEXT;
ALTER TABLE audit_log ADD COLUMN detail TEXT;
