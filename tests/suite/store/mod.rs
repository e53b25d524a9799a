//! The store's contract: whatever it promises, it promises on both databases.

mod registering;
