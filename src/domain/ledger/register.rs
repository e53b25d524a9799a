//! Registering what another system started, and attaching the provider's ids.

use crate::domain::identity::TransactionId;
use crate::domain::payment::PaymentRecord;
use crate::domain::status::Status;
use crate::domain::timeline::{TimelineEntry, TimelineKind};
use crate::domain::transaction::{IdField, ProviderIds, RegisteredIds, Transaction};

use super::working_set::{Key, Ledger};
use super::{Attachment, Outcome, PROVIDER_ORIGIN, Refusal, Registration, TWIN_SPAN};

const API: &str = "api";

impl Ledger {
    pub(super) fn register(&mut self, registration: Registration) -> Outcome {
        let partner = registration.partner_id;
        let known = registration
            .client_request_id
            .as_deref()
            .and_then(|id| self.by_client_request(partner, id));
        if let Some(key) = known {
            return self.repeat(key, &registration);
        }
        if let Some(refusal) = self.own_id_held(&registration).or(self.twin(&registration)) {
            return Outcome::Refused(refusal);
        }
        let adopted = match self.holders_of_ids(&registration) {
            Ok(adopted) => adopted,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        if let Some(original) = registration.original_id
            && self.transaction((partner, original)).is_none()
        {
            return Outcome::Refused(Refusal::OriginalUnknown);
        }
        let key = match adopted {
            Some(key) => self.adopt(key, registration),
            None => self.create(registration),
        };
        self.settle_waiting(key);
        match self.transaction(key) {
            Some(transaction) => Outcome::Registered {
                transaction: Box::new(transaction.clone()),
                created: true,
            },
            None => Outcome::Refused(Refusal::NotFound),
        }
    }

    fn create(&mut self, registration: Registration) -> Key {
        let status = if registration.ids.is_empty() {
            Status::Queued
        } else {
            Status::Accepted
        };
        let registered_ids = RegisteredIds::of(&registration.ids);
        let (id, account_id, ids) = match registration.intent {
            Some(intent) => {
                self.changes.payments.push(PaymentRecord {
                    partner_id: registration.partner_id,
                    transaction_id: intent.transaction_id,
                    account_id: intent.account_id,
                    digest: intent.digest,
                    reference: intent.reference,
                    answer: None,
                    created_at: self.now,
                });
                (
                    intent.transaction_id,
                    Some(intent.account_id),
                    intent.own_ids,
                )
            }
            None => (TransactionId::new(self.now), None, registration.ids),
        };
        let transaction = Transaction {
            partner_id: registration.partner_id,
            id,
            account_id,
            provider: registration.provider,
            kind: registration.kind,
            origin: registration.origin,
            client_request_id: registration.client_request_id,
            registered_ids,
            ids,
            merchant_request_id: None,
            msisdn: registration.msisdn,
            payer_key: None,
            currency: registration.currency,
            amount: registration.amount,
            paid: None,
            account_reference: registration.account_reference,
            tenant_id: registration.tenant_id,
            customer_id: registration.customer_id,
            original_id: registration.original_id,
            status,
            unconfirmed: false,
            result_code: None,
            result_description: None,
            provider_status: None,
            receipt: None,
            reversed_at: None,
            created_at: self.now,
            updated_at: self.now,
        };
        let key = self.insert(transaction);
        self.announce(
            key,
            self.line(TimelineKind::Registered, None, Some(status), API),
        );
        key
    }

    /// A payment that its provider told us of first takes the registration's words; its events stand.
    fn adopt(&mut self, key: Key, registration: Registration) -> Key {
        let now = self.now;
        let mut mismatch = None;
        let mut status = None;
        if let Some(slot) = self.slot(key) {
            let transaction = &mut slot.now;
            transaction.registered_ids = RegisteredIds::of(&registration.ids);
            for (field, value) in registration.ids.known() {
                transaction.ids.set(field, value.to_owned());
            }
            transaction.kind = registration.kind;
            transaction.origin = registration.origin;
            transaction.client_request_id = registration.client_request_id;
            transaction.msisdn = registration.msisdn;
            transaction.currency = registration.currency;
            transaction.amount = registration.amount;
            transaction.account_reference = registration.account_reference;
            transaction.tenant_id = registration.tenant_id;
            transaction.customer_id = registration.customer_id;
            transaction.original_id = registration.original_id.or(transaction.original_id);
            transaction.updated_at = now;
            status = Some(transaction.status);
            if transaction
                .paid
                .is_some_and(|paid| paid != transaction.amount)
            {
                mismatch = transaction.paid;
            }
        }
        self.reindex(key);
        self.note(key, self.line(TimelineKind::Registered, None, status, API));
        if let Some(paid) = mismatch {
            self.note_mismatch(key, paid, API);
        }
        key
    }

    /// The same request again is the same transaction; another content under the same id is refused.
    fn repeat(&self, key: Key, registration: &Registration) -> Outcome {
        let Some(known) = self.transaction(key) else {
            return Outcome::Refused(Refusal::NotFound);
        };
        match difference(known, registration) {
            Some(field) => Outcome::Refused(Refusal::Reused {
                field,
                transaction_id: known.id,
            }),
            None => Outcome::Registered {
                transaction: Box::new(known.clone()),
                created: false,
            },
        }
    }

    /// An id of our own making, or the caller's order reference, that another of the partner's transactions has.
    fn own_id_held(&self, registration: &Registration) -> Option<Refusal> {
        let intent = registration.intent.as_ref()?;
        intent.own_ids.known().find_map(|(field, value)| {
            let holder =
                self.holder(registration.partner_id, registration.provider, field, value)?;
            Some(Refusal::Held {
                field,
                transaction_id: holder.1,
            })
        })
    }

    /// The same prompt, sent a moment ago. One that its provider refused was never sent: it may be tried again.
    fn twin(&self, registration: &Registration) -> Option<Refusal> {
        registration.intent.as_ref()?;
        if registration.client_request_id.is_some() {
            return None;
        }
        let since = self.now - TWIN_SPAN;
        self.transactions_of(registration.partner_id)
            .find(|known| {
                known.created_at > since
                    && known.provider == registration.provider
                    && known.kind == registration.kind
                    && known.msisdn == registration.msisdn
                    && known.amount == registration.amount
                    && known.account_reference == registration.account_reference
                    && !(known.status == Status::Failed && known.ids.conversation_id.is_none())
            })
            .map(|known| Refusal::Twin {
                transaction_id: known.id,
            })
    }

    /// Nobody may hold the ids, but for one payment that only its provider told us of.
    fn holders_of_ids(&self, registration: &Registration) -> Result<Option<Key>, Refusal> {
        let mut adopted = None;
        for (field, value) in registration.ids.known() {
            let Some(key) =
                self.holder(registration.partner_id, registration.provider, field, value)
            else {
                continue;
            };
            let adoptable = self.is_unregistered(key)
                && self
                    .transaction(key)
                    .is_some_and(|held| fits(&held.ids, &registration.ids));
            if !adoptable || adopted.is_some_and(|other| other != key) {
                return Err(Refusal::Held {
                    field,
                    transaction_id: key.1,
                });
            }
            adopted = Some(key);
        }
        Ok(adopted)
    }

    /// Whether only its provider told us of it.
    pub(super) fn is_unregistered(&self, key: Key) -> bool {
        self.transaction(key)
            .is_some_and(|held| held.client_request_id.is_none() && held.origin == PROVIDER_ORIGIN)
    }

    pub(super) fn attach(&mut self, attachment: &Attachment) -> Outcome {
        let key = (attachment.partner_id, attachment.transaction_id);
        let Some(known) = self.transaction(key) else {
            return Outcome::Refused(Refusal::NotFound);
        };
        let (known_ids, provider, status) = (known.ids.clone(), known.provider, known.status);
        for (field, value) in attachment.ids.known() {
            if known_ids.value(field).is_some_and(|held| held != value) {
                return Outcome::Refused(Refusal::Fixed { field });
            }
            if let Some(holder) = self.holder(attachment.partner_id, provider, field, value)
                && holder != key
            {
                let transaction_id = holder.1;
                return Outcome::Refused(if self.is_unregistered(holder) {
                    Refusal::ToldBefore {
                        field,
                        transaction_id,
                    }
                } else {
                    Refusal::Held {
                        field,
                        transaction_id,
                    }
                });
            }
        }
        let is_news = attachment
            .ids
            .known()
            .any(|(field, _)| known_ids.value(field).is_none());
        let accepts = status == Status::Queued;
        if is_news || accepts {
            self.learn_ids(key, &attachment.ids);
            if accepts {
                self.move_to(key, Status::Accepted);
                self.announce(
                    key,
                    self.line(
                        TimelineKind::StatusChanged,
                        Some(status),
                        Some(Status::Accepted),
                        API,
                    ),
                );
            } else {
                self.note(key, self.line(TimelineKind::IdsAttached, None, None, API));
            }
            self.settle_waiting(key);
        }
        match self.transaction(key) {
            Some(transaction) => Outcome::Attached(Box::new(transaction.clone())),
            None => Outcome::Refused(Refusal::NotFound),
        }
    }

    pub(super) fn move_to(&mut self, key: Key, status: Status) {
        let now = self.now;
        if let Some(slot) = self.slot(key) {
            slot.now.status = status;
            slot.touch(now);
        }
    }

    /// Fills the ids a transaction does not have yet; true if there were any.
    pub(super) fn learn_ids(&mut self, key: Key, ids: &ProviderIds) -> bool {
        let now = self.now;
        let Some(slot) = self.slot(key) else {
            return false;
        };
        let mut learned = false;
        for (field, value) in ids.known() {
            if slot.now.ids.value(field).is_none() {
                slot.now.ids.set(field, value.to_owned());
                slot.touch(now);
                learned = true;
            }
        }
        if learned {
            self.reindex(key);
        }
        learned
    }

    pub(super) fn reindex(&mut self, key: Key) {
        if let Some(transaction) = self.transaction(key).cloned() {
            self.index(&transaction);
        }
    }

    pub(super) fn line(
        &self,
        kind: TimelineKind,
        from: Option<Status>,
        to: Option<Status>,
        source: &str,
    ) -> TimelineEntry {
        TimelineEntry {
            at: self.now,
            kind,
            from,
            to,
            source: source.to_owned(),
            result_code: None,
            note: None,
        }
    }
}

/// Whether no id that both know differs.
fn fits(known: &ProviderIds, given: &ProviderIds) -> bool {
    given
        .known()
        .all(|(field, value)| known.value(field).is_none_or(|held| held == value))
}

/// The first field in which a repeated registration differs from what was registered.
fn difference(known: &Transaction, repeated: &Registration) -> Option<&'static str> {
    let registered = |field: IdField| {
        known
            .ids
            .value(field)
            .filter(|_| known.registered_ids.contains(field))
    };
    let fields: [(&'static str, bool); 13] = [
        ("provider", known.provider == repeated.provider),
        ("kind", known.kind == repeated.kind),
        ("msisdn", known.msisdn == repeated.msisdn),
        ("amount", known.amount == repeated.amount),
        ("currency", known.currency == repeated.currency),
        ("origin", known.origin == repeated.origin),
        ("tenant_id", known.tenant_id == repeated.tenant_id),
        ("customer_id", known.customer_id == repeated.customer_id),
        (
            "account_reference",
            known.account_reference == repeated.account_reference,
        ),
        (
            "original_transaction_id",
            repeated.original_id.is_none() || known.original_id == repeated.original_id,
        ),
        (
            "conversation_id",
            registered(IdField::Conversation) == repeated.ids.value(IdField::Conversation),
        ),
        (
            "originator_conversation_id",
            registered(IdField::OriginatorConversation)
                == repeated.ids.value(IdField::OriginatorConversation),
        ),
        (
            "order_reference",
            registered(IdField::OrderReference) == repeated.ids.value(IdField::OrderReference),
        ),
    ];
    fields
        .into_iter()
        .find(|(_, same)| !same)
        .map(|(field, _)| field)
}
