DROP INDEX endpoints_of_transaction;
ALTER TABLE endpoints DROP COLUMN transaction_id;
DROP INDEX open_transactions_stuck;
DROP INDEX open_transactions_to_ask;
ALTER TABLE open_transactions DROP COLUMN stuck_at;
CREATE INDEX open_transactions_to_ask ON open_transactions (ask_at);
DROP TABLE payments;
