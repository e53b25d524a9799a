-- How many transactions were created in each minute, reversals apart, as on PostgreSQL. Safe while instances run:
-- nothing else changes, and a reader trusts an hour's minutes only when they add up to the hour's counter.

CREATE TABLE created_by_minute (
    partner_id TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (partner_id, ends_at)
) WITHOUT ROWID;

CREATE INDEX created_by_minute_by_age ON created_by_minute (ends_at);
