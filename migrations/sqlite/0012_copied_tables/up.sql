-- How far `copy` has come, as on PostgreSQL. Only the database that is copied into has rows here. Safe
-- while instances run: the table is new.
CREATE TABLE copied_tables (
    name TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    copied BIGINT NOT NULL,
    copied_to TEXT,
    verified BIGINT NOT NULL,
    verified_to TEXT,
    finished_at INTEGER
);
