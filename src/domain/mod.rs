//! What a payment-status service *is*: the words of the field, the state machine and the ledger's rules.
//! Pure: no I/O, no serde, nothing of ours imported. Everything else translates to and from these types.

pub mod account;
pub mod allowance;
pub mod asking;
pub mod clock;
pub mod completion;
pub mod delivery;
pub mod delivery_record;
pub mod enquiry;
pub mod erasure;
pub mod identity;
pub mod inbox;
pub mod ledger;
pub mod money;
pub mod msisdn;
pub mod notice;
pub mod operator;
pub mod oversight;
pub mod overview;
pub mod partner;
pub mod payment;
pub mod search;
pub mod statistics;
pub mod status;
pub mod status_update;
pub mod timeline;
pub mod totals;
pub mod transaction;
pub mod watch;
