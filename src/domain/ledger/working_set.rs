//! What a batch of commands needs to know, and the book-keeping while it is applied.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::Duration;

use crate::domain::clock::Instant;
use crate::domain::identity::{CallbackId, EndpointId, EventId, PartnerId, TransactionId};
use crate::domain::msisdn::Msisdn;
use crate::domain::status::Status;
use crate::domain::status_update::{CallbackKind, Correlation, News};
use crate::domain::timeline::{StatusEvent, TimelineEntry, TimelineKind};
use crate::domain::transaction::{IdField, Provider, ProviderIds, Transaction};

use super::{Changed, Changes, Command, History, Line, NewDelivery, Outcome, Word};

/// What the store must look up before the commands can be judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// The partners whose ledgers are concerned.
    pub partners: HashSet<PartnerId>,
    /// Transactions by our id.
    pub transactions: HashSet<(PartnerId, TransactionId)>,
    /// Transactions by the partner's own id.
    pub client_requests: HashSet<(PartnerId, String)>,
    /// Provider ids and receipts, looked up over all partners, and kept callbacks that wait for them.
    pub values: HashSet<String>,
    /// Whether a payment of this partner and provider is queued whose ids nobody has told us yet.
    pub unnamed: HashSet<(PartnerId, Provider)>,
    /// The transactions of the last [`TWIN_SPAN`](super::TWIN_SPAN) with this number.
    pub recent: HashSet<(PartnerId, Msisdn)>,
    /// Payments that are not there yet: an endpoint may be meant for one of them only.
    pub intents: HashSet<(PartnerId, TransactionId)>,
}

impl Lookups {
    /// What `commands` need.
    pub fn of<'a>(commands: impl IntoIterator<Item = &'a Command>) -> Self {
        let mut lookups = Self::default();
        for command in commands {
            lookups.partners.extend(command.partner_id());
            match command {
                Command::Register(registration) => {
                    let partner_id = registration.partner_id;
                    match (&registration.client_request_id, &registration.intent) {
                        (Some(id), _) => {
                            lookups.client_requests.insert((partner_id, id.clone()));
                        }
                        (None, _) => {
                            let number = registration.msisdn.clone();
                            lookups
                                .recent
                                .extend(number.map(|number| (partner_id, number)));
                        }
                    }
                    if let Some(intent) = &registration.intent {
                        lookups.intents.insert((partner_id, intent.transaction_id));
                        let own = intent.own_ids.known();
                        lookups
                            .values
                            .extend(own.map(|(_, value)| value.to_owned()));
                    }
                    lookups
                        .values
                        .extend(registration.ids.known().map(|(_, value)| value.to_owned()));
                    lookups
                        .transactions
                        .extend(registration.original_id.map(|id| (partner_id, id)));
                }
                Command::Attach(attachment) => {
                    lookups
                        .transactions
                        .insert((attachment.partner_id, attachment.transaction_id));
                    lookups
                        .values
                        .extend(attachment.ids.known().map(|(_, value)| value.to_owned()));
                }
                Command::Callback(arrival) | Command::ReadAgain(arrival) => {
                    lookups.add_news(arrival.partner_id, &arrival.news);
                    if let (Some(partner), News::Payment(update)) =
                        (arrival.partner_id, &arrival.news)
                        && update.unregistered.is_some()
                    {
                        lookups.unnamed.insert((partner, arrival.provider));
                    }
                }
                Command::Answered(answer) => {
                    lookups
                        .transactions
                        .insert((answer.partner_id, answer.transaction_id));
                    lookups.add_answer(&answer.word);
                }
                Command::Unclaimed(unclaimed) => {
                    let kept = &unclaimed.kept;
                    lookups.add_news(Some(kept.partner_id), &kept.news);
                }
                Command::Import(history) => lookups.add_history(history),
            }
        }
        lookups
    }

    /// By what a transaction of the past may be known already.
    fn add_history(&mut self, history: &History) {
        let past = &history.transaction;
        if history.is_id_given {
            self.transactions.insert((past.partner_id, past.id));
        }
        let own = past.client_request_id.clone();
        self.client_requests
            .extend(own.map(|id| (past.partner_id, id)));
        let ids = past.ids.known().map(|(_, value)| value.to_owned());
        self.values.extend(ids.chain(past.receipt.clone()));
    }

    /// What a provider's answer brings that others may hold or wait for.
    fn add_answer(&mut self, word: &Word) {
        let (ids, update) = match word {
            Word::Accepted { ids, update, .. } => (Some(ids), update.as_deref()),
            Word::News { update, .. } => (None, Some(&**update)),
            Word::NotAccepted(_) | Word::NoNews { .. } | Word::Stuck { .. } => (None, None),
        };
        let ids = ids.into_iter().flat_map(ProviderIds::known);
        self.values.extend(ids.map(|(_, value)| value.to_owned()));
        if let Some(update) = update {
            let told = update.correlation.ids().map(|(_, value)| value.to_owned());
            self.values.extend(told);
            self.values.extend(update.receipt.clone());
            self.values.extend(update.original_receipt.clone());
        }
    }

    /// What a piece of news points at.
    pub fn add_news(&mut self, partner_id: Option<PartnerId>, news: &News) {
        let correlation = match news {
            News::Payment(update) => {
                self.values.extend(update.original_receipt.clone());
                self.values.extend(update.receipt.clone());
                &update.correlation
            }
            News::Timeout(correlation) => correlation,
            News::Balances { .. } | News::Information(_) | News::Unreadable(_) => return,
        };
        if let (Some(partner_id), Some(id)) = (partner_id, correlation.transaction_id) {
            self.transactions.insert((partner_id, id));
        }
        self.values
            .extend(correlation.ids().map(|(_, value)| value.to_owned()));
    }
}

