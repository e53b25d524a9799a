-- Its two indexes on transactions are built by 0014 and 0015. It does nothing, and is kept
-- for files that have it.
SELECT 1;
