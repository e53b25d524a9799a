//! Telling partners. The outbox rows are written with the event they are about (`domain::ledger`, `store`); this room
//! takes them out: `dispatcher` leases what is due and decides what follows, `attempt` makes one signed request of a
//! delivery, `recorder` keeps outcomes until the database has them, `sender` is the one client that posts to
//! addresses we do not choose, `address_guard` says which of those are refused, `body` and `signature` are the wire.
//! For people who write receivers: `relay` follows a partner's feed to a port of theirs, `trial` tries a receiver out.

pub mod address_guard;
mod attempt;
pub mod body;
pub mod dispatcher;
mod recorder;
pub mod relay;
pub mod sender;
pub mod signature;
pub mod trial;

#[cfg(test)]
mod test_support;

pub use dispatcher::Dispatcher;
pub use sender::{Limits, Sender};
pub use signature::Secret;
