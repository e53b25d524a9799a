//! The parts of a step: taking what is due, beginning to ask, hearing what was answered, telling the ledger.

use std::collections::HashMap;

use futures_util::future::join_all;
use metrics::{counter, gauge};
use rand::seq::SliceRandom;
use tracing::{debug, info, warn};

use super::pace::{Sign, Turn};
use super::question::{self, Line, NoLine};
use super::{
    Asked, CONCURRENCY, Claimed, HELD, LEASE, LONGEST_WAIT, PARTNER_HELD, Reconciler, Step, Told,
};
use crate::domain::clock::Instant;
use crate::domain::identity::{AccountId, PartnerId, TransactionId};
use crate::domain::ledger::{Command, Outcome, ProviderAnswer, Word};
use crate::domain::status::Status;
use crate::domain::status_update::ResultClass;
use crate::domain::transaction::{Provider, Transaction};
use crate::store::StoreError;

impl Reconciler {
    /// Takes what is due, as far as there is room, a bounded number a partner.
    pub(super) async fn claim(&mut self, due: Instant, step: &mut Step) -> Result<(), StoreError> {
        let mut room = HELD.saturating_sub(self.held());
        if room == 0 {
            return Ok(());
        }
        let mut partners = self.store.list_partners_to_ask(due).await?;
        // By chance, so that where there is more work than room the same ones are not always last.
        partners.shuffle(&mut rand::rng());
        for partner in partners {
            let held = self.held_keys().filter(|(of, _)| *of == partner).count();
            let limit = PARTNER_HELD.saturating_sub(held).min(room);
            if self.leases.is_due(self.clock.now()) {
                // The database is slow: the rest is looked for again when what is held is safe.
                break;
            }
            // Not one by one as places get free: a claim costs a commit.
            if limit == 0 || held > PARTNER_HELD / 2 {
                continue;
            }
            let since = self.clock.now();
            let until = since + LEASE;
            let limit = i64::try_from(limit).unwrap_or_default();
            let claimed = self.store.claim_questions(partner, limit, due, until);
            for transaction in claimed.await? {
                step.claimed += 1;
                // A lease may run out while the database cannot be told of the answer.
                let key = (transaction.partner_id, transaction.id);
                self.leases.take(key, until);
                if self.held_keys().any(|held| held == key) {
                    continue;
                }
                room = room.saturating_sub(1);
                self.waiting.push_back(Claimed {
                    transaction,
                    due,
                    since,
                    line: None,
                });
            }
        }
        Ok(())
    }

    pub(super) fn held_keys(&self) -> impl Iterator<Item = (PartnerId, TransactionId)> {
        let key = |transaction: &Transaction| (transaction.partner_id, transaction.id);
        let waiting = self.waiting.iter().map(move |one| key(&one.transaction));
        let under_way = self.under_way.values().map(|one| (one.0, one.1));
        let untold = self.untold.iter().map(move |one| key(&one.before));
        waiting.chain(under_way).chain(untold)
    }

    /// Gives every transaction that waits its turn, while there is room for questions.
    pub(super) async fn begin(&mut self, step: &mut Step) {
        for claimed in std::mem::take(&mut self.waiting) {
            if self.leases.is_due(self.clock.now()) {
                self.waiting.push_back(claimed);
            } else if let Some(claimed) = self.place(claimed, step).await {
                self.waiting.push_back(claimed);
            }
        }
    }

    /// Gives one its turn; it is returned if it is to wait on.
    async fn place(&mut self, mut claimed: Claimed, step: &mut Step) -> Option<Claimed> {
        let now = self.clock.now();
        if self.schedule.is_over(claimed.transaction.updated_at, now) {
            self.give_up(claimed.transaction);
            return None;
        }
        let key = (claimed.transaction.partner_id, claimed.transaction.id);
        if !self.leases.may_begin(key, now) {
            // It has news, or somebody else may take it before an answer is there; nobody has asked.
            return None;
        }
        if now - claimed.since >= LONGEST_WAIT {
            self.put_back(claimed.transaction, claimed.due);
            return None;
        }
        let line = match claimed.line.take() {
            Some(line) => line,
            None => match self.lines.find_line(&claimed.transaction).await {
                Ok(line) => line,
                Err(NoLine::Impossible(reason)) => {
                    self.cannot_ask(claimed.transaction, &reason, now);
                    return None;
                }
                Err(NoLine::Unavailable(reason)) => {
                    debug!(
                        %reason,
                        "the account to ask through will be looked for again"
                    );
                    return None;
                }
            },
        };
        let provider = claimed.transaction.provider;
        let (_, pace) = self
            .paces
            .entry(line.account_id)
            .or_insert_with(|| (provider, super::Pace::default()));
        match pace.turn(now) {
            Turn::Ask if self.questions.len() < CONCURRENCY => {
                pace.begin();
                self.ask(claimed.transaction, line, now);
                step.asked += 1;
                None
            }
            Turn::Ask | Turn::Wait => {
                claimed.line = Some(line);
                Some(claimed)
            }
            Turn::Later(at) => {
                counter!("ussd_status_reconciliation_postponed_total", "provider" => provider.as_str())
                    .increment(1);
                self.put_back(claimed.transaction, at);
                step.postponed += 1;
                None
            }
        }
    }

    fn ask(&mut self, transaction: Transaction, line: Line, now: Instant) {
        let account_id = line.account_id;
        let about = (transaction.partner_id, transaction.id, account_id);
        let task = self.questions.spawn(async move {
            let answer = question::ask(line, &transaction).await;
            Asked {
                transaction,
                account_id,
                asked_at: now,
                answer,
            }
        });
        self.under_way.insert(task.id(), about);
    }

