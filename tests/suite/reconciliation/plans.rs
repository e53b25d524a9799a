//! What is due is found by the index on it, however much is open.
