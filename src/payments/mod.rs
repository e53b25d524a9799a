//! Starting payments, in this order: the intent is committed, the provider is called, its answer is written. Nothing is
//! ever sent twice: only who made the intent calls, and whoever repeats the order is told how it stands.

pub mod accounts;
mod balance;
mod call;
pub mod health;
mod intent;
mod order;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::clock::Clock;
use crate::domain::identity::{EndpointId, TransactionId};
use crate::domain::ledger::{Command, Outcome, ProviderAnswer, Refusal, Word};
use crate::domain::payment::CallAnswer;
use crate::domain::transaction::{ProviderIds, Transaction};
use crate::providers::answer::{Answer, Reply, Unsupported};
use crate::providers::payment_provider::Question;
use crate::store::{Actor, Audit, Store, StoreError};
use accounts::{AccountError, Accounts, Connected};
use intent::Intended;
pub use order::{Order, Original};

/// The pause before an answer that could not be written is written again; it doubles up to the longest.
const WRITE_PAUSE: Duration = Duration::from_millis(200);
const WRITE_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Why a payment was not started. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// There is no account to pay through.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The provider cannot do it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The ledger refused the intent.
    #[error("the order cannot be recorded")]
    Refused(Refusal),
    /// The idempotency key was used for another order.
    #[error("another order was made under the same key")]
    OtherOrder(TransactionId),
    /// The idempotency key is that of a transaction another system started.
    #[error("a transaction was registered under the same key")]
    OnlyRegistered(TransactionId),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that did it ended before it was done.
    #[error("the task was lost")]
    Lost,
}

/// A payment that was ordered, and how it stands.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The transaction.
    pub transaction: Transaction,
    /// Whether this order made it; else it is a repeat.
    pub created: bool,
    /// What the provider said to the call, as far as known.
    pub answer: Option<CallAnswer>,
    /// See [`Order::reference`].
    pub reference: Option<String>,
    /// The provider's answer as it came, for the caller that made the payment.
    pub body: Option<Value>,
}

