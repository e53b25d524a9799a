//! Applying a piece of news to the transaction it is about: the state machine's moves and their exceptions.

use crate::domain::identity::TransactionId;
use crate::domain::money::Amount;
use crate::domain::status::Status;
use crate::domain::status_update::{Api, Payer, ResultClass, StatusUpdate};
use crate::domain::timeline::TimelineKind;
use crate::domain::transaction::{IdField, Kind, Provider, ProviderIds, Transaction};

use super::CallbackState;
use super::callback::Judgement;
use super::working_set::{Ask, Key, Ledger};

/// What news means for a transaction as it stands.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    /// Goes to this status.
    To(Status, TimelineKind),
    /// Money went back on something that was never known as paid: marked, no event.
    MarkReturned,
    /// Fills in what was not known.
    Complete,
    /// Nothing new.
    Nothing,
    /// Worth a line, no move.
    Note,
    /// Contradicts what stands.
    Conflict(&'static str),
}

impl Ledger {
    /// Applies `update` to the transaction at `key` exactly once, in the words of the timeline.
    pub(super) fn apply(&mut self, key: Key, update: &StatusUpdate, source: &str) -> Judgement {
        let Some(known) = self.transaction(key).cloned() else {
            return Judgement::new(CallbackState::Unmatched, None);
        };
        if let Some(field) = foreign_id(&known, update) {
            let note = format!("its {} is not this transaction's", field.as_str());
            self.conflict(key, update, source, &note);
            return Judgement::new(CallbackState::Conflict, Some(key.1)).because(note);
        }
        let verdict = judge(&known, update);
        if !matches!(verdict, Move::Conflict(_)) {
            self.learn(key, update);
        }
        let state = match verdict {
            Move::To(status, kind) => {
                self.transition(key, update, status, kind, source);
                CallbackState::Applied
            }
            Move::MarkReturned => {
                self.mark_returned(key, update, source);
                CallbackState::Applied
            }
            Move::Complete => {
                self.complete(key, update, source);
                CallbackState::Applied
            }
            Move::Nothing => CallbackState::Duplicate,
            Move::Note => {
                self.news(key, update, source);
                CallbackState::Noted
            }
            Move::Conflict(note) => {
                self.conflict(key, update, source, note);
                return Judgement::new(CallbackState::Conflict, Some(key.1)).because(note);
            }
        };
        // New ids or a new receipt may be what kept callbacks wait for.
        self.settle_waiting(key);
        Judgement::new(state, Some(key.1))
    }

    /// Takes over ids that were not known; they may be what kept callbacks wait for.
    fn learn(&mut self, key: Key, update: &StatusUpdate) {
        if self
            .transaction(key)
            .is_some_and(|known| speaks_of_other_ids(known, update))
        {
            return;
        }
        let ids = ProviderIds {
            conversation_id: update.correlation.conversation_id.clone(),
            originator_conversation_id: update.correlation.originator_conversation_id.clone(),
            order_reference: update.correlation.order_reference.clone(),
        };
        self.learn_ids(key, &ids);
        if let Some(slot) = self.slot(key)
            && slot.now.merchant_request_id.is_none()
        {
            slot.now
                .merchant_request_id
                .clone_from(&update.correlation.merchant_request_id);
        }
    }

    fn transition(
        &mut self,
        key: Key,
        update: &StatusUpdate,
        status: Status,
        kind: TimelineKind,
        source: &str,
    ) {
        let now = self.now;
        let Some(slot) = self.slot(key) else { return };
        let transaction = &mut slot.now;
        let from = transaction.status;
        transaction.status = status;
        transaction.unconfirmed =
            update.class == ResultClass::Unconfirmed && status == Status::Failed;
        transaction.updated_at = now;
        transaction.result_code.clone_from(&update.result_code);
        transaction
            .result_description
            .clone_from(&update.result_description);
        take_over(transaction, update);
        if update.returned {
            transaction.reversed_at = Some(now);
        }
        self.reindex(key);
        let mut entry = self.line(kind, Some(from), Some(status), source);
        entry.result_code.clone_from(&update.result_code);
        entry.note.clone_from(&update.result_description);
        self.announce(key, entry);
        if status == Status::Success {
            self.check_success(key, update, source);
        }
    }

