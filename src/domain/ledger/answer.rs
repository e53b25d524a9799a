//! What a provider said to a call or a question of ours. The payment was committed before the call, so every answer
//! finds its transaction; news may have been quicker than the answer, and then the answer changes nothing any more.

use crate::domain::clock::Instant;
use crate::domain::payment::CallAnswer;
use crate::domain::status::Status;
use crate::domain::status_update::{Api, Correlation, ResultClass, StatusUpdate};
use crate::domain::timeline::TimelineKind;
use crate::domain::transaction::{Kind, ProviderIds};

use super::working_set::{Ask, Key, Ledger};
use super::{Outcome, ProviderAnswer, Refusal, Word};

impl Ledger {
    pub(super) fn answered(&mut self, answer: ProviderAnswer) -> Outcome {
        let key = (answer.partner_id, answer.transaction_id);
        let Some(known) = self.transaction(key) else {
            return Outcome::Refused(Refusal::NotFound);
        };
        let kind = known.kind;
        // What was asked before it failed says nothing of the failure.
        let was_unconfirmed =
            answer.was_unconfirmed && known.status.is_final() && known.unconfirmed;
        match answer.word {
            Word::Accepted {
                ids,
                merchant_request_id,
                answer: words,
                update,
            } => {
                self.changes.answers.push((key.0, key.1, words));
                self.accept(key, &ids, merchant_request_id, &answer.source);
                if let Some(update) = update {
                    self.apply(key, &update, &answer.source);
                }
            }
            Word::NotAccepted(words) => self.not_accepted(key, kind, words, &answer.source),
            Word::News {
                update,
                ask_again_at,
            } => {
                self.apply(key, &update, &answer.source);
                self.ask_again(key, was_unconfirmed, ask_again_at);
            }
            Word::NoNews {
                ask_again_at,
                was_heard,
            } => self.ask_again(key, was_unconfirmed && was_heard, ask_again_at),
            Word::Stuck { last_news } => self.give_up(key, last_news, &answer.source),
        }
        match self.transaction(key) {
            Some(transaction) => Outcome::Answered(Box::new(transaction.clone())),
            None => Outcome::Refused(Refusal::NotFound),
        }
    }

    /// The provider has the payment: its ids are learned and what waited for them is applied.
    fn accept(
        &mut self,
        key: Key,
        ids: &ProviderIds,
        merchant_request_id: Option<String>,
        source: &str,
    ) {
        let Some(known) = self.transaction(key) else {
            return;
        };
        let (provider, status) = (known.provider, known.status);
        let known_ids = known.ids.clone();
        let mut free = ProviderIds::default();
        for (field, value) in ids.known() {
            let holder = self.holder(key.0, provider, field, value);
            let differs = known_ids.value(field).is_some_and(|held| held != value);
            match holder.filter(|holder| *holder != key) {
                None if !differs => free.set(field, value.to_owned()),
                other => {
                    let mut entry = self.line(TimelineKind::Conflict, None, None, source);
                    entry.note = Some(match other {
                        Some(other) => format!(
                            "transaction {} has the {} of the answer",
                            other.1,
                            field.as_str()
                        ),
                        None => format!("the answer names another {}", field.as_str()),
                    });
                    self.note(key, entry);
                }
            }
        }
        let learned = self.learn_ids(key, &free);
        if let Some(slot) = self.slot(key)
            && slot.now.merchant_request_id.is_none()
        {
            slot.now.merchant_request_id = merchant_request_id;
        }
        if status == Status::Queued {
            self.move_to(key, Status::Accepted);
            self.announce(
                key,
                self.line(
                    TimelineKind::StatusChanged,
                    Some(status),
                    Some(Status::Accepted),
                    source,
                ),
            );
        } else if learned {
            self.note(
                key,
                self.line(TimelineKind::IdsAttached, None, None, source),
            );
        }
        self.settle_waiting(key);
    }

    fn not_accepted(&mut self, key: Key, kind: Kind, words: CallAnswer, source: &str) {
        match &words {
            CallAnswer::Refused { code, message, .. } => {
                let mut update =
                    StatusUpdate::new(Api::of(kind), ResultClass::Failed, Correlation::default());
                update.result_code.clone_from(code);
                update.result_description = Some(message.clone());
                self.apply(key, &update, source);
            }
            CallAnswer::Unknown { reason } => {
                let mut entry = self.line(TimelineKind::News, None, None, source);
                entry.note = Some(format!("{reason}: the provider will be asked"));
                self.note(key, entry);
            }
            CallAnswer::Accepted { .. } => {}
        }
        self.changes.answers.push((key.0, key.1, words));
    }

    fn ask_again(&mut self, key: Key, was_asked_once: bool, at: Instant) {
        if let Some(slot) = self.slot(key) {
            slot.ask = if was_asked_once {
                Ask::NoMore
            } else {
                Ask::At(at)
            };
        }
    }

    fn give_up(&mut self, key: Key, last_news: Instant, source: &str) {
        let Some(slot) = self.slot(key) else { return };
        if slot.now.updated_at > last_news {
            // Its time has begun again; when the lease on it ends, it is asked about as usual.
            return;
        }
        if slot.now.status.is_final() {
            slot.ask = Ask::NoMore;
            return;
        }
        slot.ask = Ask::Stuck;
        let mut entry = self.line(TimelineKind::Stuck, None, None, source);
        entry.note = Some("the provider never told what became of it".to_owned());
        self.note(key, entry);
    }
}