/// An endpoint, as far as the ledger cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFacts {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub partner_id: PartnerId,
    /// The event types it wants; empty means all.
    pub events: Vec<String>,
    /// Set if it is told of this one transaction only.
    pub transaction_id: Option<TransactionId>,
}

/// A kept callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its id in the inbox.
    pub id: CallbackId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Who posted it.
    pub provider: Provider,
    /// What it is.
    pub kind: CallbackKind,
    /// What it says.
    pub news: News,
}

/// What the store found.
#[derive(Debug, Default)]
pub struct WorkingSet {
    /// Every transaction the lookups hit, of any partner, and the originals of reversals among them.
    pub transactions: Vec<Transaction>,
    /// Kept callbacks that wait for one of the values, oldest first.
    pub waiting: Vec<Waiting>,
    /// The enabled endpoints of the partners.
    pub endpoints: Vec<EndpointFacts>,
    /// The last sequence of each partner's feed.
    pub last_sequences: HashMap<PartnerId, i64>,
    /// Partners with a queued payment at a provider whose ids nobody has told us yet.
    pub unnamed: HashSet<(PartnerId, Provider)>,
}

/// A transaction's place: its partner and its id.
pub(super) type Key = (PartnerId, TransactionId);

#[derive(Debug)]
pub(super) struct Slot {
    before: Option<Transaction>,
    pub(super) now: Transaction,
    pub(super) ask: Ask,
}

impl Slot {
    /// There is news of it, so that its time for being asked about begins again.
    pub(super) fn touch(&mut self, now: Instant) {
        self.now.updated_at = now;
        if self.ask == Ask::Stuck {
            self.ask = Ask::Usual;
        }
    }
}

/// When the provider shall be asked about a transaction, if it is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// When it has been silent for the usual while.
    Usual,
    /// Then.
    At(Instant),
    /// Not any more: of an unconfirmed failure that it was asked about.
    NoMore,
    /// Not any more: the time for it is over.
    Stuck,
}

/// Applies commands to a working set.
#[derive(Debug)]
pub struct Ledger {
    pub(super) now: Instant,
    ask_after: Duration,
    slots: BTreeMap<Key, Slot>,
    by_value: HashMap<(Provider, IdField, String), Vec<Key>>,
    by_client_request: HashMap<(PartnerId, String), TransactionId>,
    pub(super) waiting: Vec<Waiting>,
    endpoints: HashMap<PartnerId, Vec<EndpointFacts>>,
    last_sequences: HashMap<PartnerId, i64>,
    unnamed: HashSet<(PartnerId, Provider)>,
    sequences_given: HashSet<PartnerId>,
    pub(super) changes: Changes,
}

impl Ledger {
    /// A ledger over what was loaded; `ask_after` is how long a provider may be silent before it is asked.
    pub fn new(now: Instant, ask_after: Duration, loaded: WorkingSet) -> Self {
        let mut ledger = Self {
            now,
            ask_after,
            slots: BTreeMap::new(),
            by_value: HashMap::new(),
            by_client_request: HashMap::new(),
            waiting: loaded.waiting,
            endpoints: HashMap::new(),
            last_sequences: loaded.last_sequences,
            unnamed: loaded.unnamed,
            sequences_given: HashSet::new(),
            changes: Changes::default(),
        };
        for endpoint in loaded.endpoints {
            ledger
                .endpoints
                .entry(endpoint.partner_id)
                .or_default()
                .push(endpoint);
        }
        for transaction in loaded.transactions {
            let key = (transaction.partner_id, transaction.id);
            ledger.index(&transaction);
            ledger.slots.insert(
                key,
                Slot {
                    before: Some(transaction.clone()),
                    now: transaction,
                    ask: Ask::Usual,
                },
            );
        }
        ledger
    }