    /// What follows from a success: the amount is compared, the receipt's other holders are told, a reversal
    /// takes its original back.
    fn check_success(&mut self, key: Key, update: &StatusUpdate, source: &str) {
        let Some(transaction) = self.transaction(key).cloned() else {
            return;
        };
        if let Some(paid) = transaction.paid
            && paid != transaction.amount
        {
            self.note_mismatch(key, paid, source);
        }
        if let Some(receipt) = &transaction.receipt {
            self.tell_same_receipt(key, transaction.provider, receipt, source);
        }
        if transaction.is_reversal() {
            self.take_back_original(key, &transaction, update, source);
        }
    }

    pub(super) fn note_mismatch(&mut self, key: Key, paid: Amount, source: &str) {
        let mut entry = self.line(TimelineKind::AmountMismatch, None, None, source);
        entry.note = self
            .transaction(key)
            .map(|known| format!("asked for {}, paid {paid}", known.amount));
        self.note(key, entry);
        self.changes.amount_mismatches += 1;
    }

    /// A prompt on a paybill may be told twice, as its own result and as a C2B confirmation: two rows that share
    /// a receipt are never merged by a guess, but both say so.
    pub(super) fn tell_same_receipt(
        &mut self,
        key: Key,
        provider: Provider,
        receipt: &str,
        source: &str,
    ) {
        for other in self.others_of_receipt(key, provider, receipt) {
            for (place, twin) in [(key, other), (other, key)] {
                let mut entry = self.line(TimelineKind::Conflict, None, None, source);
                entry.note = Some(format!("transaction {} has the same receipt", twin.1));
                self.note(place, entry);
            }
        }
    }

    /// A reversal that succeeded moves what it reversed, in the same commit.
    fn take_back_original(
        &mut self,
        key: Key,
        reversal: &Transaction,
        update: &StatusUpdate,
        source: &str,
    ) {
        let by_receipt = update
            .original_receipt
            .as_deref()
            .and_then(|receipt| self.payment_of_receipt(key, reversal.provider, receipt));
        let linked = reversal.original_id.map(|id| (key.0, id));
        let original = linked
            .filter(|linked| self.transaction(*linked).is_some())
            .or(by_receipt)
            .filter(|original| *original != key);
        let Some(original) = original else {
            let mut entry = self.line(TimelineKind::Conflict, None, None, source);
            entry.note = Some("the payment it reversed is not known".to_owned());
            self.note(key, entry);
            return;
        };
        if let Some(slot) = self.slot(key)
            && slot.now.original_id.is_none()
        {
            slot.now.original_id = Some(original.1);
        }
        self.reverse(original, key.1, source);
        self.tell_twins_of_reversal(key, original, source);
    }

    /// The one of the partner's payments whose receipt a reversal names. Where a prompt and a payment that its provider
    /// told of share it, the prompt is meant: it is the row that the partner knows. Else the oldest.
    fn payment_of_receipt(&self, reversal: Key, provider: Provider, receipt: &str) -> Option<Key> {
        self.others_of_receipt(reversal, provider, receipt)
            .into_iter()
            .filter_map(|key| Some((key, self.transaction(key)?)))
            .min_by_key(|(_, held)| {
                let is_twin = self.is_unregistered((held.partner_id, held.id));
                (is_twin, held.created_at, held.id)
            })
            .map(|(key, _)| key)
    }

    /// The partner's transactions with this receipt, but for the one at `key`.
    fn others_of_receipt(&self, key: Key, provider: Provider, receipt: &str) -> Vec<Key> {
        self.holders(provider, IdField::Receipt, receipt)
            .iter()
            .copied()
            .filter(|other| other.0 == key.0 && *other != key)
            .collect()
    }

    /// A payment that two rows tell of is taken back once; the other row says so.
    fn tell_twins_of_reversal(&mut self, reversal: Key, original: Key, source: &str) {
        let Some((provider, Some(receipt))) = self
            .transaction(original)
            .map(|held| (held.provider, held.receipt.clone()))
        else {
            return;
        };
        for twin in self.others_of_receipt(original, provider, &receipt) {
            if twin != reversal {
                let mut entry = self.line(TimelineKind::Conflict, None, None, source);
                entry.note = Some(format!(
                    "transaction {} has the same receipt and was reversed by transaction {}",
                    original.1, reversal.1
                ));
                self.note(twin, entry);
            }
        }
    }

