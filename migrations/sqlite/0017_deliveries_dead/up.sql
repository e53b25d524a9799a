-- An endpoint's dead letters. A file that has it from 0004 passes over it.
CREATE INDEX IF NOT EXISTS deliveries_dead ON deliveries (partner_id, endpoint_id, sequence)
    WHERE state = 'dead';
