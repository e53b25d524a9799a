-- Many instances on one database: who lives, and the quotas they count together. Safe while instances run: the tables
-- are new, and the settings below take a lock that no statement of theirs waits for.

-- Both are unlogged: what they hold is worth nothing after a crash or on a new primary, and their writes wait for no
-- disk and no standby. Who lives says so again within seconds; a key's quota begins anew.
CREATE UNLOGGED TABLE instances (
    id UUID PRIMARY KEY,
    seen_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- A row a key and quota: when it is whole again (GCRA), and whether the last request passed.
CREATE UNLOGGED TABLE rate_limits (
    key_id UUID NOT NULL,
    bucket TEXT NOT NULL,
    full_at TIMESTAMPTZ NOT NULL,
    passed BOOLEAN NOT NULL,
    PRIMARY KEY (key_id, bucket)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Rows that change or end soon after they are made: swept while there is little to sweep, by a vacuum that does not
-- pause. The big table is swept after a hundredth of it has changed, not after a fifth.
ALTER TABLE open_transactions SET (fillfactor = 80, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE waiting_callbacks SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE transactions SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE payments SET (autovacuum_vacuum_scale_factor = 0.02);
