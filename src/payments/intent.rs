//! Whether a payment is ours to send: its intent committed under its key, once, even where the commit's answer was lost; and
//! what a repeat of an order is told.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::Connected;
use super::{Order, PayError, Payments, Settled, WRITE_PAUSE, WRITE_PAUSE_MAX};
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::ledger::{Command, Outcome, ProviderAnswer, Registration, Word};
use crate::domain::payment::CallAnswer;
use crate::domain::search::BulkLookup;
use crate::domain::transaction::Transaction;
use crate::store::StoreError;

/// How long an intent is ordered again whose commit was not answered, while the caller waits.
const INTENT_PATIENCE: Duration = Duration::from_secs(2);
/// The first pause before it is looked whether it was committed all the same: no commit that was under way takes longer.
const LATE_PAUSE: Duration = Duration::from_secs(10);
/// How long after the order the provider is still called: whoever was told nothing for longer has perhaps tried otherwise.
const LATE_FOR: Duration = Duration::from_secs(60);

/// Whose intent is committed under an order's key.
pub(super) enum Intended {
    /// This order's: nobody else calls the provider.
    Ours(Box<Transaction>),
    /// An earlier one's.
    Another(Box<Transaction>),
}

impl Payments {
    /// The transaction that has the order's key already.
    pub(super) async fn find_known(&self, order: &Order) -> Result<Option<Transaction>, PayError> {
        let lookup = BulkLookup {
            client_request_ids: order.client_request_id.iter().cloned().collect(),
            ..BulkLookup::default()
        };
        let found = self.store.find_transactions(order.partner_id, lookup);
        Ok(found.await?.transactions.into_iter().next())
    }

    /// Commits an intent. A commit whose answer was lost may have been made or not, so it is ordered again for a while: a
    /// second one finds the first by its id.
    pub(super) async fn record_intent(
        &self,
        registration: Registration,
    ) -> Result<Intended, PayError> {
        let own_id = registration
            .intent
            .as_ref()
            .map(|intent| intent.transaction_id);
        let partner_id = registration.partner_id;
        let begun = tokio::time::Instant::now();
        loop {
            let command = Command::Register(Box::new(registration.clone()));
            match self.store.record(command).await {
                Err(StoreError::Unavailable(_)) if begun.elapsed() < INTENT_PATIENCE => {
                    tokio::time::sleep(WRITE_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
                Ok(Outcome::Registered {
                    transaction,
                    created,
                }) => {
                    let is_ours = created || Some(transaction.id) == own_id;
                    return Ok(if is_ours {
                        Intended::Ours(transaction)
                    } else {
                        Intended::Another(transaction)
                    });
                }
                Ok(Outcome::Refused(refusal)) => {
                    let holder = refusal.holder().filter(|holder| Some(*holder) == own_id);
                    return match holder {
                        Some(own) => self.find_intended(partner_id, own).await,
                        None => Err(PayError::Refused(refusal)),
                    };
                }
                Ok(Outcome::Attached(_) | Outcome::Answered(_) | Outcome::Recorded(_)) => {
                    return Err(PayError::Lost);
                }
            }
        }
    }

    /// The transaction of an intent of ours that was committed.
    async fn find_intended(
        &self,
        partner_id: PartnerId,
        id: TransactionId,
    ) -> Result<Intended, PayError> {
        let found = self.store.find_transaction(partner_id, id).await?;
        let (transaction, _) = found.ok_or(PayError::Lost)?;
        Ok(Intended::Ours(Box::new(transaction)))
    }

    /// Looks, when the database is back, whether an intent was committed whose commit was not answered; then the provider
    /// is called after all. The caller was told that nobody knows, and that the order may be sent again. After a while, or when
    /// we stop, it is written instead that nothing was sent.
    pub(super) async fn call_if_intended(self: Arc<Self>, order: Order, connected: Connected) {
        let begun = tokio::time::Instant::now();
        let mut pause = LATE_PAUSE;
        loop {
            let is_last = tokio::select! {
                () = self.cancel.cancelled() => true,
                () = tokio::time::sleep(pause) => false,
            };
            let found = self.find_intended(order.partner_id, order.transaction_id);
            let settled = match found.await {
                Ok(Intended::Ours(transaction) | Intended::Another(transaction)) => {
                    if is_last || begun.elapsed() > LATE_FOR {
                        self.not_sent(&order).await
                    } else {
                        self.call(&order, &connected, *transaction).await.map(drop)
                    }
                }
                Err(PayError::Store(StoreError::Unavailable(_))) if !is_last => {
                    pause = (pause * 2).min(WRITE_PAUSE_MAX);
                    continue;
                }
                Err(PayError::Lost) => {
                    self.remove_endpoint(&order).await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = settled {
                tracing::error!(%error, transaction_id = %order.transaction_id,
                    "what became of an order whose commit was not answered");
            }
            return;
        }
    }

    /// Writes that an order was never sent, so that it may be made anew.
    async fn not_sent(self: &Arc<Self>, order: &Order) -> Result<(), PayError> {
        let words = CallAnswer::Refused {
            code: None,
            message: "nothing was sent: the database was away".to_owned(),
            is_retryable: true,
        };
        let answer = ProviderAnswer {
            partner_id: order.partner_id,
            transaction_id: order.transaction_id,
            source: format!("call:{}", order.kind),
            was_unconfirmed: false,
            word: Word::NotAccepted(words),
        };
        self.write(answer).await.map(drop)
    }

    /// The same order again; or another one, or none, under its key.
    pub(super) async fn repeat(
        &self,
        transaction: Transaction,
        order: &Order,
    ) -> Result<Settled, PayError> {
        let record = self
            .store
            .find_payment(transaction.partner_id, transaction.id)
            .await?
            .ok_or(PayError::OnlyRegistered(transaction.id))?;
        // Who names no account means the one it went through.
        let account_id = order.account_id.unwrap_or(record.account_id);
        if record.digest != order.digest(account_id) {
            return Err(PayError::OtherOrder(transaction.id));
        }
        Ok(Settled {
            transaction,
            created: false,
            answer: record.answer,
            reference: record.reference,
            body: None,
        })
    }
}