    fn reverse(&mut self, key: Key, reversal: TransactionId, source: &str) {
        let now = self.now;
        let note = format!("reversed by transaction {reversal}");
        let Some(slot) = self.slot(key) else { return };
        let from = slot.now.status;
        if slot.now.reversed_at.is_some() {
            return;
        }
        if from == Status::Failed && !slot.now.unconfirmed {
            let mut entry = self.line(TimelineKind::Conflict, None, None, source);
            entry.note = Some(format!("{note}, though it failed"));
            self.note(key, entry);
            return;
        }
        slot.now.reversed_at = Some(now);
        slot.touch(now);
        slot.now.status = Status::Failed;
        slot.now.unconfirmed = false;
        if from != Status::Failed {
            // The code of the success; a failure must not carry it, and the reversal has its own row for its own.
            slot.now.result_code = None;
        }
        slot.now.result_description = Some("The payment was reversed.".to_owned());
        let mut entry = self.line(
            TimelineKind::Reversed,
            Some(from),
            Some(Status::Failed),
            source,
        );
        entry.note = Some(note);
        if from == Status::Failed {
            self.note(key, entry);
        } else {
            self.announce(key, entry);
        }
    }

    fn mark_returned(&mut self, key: Key, update: &StatusUpdate, source: &str) {
        let now = self.now;
        if let Some(slot) = self.slot(key) {
            slot.now.reversed_at = Some(now);
            slot.now.unconfirmed = false;
            slot.touch(now);
            take_over(&mut slot.now, update);
        }
        let mut entry = self.line(TimelineKind::Reversed, None, None, source);
        entry.result_code.clone_from(&update.result_code);
        entry.note.clone_from(&update.result_description);
        self.note(key, entry);
    }

    fn complete(&mut self, key: Key, update: &StatusUpdate, source: &str) {
        let now = self.now;
        let mut mismatch = None;
        let mut receipt_is_new = false;
        if let Some(slot) = self.slot(key) {
            receipt_is_new = slot.now.receipt.is_none() && update.receipt.is_some();
            let paid_is_new = slot.now.paid.is_none();
            take_over(&mut slot.now, update);
            slot.touch(now);
            mismatch = slot
                .now
                .paid
                .filter(|paid| paid_is_new && *paid != slot.now.amount);
        }
        self.reindex(key);
        let mut entry = self.line(TimelineKind::Completed, None, None, source);
        entry.result_code.clone_from(&update.result_code);
        entry.note = update
            .provider_status
            .clone()
            .or_else(|| update.result_description.clone());
        self.note(key, entry);
        if let Some(paid) = mismatch {
            self.note_mismatch(key, paid, source);
        }
        if receipt_is_new
            && let Some(receipt) = &update.receipt
            && let Some(provider) = self.transaction(key).map(|known| known.provider)
        {
            self.tell_same_receipt(key, provider, receipt, source);
        }
    }

    /// Still pending, or a code nobody knows: the row keeps its status, the provider's word is shown.
    fn news(&mut self, key: Key, update: &StatusUpdate, source: &str) {
        let now = self.now;
        if let Some(slot) = self.slot(key) {
            // A question that failed must not be its own next question.
            if update.class == ResultClass::Unknown && update.api != Api::StatusQuery {
                slot.ask = Ask::At(now);
            }
            if let Some(word) = &update.provider_status
                && slot.now.provider_status.as_ref() != Some(word)
            {
                slot.now.provider_status = Some(word.clone());
                slot.touch(now);
            }
        }
        let mut entry = self.line(TimelineKind::News, None, None, source);
        entry.result_code.clone_from(&update.result_code);
        entry.note = update
            .result_description
            .clone()
            .or_else(|| update.provider_status.clone());
        self.note(key, entry);
    }

    fn conflict(&mut self, key: Key, update: &StatusUpdate, source: &str, note: &str) {
        let mut entry = self.line(TimelineKind::Conflict, None, None, source);
        entry.result_code.clone_from(&update.result_code);
        entry.note = Some(note.to_owned());
        self.note(key, entry);
    }
}

