//! The ledger's rules: what each command does to the transactions it concerns.
//!
//! The store loads a [`WorkingSet`] under the partners' locks, hands it to a [`Ledger`] with the commands that are
//! waiting, and writes the [`Changes`] in the same database transaction. Everything here is a pure function of
//! those, so that one set of rules serves both databases, batches of any size, registrations and callbacks alike.

mod answer;
mod apply;
mod callback;
mod enquiry;
mod import;
mod register;
mod working_set;

use std::sync::Arc;

use chrono::Duration;

use super::account::Account;
use super::clock::Instant;
use super::enquiry::Told;
use super::identity::{AccountId, CallbackId, EnquiryId, EventId, PartnerId, TransactionId};
use super::money::{Amount, Currency};
use super::msisdn::Msisdn;
use super::payment::{CallAnswer, Intent, PaymentRecord};
use super::search::Cursor;
use super::status_update::{CallbackKind, News, StatusUpdate};
use super::timeline::{StatusEvent, TimelineEntry};
use super::transaction::{IdField, Kind, Provider, ProviderIds, Transaction};

pub use working_set::{EndpointFacts, Ledger, Lookups, Waiting, WorkingSet};

/// How long a registered payment may be without provider ids before news of an unknown payment is no longer thought to
/// be its own. A provider's answer, which brings the ids, takes seconds.
pub const EARLY_SPAN: Duration = Duration::minutes(5);

/// How long an identical prompt without an idempotency key is taken for the same one sent twice.
pub const TWIN_SPAN: Duration = Duration::minutes(2);

/// The origin of transactions that a provider's news created.
pub const PROVIDER_ORIGIN: &str = "provider";

/// Something that may change transactions.
#[derive(Debug, Clone)]
pub enum Command {
    /// Another system started a payment.
    Register(Box<Registration>),
    /// The provider's ids became known.
    Attach(Attachment),
    /// A provider told us something.
    Callback(Box<Arrival>),
    /// A callback that could not be understood when it came was read again, and now it can.
    ReadAgain(Box<Arrival>),
    /// Nobody claimed a payment that a kept callback tells of.
    Unclaimed(Box<Unclaimed>),
    /// A provider answered a call or a question of ours, or did not.
    Answered(Box<ProviderAnswer>),
    /// A transaction of the past is brought in.
    Import(Box<History>),
}

impl Command {
    /// Whose ledger it concerns; `None` for a callback nobody can be found for.
    pub fn partner_id(&self) -> Option<PartnerId> {
        match self {
            Self::Register(registration) => Some(registration.partner_id),
            Self::Attach(attachment) => Some(attachment.partner_id),
            Self::Callback(arrival) | Self::ReadAgain(arrival) => arrival.partner_id,
            Self::Unclaimed(unclaimed) => Some(unclaimed.kept.partner_id),
            Self::Answered(answer) => Some(answer.partner_id),
            Self::Import(history) => Some(history.transaction.partner_id),
        }
    }
}

/// A payment that another system started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Whose.
    pub partner_id: PartnerId,
    /// The partner's own id: the idempotency key. Only a prompt that is started through us may do without.
    pub client_request_id: Option<String>,
    /// The provider.
    pub provider: Provider,
    /// What it is.
    pub kind: Kind,
    /// Where it started.
    pub origin: String,
    /// The provider's ids, as far as known.
    pub ids: ProviderIds,
    /// The customer; unknown only of a reversal whose original says no number.
    pub msisdn: Option<Msisdn>,
    /// The amount asked for.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
    /// What the merchant named.
    pub account_reference: Option<String>,
    /// The partner's own tenant.
    pub tenant_id: Option<String>,
    /// The partner's own customer.
    pub customer_id: Option<String>,
    /// A reversal: what it takes back.
    pub original_id: Option<TransactionId>,
    /// Set if the payment is started through us: it is committed before the provider is called.
    pub intent: Option<Box<Intent>>,
}

/// A transaction of the past, as another book has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// What it was; what the other book does not say is `None`.
    pub transaction: Transaction,
    /// Whether the other book names its id; else the id was made for it.
    pub is_id_given: bool,
}

/// Provider ids for a transaction that is already there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Whose.
    pub partner_id: PartnerId,
    /// Which.
    pub transaction_id: TransactionId,
    /// The ids.
    pub ids: ProviderIds,
}

