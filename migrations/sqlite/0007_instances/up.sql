-- Who lives on a shared database, and the quotas counted there. An embedded database has one instance, which counts for
-- itself: here both stay empty.

CREATE TABLE instances (
    id TEXT PRIMARY KEY NOT NULL,
    seen_at INTEGER NOT NULL
);

CREATE TABLE rate_limits (
    key_id TEXT NOT NULL,
    bucket TEXT NOT NULL,
    full_at INTEGER NOT NULL,
    passed BOOLEAN NOT NULL,
    PRIMARY KEY (key_id, bucket)
);