    /// Carries out one command.
    pub fn carry_out(&mut self, command: Command) -> Outcome {
        match command {
            Command::Register(registration) => self.register(*registration),
            Command::Attach(attachment) => self.attach(&attachment),
            Command::Callback(arrival) => Outcome::Recorded(self.receive(*arrival)),
            Command::ReadAgain(arrival) => Outcome::Recorded(self.read_again(*arrival)),
            Command::Unclaimed(unclaimed) => Outcome::Recorded(self.settle_unclaimed(*unclaimed)),
            Command::Answered(answer) => self.answered(*answer),
            Command::Import(history) => self.import(*history),
        }
    }

    /// What all commands together write.
    pub fn into_changes(mut self) -> Changes {
        let (now, ask_after) = (self.now, self.ask_after);
        self.changes.transactions = self
            .slots
            .into_values()
            .filter(|slot| slot.ask != Ask::Usual || slot.before.as_ref() != Some(&slot.now))
            .map(|slot| {
                let worth_asking = !slot.now.status.is_final() || slot.now.unconfirmed;
                let first = if slot.now.status.is_final() {
                    now
                } else {
                    now + ask_after
                };
                let (ask_at, stuck_at) = match slot.ask {
                    _ if !worth_asking => (None, None),
                    Ask::Usual => (Some(first), None),
                    Ask::At(at) => (Some(at), None),
                    Ask::NoMore => (None, None),
                    Ask::Stuck => (Some(now), Some(now)),
                };
                Changed {
                    ask_at,
                    stuck_at,
                    before: slot.before,
                    after: slot.now,
                }
            })
            .collect();
        self.changes.last_sequences = self
            .sequences_given
            .into_iter()
            .map(|partner| {
                (
                    partner,
                    self.last_sequences
                        .get(&partner)
                        .copied()
                        .unwrap_or_default(),
                )
            })
            .collect();
        self.changes
    }

    pub(super) fn insert(&mut self, transaction: Transaction) -> Key {
        let key = (transaction.partner_id, transaction.id);
        self.index(&transaction);
        self.slots.insert(
            key,
            Slot {
                before: None,
                now: transaction,
                ask: Ask::Usual,
            },
        );
        key
    }

    pub(super) fn transaction(&self, key: Key) -> Option<&Transaction> {
        self.slots.get(&key).map(|slot| &slot.now)
    }

    pub(super) fn transactions_of(&self, partner: PartnerId) -> impl Iterator<Item = &Transaction> {
        self.slots
            .values()
            .map(|slot| &slot.now)
            .filter(move |known| known.partner_id == partner)
    }