/// The starter of payments.
pub struct Payments {
    /// The accounts it goes through.
    pub accounts: Accounts,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// How long after a question the next one is due.
    ask_again_after: chrono::Duration,
    /// Calls outlive the requests that caused them, so they run on the runtime of the store, not on a web worker's.
    runtime: Handle,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Payments {
    /// A starter of payments whose calls run on the runtime of the caller, counted by `tasks`; after `cancel` nothing
    /// is tried again.
    pub fn new(
        accounts: Accounts,
        (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
        ask_again_after: Duration,
        (tasks, cancel): (TaskTracker, CancellationToken),
    ) -> Self {
        Self {
            accounts,
            store,
            clock,
            ask_again_after: chrono::Duration::from_std(ask_again_after)
                .unwrap_or_else(|_| chrono::Duration::seconds(60)),
            runtime: Handle::current(),
            tasks,
            cancel,
        }
    }

    /// Runs work to its end, even if whoever waits for it goes away.
    ///
    /// # Errors
    /// [`PayError::Lost`] if it panicked or the program ends.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, PayError> {
        let task = self.tasks.spawn_on(work, &self.runtime);
        task.await.map_err(|_| PayError::Lost)
    }

    /// Starts a payment, or says how it stands if it was ordered before.
    ///
    /// # Errors
    /// See [`PayError`]; nothing was sent.
    pub async fn pay(self: &Arc<Self>, order: Order) -> Result<Settled, PayError> {
        let this = Arc::clone(self);
        self.run(async move { this.carry_out(order).await }).await?
    }

    async fn carry_out(self: Arc<Self>, order: Order) -> Result<Settled, PayError> {
        if !order.provider.kinds().contains(&order.kind) {
            return Err(Unsupported(order.kind.name()).into());
        }
        // Whoever repeats an order is told how it stands, whatever has become of the account it went through.
        let (known, connected) = tokio::join!(
            self.find_known(&order),
            self.accounts
                .find(order.partner_id, order.provider, order.account_id)
        );
        let known = known?;
        let is_known = known.is_some();
        if let Some(known) = known {
            match self.repeat(known, &order).await {
                // The ledger names the field that differs.
                Err(PayError::OtherOrder(_) | PayError::OnlyRegistered(_)) if connected.is_ok() => {
                }
                told => return told,
            }
        }
        let connected = connected?;
        let own_ids = own_ids(&order, &connected);
        let account_id = connected.account.id;
        let registration = order.registration(account_id, own_ids, order.digest(account_id));
        // Before the intent, so that the endpoint is told of its very first event; not for a repeat.
        if let Some(endpoint) = &order.endpoint
            && !is_known
        {
            let audit = audit(&order, endpoint.id, "webhook.create");
            self.store.insert_endpoint(endpoint.clone(), audit).await?;
        }
        match self.record_intent(registration).await {
            Ok(Intended::Ours(transaction)) => self.call(&order, &connected, *transaction).await,
            Ok(Intended::Another(transaction)) => {
                self.remove_endpoint(&order).await;
                self.repeat(*transaction, &order).await
            }
            Err(PayError::Store(StoreError::Unavailable(reason))) => {
                // It may be committed, and nobody else will call.
                let this = Arc::clone(&self);
                let later = async move { this.call_if_intended(order, connected).await };
                self.tasks.spawn_on(later, &self.runtime);
                Err(StoreError::Unavailable(reason).into())
            }
            Err(error) => {
                self.remove_endpoint(&order).await;
                Err(error)
            }
        }
    }

    /// The one place from which a payment is sent.
    async fn call(
        self: &Arc<Self>,
        order: &Order,
        connected: &Connected,
        transaction: Transaction,
    ) -> Result<Settled, PayError> {
        let outcome = call::send(order, connected, &transaction.ids).await;
        let (word, answer, body) = call::heard(outcome);
        if let CallAnswer::Unknown { reason } = &answer {
            tracing::warn!(transaction_id = %transaction.id, provider = %order.provider, reason,
                "nobody knows whether the provider has a payment; it will be asked");
        }
        let written = self
            .write(ProviderAnswer {
                partner_id: order.partner_id,
                transaction_id: transaction.id,
                source: format!("call:{}", order.kind),
                was_unconfirmed: false,
                word,
            })
            .await?;
        Ok(Settled {
            transaction: written,
            created: true,
            answer: Some(answer),
            reference: order.reference.clone(),
            body,
        })
    }

    /// Writes what a provider said. If the database is away, the caller is told so at once, and the answer is written
    /// as soon as it is back; if we end before that, reconciliation asks.
    async fn write(self: &Arc<Self>, answer: ProviderAnswer) -> Result<Transaction, PayError> {
        match self.write_once(answer.clone()).await {
            Err(PayError::Store(StoreError::Unavailable(reason))) => {
                let this = Arc::clone(self);
                let again = async move { this.write_until_written(answer).await };
                self.tasks.spawn_on(again, &self.runtime);
                Err(StoreError::Unavailable(reason).into())
            }
            other => other,
        }
    }

    async fn write_until_written(self: Arc<Self>, answer: ProviderAnswer) {
        let mut pause = WRITE_PAUSE;
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => {
                    // Once more: what the provider said is worth a last try.
                    if self.write_once(answer).await.is_err() {
                        tracing::error!("a provider's answer was not written; it will be asked again");
                    }
                    return;
                }
                () = tokio::time::sleep(pause) => {}
            }
            match self.write_once(answer.clone()).await {
                Err(PayError::Store(StoreError::Unavailable(_))) => {
                    pause = (pause * 2).min(WRITE_PAUSE_MAX);
                }
                Err(error) => {
                    tracing::error!(%error, "a provider's answer cannot be written");
                    return;
                }
                Ok(_) => return,
            }
        }
    }

    async fn write_once(&self, answer: ProviderAnswer) -> Result<Transaction, PayError> {
        match self
            .store
            .record(Command::Answered(Box::new(answer)))
            .await?
        {
            Outcome::Answered(transaction) => Ok(*transaction),
            Outcome::Refused(refusal) => Err(PayError::Refused(refusal)),
            Outcome::Registered { .. } | Outcome::Attached(_) | Outcome::Recorded(_) => {
                Err(PayError::Lost)
            }
        }
    }

    async fn remove_endpoint(&self, order: &Order) {
        let Some(endpoint) = &order.endpoint else {
            return;
        };
        let audit = audit(order, endpoint.id, "webhook.remove");
        let now = self.clock.now();
        if let Err(error) = self.store.remove_endpoint(endpoint.id, now, audit).await {
            tracing::warn!(%error, "an endpoint of a payment that was not made stays");
        }
    }

    /// Says what an order would do and cost. Nothing is written.
    ///
    /// # Errors
    /// See [`PayError`].
    pub async fn preview(self: &Arc<Self>, order: Order) -> Result<Reply, PayError> {
        let this = Arc::clone(self);
        self.run(async move {
            let connected = this
                .accounts
                .find(order.partner_id, order.provider, order.account_id)
                .await?;
            let ids = own_ids(&order, &connected);
            Ok(call::preview(&order, &connected, &ids).await?)
        })
        .await?
    }

    /// Asks the provider about a transaction; what it says at once is applied.
    ///
    /// # Errors
    /// See [`PayError`].
    pub async fn query(self: &Arc<Self>, transaction: Transaction) -> Result<Answer, PayError> {
        let this = Arc::clone(self);
        self.run(async move { this.ask(transaction).await }).await?
    }

    async fn ask(self: Arc<Self>, transaction: Transaction) -> Result<Answer, PayError> {
        let connected = self
            .accounts
            .find(
                transaction.partner_id,
                transaction.provider,
                transaction.account_id,
            )
            .await?;
        let question = Question::about(&transaction, connected.callbacks.clone());
        let answer = connected.client.query(&question).await?;
        if let Answer::News(update) = &answer {
            let ask_again_at = self.clock.now() + self.ask_again_after;
            self.write_once(ProviderAnswer {
                partner_id: transaction.partner_id,
                transaction_id: transaction.id,
                source: format!("query:{}", transaction.kind),
                was_unconfirmed: transaction.unconfirmed,
                word: Word::News {
                    update: update.clone(),
                    ask_again_at,
                },
            })
            .await?;
        }
        Ok(answer)
    }
}

/// The ids that are ours to choose: the partner's order reference, if it chose one.
fn own_ids(order: &Order, connected: &Connected) -> ProviderIds {
    let mut ids = connected.client.own_ids(order.kind, order.transaction_id);
    if order.order_reference.is_some() {
        ids.order_reference.clone_from(&order.order_reference);
    }
    ids
}

fn audit(order: &Order, endpoint: EndpointId, action: &'static str) -> Audit {
    Actor::new(format!("payment:{}", order.transaction_id)).audit(
        action,
        order.partner_id,
        endpoint,
    )
}
