//! Telling partners. The outbox rows are written with the event they are about (`domain::ledger`, `store`); this room
//! takes them out: `dispatcher` leases what is due and decides what follows, `attempt` makes one signed request of a
//! delivery, `recorder` keeps outcomes until the database has them, `breaker` leaves failing endpoints alone, `pace` counts
//! for those that named a limit a second, `endpoints` is what partners do with theirs, `sender` is the one client that posts
//! to addresses we do not choose, `address_guard` says which of those are refused and `authorities` whom TLS trusts besides
//! the system's, `body`, `signature` and `key_pair` are the wire.
//! For people who write receivers: `relay` follows a partner's feed to a port of theirs, `trial` tries a receiver out.

pub mod address_guard;
mod attempt;
pub mod authorities;
pub mod body;
pub mod breaker;
pub mod dispatcher;
pub mod endpoints;
pub mod key_pair;
mod pace;
mod recorder;
pub mod relay;
pub mod sender;
pub mod signature;
pub mod trial;

#[cfg(test)]
mod test_support;

pub use dispatcher::Dispatcher;
pub use endpoints::Endpoints;
pub use sender::{Limits, Sender};
pub use signature::Secret;