/// The id in which the news differs from what the transaction is known by. ClickPesa makes one payment id per
/// attempt for the same order reference, so there the order reference alone decides.
fn foreign_id(known: &Transaction, update: &StatusUpdate) -> Option<IdField> {
    if speaks_of_other_ids(known, update) {
        return None;
    }
    let correlation = &update.correlation;
    let told = [
        (IdField::OrderReference, &correlation.order_reference),
        (
            IdField::OriginatorConversation,
            &correlation.originator_conversation_id,
        ),
        (IdField::Conversation, &correlation.conversation_id),
    ];
    let same_order = correlation.order_reference.is_some()
        && correlation.order_reference == known.ids.order_reference;
    told.into_iter()
        .filter(|(field, _)| !(same_order && *field == IdField::Conversation))
        .find(|(field, value)| {
            matches!((known.ids.value(*field), value.as_deref()), (Some(held), Some(said)) if held != said)
        })
        .map(|(field, _)| field)
}

/// The answer to an M-Pesa status query names every payment by M-Pesa's inner conversation ids (`AG_…`). Those are a
/// payout's own; a prompt is known by its CheckoutRequestID and a payer's own payment by its receipt alone.
fn speaks_of_other_ids(known: &Transaction, update: &StatusUpdate) -> bool {
    update.api == Api::StatusQuery && matches!(known.kind, Kind::StkPush | Kind::C2b)
}

fn judge(known: &Transaction, update: &StatusUpdate) -> Move {
    match (update.class, update.returned) {
        (ResultClass::Pending | ResultClass::Unknown, _) => {
            if known.status.is_final() {
                Move::Nothing
            } else {
                Move::Note
            }
        }
        (ResultClass::Success, _) => judge_success(known, update),
        (ResultClass::Failed | ResultClass::Unconfirmed, true) => match known.status {
            Status::Queued | Status::Accepted | Status::Success => {
                Move::To(Status::Failed, TimelineKind::Reversed)
            }
            Status::Failed if known.reversed_at.is_none() => Move::MarkReturned,
            Status::Failed => Move::Nothing,
        },
        (ResultClass::Failed | ResultClass::Unconfirmed, false) => match known.status {
            from if Status::Failed.may_follow(from) => {
                Move::To(Status::Failed, TimelineKind::StatusChanged)
            }
            Status::Failed
                if known.reversed_at.is_some() || known.result_code == update.result_code =>
            {
                Move::Nothing
            }
            Status::Failed => Move::Conflict("another failure than the one that stands"),
            _ => Move::Conflict("a failure after the success"),
        },
    }
}

fn judge_success(known: &Transaction, update: &StatusUpdate) -> Move {
    match known.status {
        from if Status::Success.may_follow(from) => {
            Move::To(Status::Success, TimelineKind::StatusChanged)
        }
        Status::Failed if known.reversed_at.is_some() => Move::Nothing,
        Status::Failed if known.unconfirmed => Move::To(Status::Success, TimelineKind::LateSuccess),
        Status::Failed => Move::Conflict("a success after the confirmed failure"),
        _ => match (&known.receipt, &update.receipt) {
            (Some(held), Some(said)) if held != said => {
                Move::Conflict("another receipt than the one that stands")
            }
            _ if completes(known, update) => Move::Complete,
            _ => Move::Nothing,
        },
    }
}

fn completes(known: &Transaction, update: &StatusUpdate) -> bool {
    (known.receipt.is_none() && update.receipt.is_some())
        || (known.paid.is_none() && update.paid.is_some())
        || (known.provider_status != update.provider_status
            // SETTLED follows SUCCESS; a late copy of SUCCESS must not undo it.
            && update.provider_status.as_deref() == Some("SETTLED"))
}

/// Takes over what a result brings besides its code.
fn take_over(transaction: &mut Transaction, update: &StatusUpdate) {
    if update.provider_status.is_some() {
        transaction
            .provider_status
            .clone_from(&update.provider_status);
    }
    if update.class == ResultClass::Success {
        if transaction.receipt.is_none() {
            transaction.receipt.clone_from(&update.receipt);
        }
        transaction.paid = transaction.paid.or(update.paid);
    }
    match &update.payer {
        Some(Payer::Msisdn(msisdn)) if transaction.msisdn.is_none() => {
            transaction.msisdn = Some(msisdn.clone());
        }
        Some(Payer::Key(key)) if transaction.payer_key.is_none() => {
            transaction.payer_key = Some(key.clone());
        }
        _ => {}
    }
    if transaction.account_reference.is_none() && transaction.client_request_id.is_none() {
        transaction
            .account_reference
            .clone_from(&update.account_reference);
    }
}