/// A callback, read and ready to be judged.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its id in the inbox.
    pub id: CallbackId,
    /// Whose, from the token or from the ids over all partners.
    pub partner_id: Option<PartnerId>,
    /// The account it was posted for, where known.
    pub account: Option<Arc<Account>>,
    /// Who posted it.
    pub provider: Provider,
    /// What it should be.
    pub kind: CallbackKind,
    /// When.
    pub received_at: Instant,
    /// The body as it came, secrets removed.
    pub body: Vec<u8>,
    /// Its media type as sent.
    pub content_type: Option<String>,
    /// The address it came from.
    pub source: Option<String>,
    /// SHA-256 of the body, lower-case hex.
    pub digest: String,
    /// What it says.
    pub news: News,
    /// The question about balances that its path names.
    pub enquiry_id: Option<EnquiryId>,
    /// Set if it must move nothing, with the reason.
    pub flagged: Option<String>,
}

/// A kept callback of a payment that nobody registered in all the time its ids may take to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclaimed {
    /// The callback.
    pub kept: Waiting,
    /// The account it was posted for, where known.
    pub account_id: Option<AccountId>,
}

/// What a provider said to a call or a question of ours.
#[derive(Debug, Clone)]
pub struct ProviderAnswer {
    /// Whose.
    pub partner_id: PartnerId,
    /// Which transaction.
    pub transaction_id: TransactionId,
    /// For the timeline: `call:stk_push`, `query:b2c`.
    pub source: String,
    /// Whether the transaction had failed, not for certain, when the provider was asked: that is asked about once.
    pub was_unconfirmed: bool,
    /// What it said.
    pub word: Word,
}

/// What came of a call or a question.
#[derive(Debug, Clone)]
pub enum Word {
    /// The call was taken.
    Accepted {
        /// The ids the provider gave.
        ids: ProviderIds,
        /// STK's MerchantRequestID.
        merchant_request_id: Option<String>,
        /// Its words.
        answer: CallAnswer,
        /// Set if it told where the payment stands already.
        update: Option<Box<StatusUpdate>>,
    },
    /// The call was refused, or nobody knows what came of it.
    NotAccepted(CallAnswer),
    /// A question was answered.
    News {
        /// What it said.
        update: Box<StatusUpdate>,
        /// When to ask again if that ended nothing.
        ask_again_at: Instant,
    },
    /// A question brought nothing, or its answer will come as a callback.
    NoNews {
        /// When to ask again.
        ask_again_at: Instant,
        /// Whether the provider did take the question: of an unconfirmed failure it is asked no more then.
        was_heard: bool,
    },
    /// The time for asking is over, unless there has been news since.
    Stuck {
        /// The last news that was known then.
        last_news: Instant,
    },
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Registered or imported now (`created`) or already before, with the same content.
    Registered {
        /// The transaction as it stands.
        transaction: Box<Transaction>,
        /// Whether this command made it.
        created: bool,
    },
    /// The ids are attached.
    Attached(Box<Transaction>),
    /// The provider's answer is written; the transaction as it stands.
    Answered(Box<Transaction>),
    /// Nothing was changed.
    Refused(Refusal),
    /// The callback is kept.
    Recorded(CallbackState),
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No such transaction of this partner.
    NotFound,
    /// The transaction that the command names by an id of its own is there already, with another value in this field.
    Reused {
        /// The field that differs.
        field: &'static str,
        /// The transaction that has the id.
        transaction_id: TransactionId,
    },
    /// Another transaction of the partner holds this provider id.
    Held {
        /// The field.
        field: IdField,
        /// The transaction that holds it.
        transaction_id: TransactionId,
    },
    /// A transaction that the provider's own news made holds this provider id, and it is too late to make one of the two:
    /// both have been told of already, each under its own id.
    ToldBefore {
        /// The field.
        field: IdField,
        /// The transaction that holds it.
        transaction_id: TransactionId,
    },
    /// The transaction already has another value in this field.
    Fixed {
        /// The field.
        field: IdField,
    },
    /// The original of a reversal is not one of the partner's transactions.
    OriginalUnknown,
    /// The same prompt was sent a moment ago, and no idempotency key tells them apart.
    Twin {
        /// The transaction of that one.
        transaction_id: TransactionId,
    },
}

