-- How many transactions were created in each minute, reversals apart: what the hours' counters leave open of the hour in
-- which the last 24 begin. Written in the commit that creates the row. `ends_at` is the end of the minute.
--
-- Safe while instances run: nothing else changes. What an older program creates is missing here, and so is all that
-- came before; a reader trusts an hour's minutes only when they add up to the hour's counter.

CREATE TABLE created_by_minute (
    partner_id UUID NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL,
    n BIGINT NOT NULL,
    PRIMARY KEY (partner_id, ends_at)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE INDEX created_by_minute_by_age ON created_by_minute (ends_at);
