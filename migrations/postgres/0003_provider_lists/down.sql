-- Its indexes went with 0014 and 0015.
SELECT 1;