impl Refusal {
    /// The transaction that stands in the way.
    pub fn holder(&self) -> Option<TransactionId> {
        match self {
            Self::Reused { transaction_id, .. }
            | Self::Held { transaction_id, .. }
            | Self::ToldBefore { transaction_id, .. }
            | Self::Twin { transaction_id } => Some(*transaction_id),
            Self::NotFound | Self::Fixed { .. } | Self::OriginalUnknown => None,
        }
    }
}

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallbackState {
    /// It moved a transaction.
    Applied,
    /// It said what was known already.
    Duplicate,
    /// Understood; nothing to move.
    Noted,
    /// Kept until its id becomes known.
    Waiting,
    /// It contradicts what stands; nothing moved.
    Conflict,
    /// Nobody's, or several partners': nothing moved.
    Unmatched,
    /// Not understood.
    Unreadable,
}

impl CallbackState {
    /// The word in the table and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Noted => "noted",
            Self::Waiting => "waiting",
            Self::Conflict => "conflict",
            Self::Unmatched => "unmatched",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A callback's row in the inbox.
#[derive(Debug, Clone)]
pub struct CallbackRecord {
    /// The callback.
    pub arrival: Arrival,
    /// What became of it.
    pub state: CallbackState,
    /// The transaction it concerns.
    pub transaction_id: Option<TransactionId>,
    /// Why, for people.
    pub note: Option<String>,
}

/// A kept callback whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledCallback {
    /// Which.
    pub id: CallbackId,
    /// What became of it.
    pub state: CallbackState,
    /// The transaction it concerns.
    pub transaction_id: Option<TransactionId>,
    /// Why, for people.
    pub note: Option<String>,
}

/// A line for a timeline, and the event it is if the status moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its id, which orders the timeline; of a status event it is the `webhook-id`.
    pub id: EventId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Which transaction.
    pub transaction_id: TransactionId,
    /// The line.
    pub entry: TimelineEntry,
    /// Set if it is a status event.
    pub event: Option<StatusEvent>,
}

/// A promise to tell an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Whose.
    pub partner_id: PartnerId,
    /// Which endpoint.
    pub endpoint_id: super::identity::EndpointId,
    /// About which transaction.
    pub transaction_id: TransactionId,
    /// Which event of the partner's feed.
    pub sequence: i64,
}

/// A transaction before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// As loaded; `None` if new.
    pub before: Option<Transaction>,
    /// As it shall be.
    pub after: Transaction,
    /// When to ask the provider about it, while it is worth asking.
    pub ask_at: Option<Instant>,
    /// Since when it is stuck: it is asked about no more.
    pub stuck_at: Option<Instant>,
}

impl Changed {
    /// Where it stands in the order of every listing.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            created_at: self.after.created_at,
            id: self.after.id,
        }
    }
}

/// What came of a question about balances, or balances that nobody here asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceReport {
    /// Whose.
    pub partner_id: PartnerId,
    /// The account at the provider.
    pub account_id: AccountId,
    /// The question, where the address names one.
    pub enquiry_id: Option<EnquiryId>,
    /// When we heard.
    pub received_at: Instant,
    /// When the provider counted, else when we heard.
    pub checked_at: Instant,
    /// What was told.
    pub told: Told,
}

/// Everything one batch of commands writes.
#[derive(Debug, Default)]
pub struct Changes {
    /// Transactions, new or changed.
    pub transactions: Vec<Changed>,
    /// Timeline lines and events, in order.
    pub lines: Vec<Line>,
    /// Outbox rows.
    pub deliveries: Vec<NewDelivery>,
    /// Inbox rows.
    pub callbacks: Vec<CallbackRecord>,
    /// Inbox rows that could not be understood before.
    pub read_again: Vec<CallbackRecord>,
    /// Kept callbacks that were settled.
    pub settled: Vec<SettledCallback>,
    /// Balances.
    pub balances: Vec<BalanceReport>,
    /// Payments that are about to be sent to their providers.
    pub payments: Vec<PaymentRecord>,
    /// What the providers said to that.
    pub answers: Vec<(PartnerId, TransactionId, CallAnswer)>,
    /// The last sequence given out, for every partner that got an event.
    pub last_sequences: Vec<(PartnerId, i64)>,
    /// Payments whose paid amount is not the amount asked for.
    pub amount_mismatches: u64,
}

#[cfg(test)]
mod tests;
