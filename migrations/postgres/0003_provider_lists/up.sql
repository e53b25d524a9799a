-- Its two indexes on transactions are built by 0014 and 0015. Safe while instances run: it does
-- nothing, and is kept for installations that have it.
SELECT 1;