    pub(super) fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(&key)
    }

    /// Makes the ids and receipt of a transaction findable.
    pub(super) fn index(&mut self, transaction: &Transaction) {
        let key = (transaction.partner_id, transaction.id);
        let receipt = transaction
            .receipt
            .as_deref()
            .map(|receipt| (IdField::Receipt, receipt));
        for (field, value) in transaction.ids.known().chain(receipt) {
            let keys = self
                .by_value
                .entry((transaction.provider, field, value.to_owned()))
                .or_default();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if let Some(client_request_id) = &transaction.client_request_id {
            self.by_client_request.insert(
                (transaction.partner_id, client_request_id.clone()),
                transaction.id,
            );
        }
    }

    pub(super) fn by_client_request(&self, partner: PartnerId, id: &str) -> Option<Key> {
        self.by_client_request
            .get(&(partner, id.to_owned()))
            .map(|transaction| (partner, *transaction))
    }

    /// The transactions, of any partner, that have `value` in `field`.
    pub(super) fn holders(&self, provider: Provider, field: IdField, value: &str) -> &[Key] {
        self.by_value
            .get(&(provider, field, value.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    pub(super) fn holder(
        &self,
        partner: PartnerId,
        provider: Provider,
        field: IdField,
        value: &str,
    ) -> Option<Key> {
        self.holders(provider, field, value)
            .iter()
            .copied()
            .find(|(owner, _)| *owner == partner)
    }

    /// Whether news of an unknown payment may be of one whose ids we have not been told yet.
    pub(super) fn may_be_early(&self, partner: PartnerId, provider: Provider) -> bool {
        self.unnamed.contains(&(partner, provider))
            || self.slots.values().any(|slot| {
                slot.now.partner_id == partner
                    && slot.now.provider == provider
                    && slot.now.status == Status::Queued
                    && slot.now.ids.is_empty()
            })
    }

    /// Any loaded transaction with this id, whoever's it is.
    pub(super) fn by_transaction_id(&self, id: TransactionId) -> Option<Key> {
        self.slots
            .keys()
            .copied()
            .find(|(_, transaction)| *transaction == id)
    }

    /// Adds a line to a transaction's timeline.
    pub(super) fn note(&mut self, key: Key, entry: TimelineEntry) {
        // The store compares with the last line of earlier commits.
        let is_last = |line: &&Line| (line.partner_id, line.transaction_id) == key;
        if entry.kind.may_repeat()
            && (self.changes.lines.iter().rfind(is_last)).is_some_and(|last| last.entry == entry)
        {
            return;
        }
        self.changes.lines.push(Line {
            id: EventId::new(self.now),
            partner_id: key.0,
            transaction_id: key.1,
            entry,
            event: None,
        });
    }

    /// Adds a line that is a status event, and the promise to tell every endpoint that wants it.
    pub(super) fn announce(&mut self, key: Key, entry: TimelineEntry) {
        let Some(transaction) = self.transaction(key) else {
            return;
        };
        let sequence = self.last_sequences.get(&key.0).copied().unwrap_or_default() + 1;
        let event = StatusEvent {
            id: EventId::new(self.now),
            partner_id: key.0,
            sequence,
            transaction_id: key.1,
            is_registration: entry.kind == TimelineKind::Registered,
            status: transaction.status,
            conversation_id: transaction.ids.conversation_id.clone(),
            client_request_id: transaction.client_request_id.clone(),
            result_code: transaction.result_code.clone(),
            result_description: transaction.result_description.clone(),
            receipt: transaction.receipt.clone(),
            amount: transaction.amount,
            currency: transaction.currency.clone(),
            msisdn: transaction.msisdn.clone(),
            reversed_at: transaction.reversed_at,
            updated_at: transaction.updated_at,
        };
        self.last_sequences.insert(key.0, sequence);
        self.sequences_given.insert(key.0);
        let event_type = event.event_type();
        for endpoint in self.endpoints.get(&key.0).into_iter().flatten() {
            let is_meant = endpoint.transaction_id.is_none_or(|only| only == key.1);
            if is_meant
                && (endpoint.events.is_empty()
                    || endpoint.events.iter().any(|wanted| wanted == event_type))
            {
                self.changes.deliveries.push(NewDelivery {
                    partner_id: key.0,
                    endpoint_id: endpoint.id,
                    transaction_id: key.1,
                    sequence,
                });
            }
        }
        self.changes.lines.push(Line {
            id: event.id,
            partner_id: key.0,
            transaction_id: key.1,
            entry,
            event: Some(event),
        });
    }
}

/// Which transaction a correlation points at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// One, of the right partner and provider.
    One(Key),
    /// None that we know.
    None,
    /// None of this partner's; these of others have one of its ids. Ids are unique to a partner only, so this is no
    /// reason to lose it: it is judged as if nobody had them, and the others' timelines say so.
    Foreign(Vec<Key>),
    /// Several, or one that cannot be meant.
    Contradiction(Vec<Key>),
}

impl Ledger {
    /// Follows path, order reference, originator conversation id, provider's id, receipt; they must agree.
    pub(super) fn resolve(
        &self,
        partner: PartnerId,
        provider: Provider,
        correlation: &Correlation,
    ) -> Match {
        let mut pointed_at: Vec<Key> = Vec::new();
        let mut is_named = false;
        if let Some(id) = correlation.transaction_id {
            let own = (partner, id);
            pointed_at.extend(match self.transaction(own) {
                Some(_) => Some(own),
                None => self.by_transaction_id(id),
            });
            is_named = !pointed_at.is_empty();
        }
        for (field, value) in correlation.ids() {
            // The token's own partner comes first: an id that somebody else also claims must not block it.
            let own = self.holder(partner, provider, field, value);
            match own {
                Some(key) => pointed_at.push(key),
                None => pointed_at.extend(self.holders(provider, field, value).iter().copied()),
            }
        }
        pointed_at.sort_unstable();
        pointed_at.dedup();
        match pointed_at.as_slice() {
            [] => Match::None,
            [key]
                if key.0 == partner
                    && self
                        .transaction(*key)
                        .is_some_and(|found| found.provider == provider) =>
            {
                Match::One(*key)
            }
            all if !is_named && all.iter().all(|key| key.0 != partner) => {
                Match::Foreign(pointed_at)
            }
            _ => Match::Contradiction(pointed_at),
        }
    }
}
