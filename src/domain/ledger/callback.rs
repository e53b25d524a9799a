//! A callback's way through the ledger: find its transaction, apply it, or keep it until its id becomes known.

use crate::domain::identity::{AccountId, PartnerId, TransactionId};
use crate::domain::status::Status;
use crate::domain::status_update::{CallbackKind, Correlation, News, StatusUpdate, Unregistered};
use crate::domain::timeline::TimelineKind;
use crate::domain::transaction::{Kind, Provider, ProviderIds, RegisteredIds, Transaction};

use super::working_set::{Ask, Key, Ledger, Match, Waiting};
use super::{Arrival, CallbackRecord, CallbackState, PROVIDER_ORIGIN, SettledCallback, Unclaimed};

/// What became of a piece of news.
#[derive(Debug)]
pub(super) struct Judgement {
    pub(super) state: CallbackState,
    pub(super) transaction_id: Option<TransactionId>,
    pub(super) note: Option<String>,
}

impl Judgement {
    pub(super) fn new(state: CallbackState, transaction_id: Option<TransactionId>) -> Self {
        Self {
            state,
            transaction_id,
            note: None,
        }
    }

    pub(super) fn because(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

impl Ledger {
    /// Keeps a callback, whatever it is, with what came of it.
    pub(super) fn receive(&mut self, arrival: Arrival) -> CallbackState {
        let record = self.record_of(arrival);
        let state = record.state;
        self.changes.callbacks.push(record);
        state
    }

    /// Does for a kept callback what would have been done when it came, had it been understood then. Its row is changed
    /// in place, once: the store's guard refuses a row that is understood already.
    pub(super) fn read_again(&mut self, arrival: Arrival) -> CallbackState {
        if matches!(arrival.news, News::Unreadable(_)) {
            return CallbackState::Unreadable;
        }
        let mut read = self.changes.read_again.iter();
        if read.any(|record| record.arrival.id == arrival.id) {
            return CallbackState::Duplicate;
        }
        let record = self.record_of(arrival);
        let state = record.state;
        self.changes.read_again.push(record);
        state
    }

    fn record_of(&mut self, arrival: Arrival) -> CallbackRecord {
        let judgement = match (&arrival.flagged, arrival.partner_id) {
            (Some(reason), _) => {
                Judgement::new(CallbackState::Unmatched, None).because(reason.clone())
            }
            (None, None) => match &arrival.news {
                News::Unreadable(why) => {
                    Judgement::new(CallbackState::Unreadable, None).because(why.clone())
                }
                _ => Judgement::new(CallbackState::Unmatched, None)
                    .because("no account of this provider can be told from it"),
            },
            (None, Some(partner)) => self.judge(partner, &arrival),
        };
        let state = judgement.state;
        if state == CallbackState::Waiting
            && let Some(partner_id) = arrival.partner_id
        {
            // A registration later in the same batch finds it here.
            self.waiting.push(Waiting {
                id: arrival.id,
                partner_id,
                provider: arrival.provider,
                kind: arrival.kind,
                news: arrival.news.clone(),
            });
        }
        CallbackRecord {
            arrival,
            state,
            transaction_id: judgement.transaction_id,
            note: judgement.note,
        }
    }

    fn judge(&mut self, partner: PartnerId, arrival: &Arrival) -> Judgement {
        if let Some(judgement) = self.judge_balances(partner, arrival) {
            return judgement;
        }
        self.tell_foreign_holders(partner, arrival);
        match &arrival.news {
            News::Unreadable(why) => {
                Judgement::new(CallbackState::Unreadable, None).because(why.clone())
            }
            News::Information(what) => {
                Judgement::new(CallbackState::Noted, None).because(what.clone())
            }
            News::Balances { .. } => Judgement::new(CallbackState::Noted, None),
            News::Timeout(correlation) => {
                self.judge_timeout(partner, arrival.provider, arrival.kind, correlation)
            }
            News::Payment(update) => {
                match self.judge_payment(partner, arrival.provider, arrival.kind, update) {
                    Some(judgement) => judgement,
                    None => self.unknown_payment(partner, arrival, update),
                }
            }
        }
    }

    /// Others who have its ids are told once, when it arrives: not again each time that a kept one is looked at.
    fn tell_foreign_holders(&mut self, partner: PartnerId, arrival: &Arrival) {
        let Some(correlation) = arrival.news.correlation() else {
            return;
        };
        if let Match::Foreign(keys) = self.resolve(partner, arrival.provider, correlation) {
            for key in keys {
                self.tell_of_foreign_callback(key, arrival.kind);
            }
        }
    }

    fn tell_of_foreign_callback(&mut self, key: Key, kind: CallbackKind) {
        let mut entry = self.line(TimelineKind::Conflict, None, None, &source(kind));
        entry.note = Some("a callback with this id was posted to another account".to_owned());
        self.note(key, entry);
    }

    fn judge_timeout(
        &mut self,
        partner: PartnerId,
        provider: Provider,
        kind: CallbackKind,
        correlation: &Correlation,
    ) -> Judgement {
        match self.resolve(partner, provider, correlation) {
            Match::None | Match::Foreign(_) => waiting_or_unmatched(correlation),
            Match::Contradiction(keys) => self.contradiction(&keys, partner, kind),
            Match::One(key) => {
                let now = self.now;
                let is_open = self
                    .transaction(key)
                    .is_some_and(|known| !known.status.is_final());
                if is_open {
                    let mut entry = self.line(TimelineKind::Timeout, None, None, &source(kind));
                    entry.note = Some("queue timeout: the provider will be asked".to_owned());
                    self.note(key, entry);
                    // A question that timed out is asked again in its turn, or it would be asked without a pause.
                    if kind != CallbackKind::StatusTimeout
                        && let Some(slot) = self.slot(key)
                    {
                        slot.ask = Ask::At(now);
                    }
                }
                Judgement::new(CallbackState::Noted, Some(key.1)).because("queue timeout")
            }
        }
    }

    /// `None` if no transaction is known yet.
    fn judge_payment(
        &mut self,
        partner: PartnerId,
        provider: Provider,
        kind: CallbackKind,
        update: &StatusUpdate,
    ) -> Option<Judgement> {
        match self.resolve(partner, provider, &update.correlation) {
            Match::One(key) => Some(self.apply(key, update, &source(kind))),
            Match::Contradiction(keys) => Some(self.contradiction(&keys, partner, kind)),
            Match::None | Match::Foreign(_) => None,
        }
    }

    /// Two ids of one callback disagree, or its path names another partner's: nothing moves and every timeline says
    /// so.
    fn contradiction(&mut self, keys: &[Key], partner: PartnerId, kind: CallbackKind) -> Judgement {
        for key in keys {
            let mut entry = self.line(TimelineKind::Conflict, None, None, &source(kind));
            entry.note = Some(if keys.len() > 1 {
                "a callback's ids point at different transactions".to_owned()
            } else if key.0 != partner {
                "a callback with this id was posted to another account".to_owned()
            } else {
                "a callback of another provider names this transaction".to_owned()
            });
            self.note(*key, entry);
        }
        let own = keys.iter().find(|key| key.0 == partner).map(|key| key.1);
        Judgement::new(CallbackState::Conflict, own)
            .because("its ids do not point at one transaction of this account")
    }

    fn unknown_payment(
        &mut self,
        partner: PartnerId,
        arrival: &Arrival,
        update: &StatusUpdate,
    ) -> Judgement {
        let Some(facts) = &update.unregistered else {
            return waiting_or_unmatched(&update.correlation);
        };
        let account = arrival.account.as_deref();
        if facts.kind == Kind::C2b {
            // Complete in itself, if the money came to this account.
            let shortcode = facts.shortcode.as_deref().unwrap_or("missing");
            if !account.is_some_and(|account| account.owns_shortcode(shortcode)) {
                return Judgement::new(CallbackState::Unmatched, None)
                    .because(format!("shortcode {shortcode:?} is not this account's"));
            }
        } else if self.may_be_early(partner, arrival.provider) {
            // It may be one that was registered and whose ids are still on their way to us.
            return waiting_or_unmatched(&update.correlation);
        }
        let account_id = account.map(|account| account.id);
        self.create_unregistered(
            partner,
            arrival.provider,
            arrival.kind,
            account_id,
            update,
            facts,
        )
    }

    /// A kept callback whose payment nobody registered makes its transaction now.
    pub(super) fn settle_unclaimed(&mut self, unclaimed: Unclaimed) -> CallbackState {
        let Unclaimed { kept, account_id } = unclaimed;
        // Settled in the meantime.
        let Some(at) = self.waiting.iter().position(|known| known.id == kept.id) else {
            return CallbackState::Duplicate;
        };
        self.waiting.remove(at);
        let News::Payment(update) = &kept.news else {
            return CallbackState::Waiting;
        };
        let judgement = match (
            self.judge_payment(kept.partner_id, kept.provider, kept.kind, update),
            &update.unregistered,
        ) {
            (Some(judgement), _) => judgement,
            (None, Some(facts)) => self.create_unregistered(
                kept.partner_id,
                kept.provider,
                kept.kind,
                account_id,
                update,
                facts,
            ),
            (None, None) => return CallbackState::Waiting,
        };
        let state = judgement.state;
        self.settle(kept, judgement);
        state
    }

    fn create_unregistered(
        &mut self,
        partner: PartnerId,
        provider: Provider,
        kind: CallbackKind,
        account_id: Option<AccountId>,
        update: &StatusUpdate,
        facts: &Unregistered,
    ) -> Judgement {
        let ids = ProviderIds {
            conversation_id: update.correlation.conversation_id.clone(),
            originator_conversation_id: update.correlation.originator_conversation_id.clone(),
            order_reference: update.correlation.order_reference.clone(),
        };
        let transaction = Transaction {
            partner_id: partner,
            id: TransactionId::new(self.now),
            account_id,
            provider,
            kind: facts.kind,
            origin: PROVIDER_ORIGIN.to_owned(),
            client_request_id: None,
            registered_ids: RegisteredIds::of(&ids),
            ids,
            merchant_request_id: None,
            msisdn: None,
            payer_key: None,
            currency: facts.currency.clone(),
            amount: facts.amount,
            paid: None,
            account_reference: update.account_reference.clone(),
            tenant_id: None,
            customer_id: None,
            original_id: None,
            status: Status::Accepted,
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
        let source = source(kind);
        self.announce(
            key,
            self.line(
                TimelineKind::Registered,
                None,
                Some(Status::Accepted),
                &source,
            ),
        );
        let judgement = self.apply(key, update, &source);
        Judgement {
            // The callback made a row, even if its news was no more than "still pending".
            state: CallbackState::Applied,
            ..judgement
        }
    }

    /// Applies every kept callback that now finds `key`, oldest first.
    pub(super) fn settle_waiting(&mut self, key: Key) {
        let mut at = 0;
        while let Some(kept) = self.waiting.get(at) {
            let Some(correlation) = kept.news.correlation() else {
                at += 1;
                continue;
            };
            let found = kept.partner_id == key.0
                && match self.resolve(kept.partner_id, kept.provider, correlation) {
                    Match::One(found) => found == key,
                    Match::Contradiction(keys) => keys.contains(&key),
                    Match::None | Match::Foreign(_) => false,
                };
            if !found {
                at += 1;
                continue;
            }
            let kept = self.waiting.remove(at);
            let judgement = match &kept.news {
                News::Payment(update) => {
                    self.judge_payment(kept.partner_id, kept.provider, kept.kind, update)
                }
                News::Timeout(correlation) => {
                    Some(self.judge_timeout(kept.partner_id, kept.provider, kept.kind, correlation))
                }
                _ => None,
            };
            if let Some(judgement) = judgement {
                self.settle(kept, judgement);
            }
            // What was applied may have brought ids that an earlier one waits for.
            at = 0;
        }
    }

    fn settle(&mut self, kept: Waiting, judgement: Judgement) {
        let arrived_now = self
            .changes
            .callbacks
            .iter_mut()
            .chain(&mut self.changes.read_again)
            .find(|record| record.arrival.id == kept.id);
        match arrived_now {
            Some(record) => {
                record.state = judgement.state;
                record.transaction_id = judgement.transaction_id;
                record.note = judgement.note;
            }
            None => self.changes.settled.push(SettledCallback {
                id: kept.id,
                state: judgement.state,
                transaction_id: judgement.transaction_id,
                note: judgement.note,
            }),
        }
    }
}

fn waiting_or_unmatched(correlation: &Correlation) -> Judgement {
    if correlation.ids().next().is_some() {
        Judgement::new(CallbackState::Waiting, None).because("its id is not known yet")
    } else if correlation.transaction_id.is_some() {
        Judgement::new(CallbackState::Unmatched, None).because("its path names no transaction")
    } else {
        Judgement::new(CallbackState::Unmatched, None).because("it carries no id")
    }
}

pub(super) fn source(kind: CallbackKind) -> String {
    format!("callback:{kind}")
}
