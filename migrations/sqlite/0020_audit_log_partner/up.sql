-- What was done to a partner's things. A file that has it from 0008 passes over it.
CREATE INDEX IF NOT EXISTS audit_log_partner ON audit_log (partner_id, id);
