//! Bringing in what another book knows of the past. A history is not news: the row, its routes and its counters are
//! written, its timeline says where it came from, and nobody is told. What happens to it afterwards is news as ever.

use crate::domain::status::Status;
use crate::domain::timeline::TimelineKind;
use crate::domain::transaction::{IdField, RegisteredIds, Transaction};

use super::working_set::{Key, Ledger};
use super::{History, Outcome, Refusal};

const SOURCE: &str = "import";

impl Ledger {
    pub(super) fn import(&mut self, history: History) -> Outcome {
        let known = match self.known_by(&history) {
            Ok(known) => known,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let (key, created) = match known {
            Some(key) => {
                let differs = self
                    .transaction(key)
                    .and_then(|known| difference(known, &history));
                if let Some(field) = differs {
                    return Outcome::Refused(Refusal::Reused {
                        field,
                        transaction_id: key.1,
                    });
                }
                (key, false)
            }
            None => (self.bring_in(history.transaction), true),
        };
        match self.transaction(key) {
            Some(transaction) => Outcome::Registered {
                transaction: Box::new(transaction.clone()),
                created,
            },
            None => Outcome::Refused(Refusal::NotFound),
        }
    }

    fn bring_in(&mut self, past: Transaction) -> Key {
        let (provider, status, receipt) = (past.provider, past.status, past.receipt.clone());
        let registered_ids = RegisteredIds::of(&past.ids);
        let key = self.insert(Transaction {
            registered_ids,
            ..past
        });
        let line = self.line(TimelineKind::Imported, None, Some(status), SOURCE);
        self.note(key, line);
        if let Some(receipt) = receipt {
            self.tell_same_receipt(key, provider, &receipt, SOURCE);
        }
        // A callback may have waited for its ids.
        self.settle_waiting(key);
        key
    }

    /// The transaction that any of its ids names; they must agree. Two rows may share a receipt, so that it names a row
    /// only where the history has nothing else.
    fn known_by(&self, history: &History) -> Result<Option<Key>, Refusal> {
        let past = &history.transaction;
        let partner = past.partner_id;
        let mut known: Option<Key> = history
            .is_id_given
            .then_some((partner, past.id))
            .filter(|key| self.transaction(*key).is_some());
        let own = past.client_request_id.as_deref();
        if let Some(key) = own.and_then(|id| self.by_client_request(partner, id)) {
            if known.is_some_and(|other| other != key) {
                return Err(Refusal::Reused {
                    field: "client_request_id",
                    transaction_id: key.1,
                });
            }
            known = Some(key);
        }
        for (field, value) in past.ids.known() {
            let Some(key) = self.holder(partner, past.provider, field, value) else {
                continue;
            };
            if known.is_some_and(|other| other != key) {
                return Err(Refusal::Held {
                    field,
                    transaction_id: key.1,
                });
            }
            known = Some(key);
        }
        let has_no_other = !history.is_id_given && own.is_none() && past.ids.is_empty();
        let by_receipt = || {
            let receipt = past.receipt.as_deref().filter(|_| has_no_other)?;
            self.holder(partner, past.provider, IdField::Receipt, receipt)
        };
        Ok(known.or_else(by_receipt))
    }
}

/// The first field in which what the history says differs from what stands. What it does not say differs in nothing;
/// nor does a row that has gone on since the history was written.
fn difference(known: &Transaction, history: &History) -> Option<&'static str> {
    let said = &history.transaction;
    let fields = [
        (
            "transaction_id",
            !history.is_id_given || said.id == known.id,
        ),
        ("provider", said.provider == known.provider),
        ("kind", said.kind == known.kind),
        ("amount", said.amount == known.amount),
        ("currency", said.currency == known.currency),
        ("created_at", said.created_at == known.created_at),
        (
            "client_request_id",
            is_in(&said.client_request_id, &known.client_request_id),
        ),
        (
            "conversation_id",
            is_in(&said.ids.conversation_id, &known.ids.conversation_id),
        ),
        (
            "originator_conversation_id",
            is_in(
                &said.ids.originator_conversation_id,
                &known.ids.originator_conversation_id,
            ),
        ),
        (
            "order_reference",
            is_in(&said.ids.order_reference, &known.ids.order_reference),
        ),
        ("msisdn", is_in(&said.msisdn, &known.msisdn)),
        ("payer_key", is_in(&said.payer_key, &known.payer_key)),
        (
            "account_reference",
            is_in(&said.account_reference, &known.account_reference),
        ),
        ("tenant_id", is_in(&said.tenant_id, &known.tenant_id)),
        ("customer_id", is_in(&said.customer_id, &known.customer_id)),
        (
            "original_transaction_id",
            is_in(&said.original_id, &known.original_id),
        ),
    ];
    let result = [
        ("status", said.status == known.status),
        ("result_code", is_in(&said.result_code, &known.result_code)),
        (
            "result_description",
            is_in(&said.result_description, &known.result_description),
        ),
        ("transaction_receipt", is_in(&said.receipt, &known.receipt)),
        ("paid_amount", is_in(&said.paid, &known.paid)),
        (
            "provider_status",
            is_in(&said.provider_status, &known.provider_status),
        ),
        ("reversed_at", is_in(&said.reversed_at, &known.reversed_at)),
    ];
    let has_gone_on = matches!(said.status, Status::Queued | Status::Accepted);
    fields
        .into_iter()
        .chain(result.into_iter().filter(|_| !has_gone_on))
        .find(|(_, same)| !same)
        .map(|(field, _)| field)
}

/// Whether what is said, if anything, is what stands.
fn is_in<T: PartialEq>(said: &Option<T>, stands: &Option<T>) -> bool {
    said.is_none() || said == stands
}