    /// Takes in an answer: what it says about the account's pace, and what is to be told to the ledger.
    pub(super) fn hear(&mut self, asked: Asked) {
        let now = self.clock.now();
        let Asked {
            transaction,
            account_id,
            asked_at,
            answer,
        } = asked;
        let sign = question::sign(&answer);
        count(transaction.provider, question::outcome(&answer));
        self.end(account_id, sign, asked_at, now);
        let is_answer = matches!(sign, Sign::Good);
        let mut word = question::word(answer, &transaction, &self.schedule, now);
        if sign == Sign::Throttled
            && let Word::NoNews { ask_again_at, .. } = &mut word
            && let Some((_, pace)) = self.paces.get(&account_id)
            && let Turn::Later(at) = pace.turn(now)
        {
            // It was not asked: its turn comes with the others of this account.
            *ask_again_at = at;
        }
        self.untold.push(Told {
            source: format!("query:{}", transaction.kind),
            before: transaction,
            word,
            is_answer,
        });
    }

    /// A question of the account's has ended.
    pub(super) fn end(
        &mut self,
        account_id: AccountId,
        sign: Sign,
        asked_at: Instant,
        now: Instant,
    ) {
        if let Some((_, pace)) = self.paces.get_mut(&account_id) {
            pace.end(sign, asked_at, now);
            if pace.is_at_rest() {
                self.paces.remove(&account_id);
            }
        }
    }

    fn cannot_ask(&mut self, transaction: Transaction, reason: &str, now: Instant) {
        debug!(transaction_id = %transaction.id, reason, "cannot be asked about");
        count(transaction.provider, "impossible");
        let ask_again_at = self.schedule.next(transaction.updated_at, now);
        self.untold.push(Told {
            source: format!("query:{}", transaction.kind),
            before: transaction,
            word: Word::NoNews {
                ask_again_at,
                was_heard: true,
            },
            is_answer: false,
        });
    }

    fn give_up(&mut self, transaction: Transaction) {
        self.untold.push(Told {
            source: "reconciliation".to_owned(),
            word: Word::Stuck {
                last_news: transaction.updated_at,
            },
            before: transaction,
            is_answer: false,
        });
    }

    /// Leaves a transaction to be asked about at `at`.
    pub(super) fn put_back(&mut self, transaction: Transaction, at: Instant) {
        self.untold.push(Told {
            source: "reconciliation".to_owned(),
            before: transaction,
            word: Word::NoNews {
                ask_again_at: at,
                was_heard: false,
            },
            is_answer: false,
        });
    }

    /// Tells the ledger what was heard. What it cannot take now is told again with the next step.
    pub(super) async fn tell(&mut self, step: &mut Step) -> Result<(), StoreError> {
        let all = std::mem::take(&mut self.untold);
        let store = &self.store;
        let outcomes = join_all(all.iter().map(|told| {
            store.record(Command::Answered(Box::new(ProviderAnswer {
                partner_id: told.before.partner_id,
                transaction_id: told.before.id,
                source: told.source.clone(),
                was_unconfirmed: told.before.unconfirmed,
                word: told.word.clone(),
            })))
        }))
        .await;
        let mut trouble = Ok(());
        for (told, outcome) in all.into_iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Answered(after)) => note(step, &told, &after),
                // Nothing can be told of a transaction that is no more.
                Ok(_) => {}
                Err(error) => {
                    self.untold.push(told);
                    trouble = Err(error);
                }
            }
        }
        trouble
    }

    /// How many accounts are slowed down, by provider.
    pub(super) fn set_gauges(&self) {
        let mut counts: HashMap<Provider, (u32, u32)> = HashMap::new();
        for (provider, pace) in self.paces.values() {
            let (broken, throttled) = counts.entry(*provider).or_default();
            *broken += u32::from(pace.is_broken());
            *throttled += u32::from(pace.is_throttled());
        }
        for provider in Provider::ALL {
            let (broken, throttled) = counts.get(&provider).copied().unwrap_or_default();
            gauge!("ussd_status_reconciliation_breaker_open", "provider" => provider.as_str())
                .set(f64::from(broken));
            gauge!("ussd_status_reconciliation_throttled", "provider" => provider.as_str())
                .set(f64::from(throttled));
        }
    }
}

/// What came of telling.
fn note(step: &mut Step, told: &Told, after: &Transaction) {
    step.answered += usize::from(told.is_answer);
    let (id, status) = (after.id, after.status);
    match &told.word {
        Word::Stuck { last_news } if !status.is_final() && after.updated_at == *last_news => {
            warn!(transaction_id = %id, provider = %after.provider, kind = %after.kind, "stuck");
            step.stuck.push(id);
        }
        // A callback may have been quicker, and may have said something else.
        Word::News { update, .. }
            if final_status(update.class) == Some(status) && told.before.status != status =>
        {
            info!(transaction_id = %id, status = status.as_str(), "reconciled");
            step.settled.push((id, status));
        }
        _ => {}
    }
}

/// The status that news of this class ends in.
fn final_status(class: ResultClass) -> Option<Status> {
    match class {
        ResultClass::Success => Some(Status::Success),
        ResultClass::Failed | ResultClass::Unconfirmed => Some(Status::Failed),
        ResultClass::Pending | ResultClass::Unknown => None,
    }
}

fn count(provider: Provider, outcome: &'static str) {
    counter!(
        "ussd_status_reconciliation_questions_total",
        "provider" => provider.as_str(),
        "outcome" => outcome
    )
    .increment(1);
}
