-- How far `copy` has come, a row a table: written in the transaction of the rows it counts, so that a copy that was
-- killed goes on where it was. `source` tells the file apart; `…_to` is the key of the last row. Safe while
-- instances run: the table is new.
CREATE TABLE copied_tables (
    name TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    copied BIGINT NOT NULL,
    copied_to TEXT,
    verified BIGINT NOT NULL,
    verified_to TEXT,
    finished_at TIMESTAMPTZ
);
