ALTER TABLE payments RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE transactions RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
ALTER TABLE waiting_callbacks RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay);
ALTER TABLE open_transactions RESET (fillfactor, autovacuum_vacuum_cost_delay);
DROP TABLE rate_limits;
DROP TABLE instances;
