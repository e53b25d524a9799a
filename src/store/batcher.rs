//! Micro-batches: commands queue up, a writer takes whatever is waiting, commits it together and only then answers.
//! The batch is what arrived during the last commit, so no timer is needed and an idle service adds no delay.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::{BATCH_MAX, QUEUE_CAPACITY, StoreError};
use crate::domain::ledger::{Command, Outcome};

/// Tries of a batch that lost a race at the database.
const TRIES: u32 = 3;

/// What a batch's commit may end in.
#[derive(Debug)]
pub enum CommitError {
    /// Lost a race (deadlock, serialisation): the same again may succeed.
    Retry(String),
    /// Everything else.
    Store(StoreError),
}

/// Commits a batch in one database transaction.
#[async_trait]
pub trait Commit: Send + Sync + 'static {
    /// One outcome a command, in order; all or nothing is written.
    async fn commit(&self, commands: Arc<[Command]>) -> Result<Vec<Outcome>, CommitError>;
}

struct Waiting {
    command: Command,
    answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// The queues of one or more writers; a partner's commands always meet the same writer.
#[derive(Debug, Clone)]
pub struct Batcher {
    writers: Arc<[mpsc::Sender<Waiting>]>,
}

impl Batcher {
    /// Starts `writers` writers; `start` is given what each of them does until the last batcher is gone.
    ///
    /// # Errors
    /// Whatever `start` ends in.
    pub fn start(
        writers: usize,
        commit: &Arc<dyn Commit>,
        start: impl Fn(BoxFuture<'static, ()>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let writers = (0..writers.max(1))
            .map(|_| {
                let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
                start(write(receiver, Arc::clone(commit)).boxed())?;
                Ok(sender)
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Self { writers })
    }

    /// Queues a command and waits for its commit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the queue is full or the database cannot be written; whatever the commit
    /// ended in otherwise.
    pub async fn record(&self, command: Command) -> Result<Outcome, StoreError> {
        let mut hasher = DefaultHasher::new();
        command.partner_id().hash(&mut hasher);
        let count = u64::try_from(self.writers.len()).unwrap_or(1);
        let index = usize::try_from(hasher.finish() % count).unwrap_or_default();
        let gone = || StoreError::Unavailable("the writer has stopped".to_owned());
        let writer = self.writers.get(index).ok_or_else(gone)?;
        let (answer, outcome) = oneshot::channel();
        writer
            .try_send(Waiting { command, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => StoreError::Unavailable(format!(
                    "{QUEUE_CAPACITY} commands are waiting already"
                )),
                mpsc::error::TrySendError::Closed(_) => gone(),
            })?;
        outcome.await.map_err(|_| gone())?
    }
}

async fn write(mut queue: mpsc::Receiver<Waiting>, commit: Arc<dyn Commit>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        // Callers that gave up before their turn are not waited for, but what they sent is still written: for a
        // callback it may be the only copy there is.
        let (commands, answers): (Vec<Command>, Vec<_>) = batch
            .drain(..)
            .map(|waiting| (waiting.command, waiting.answer))
            .unzip();
        let outcomes = commit_all(commit.as_ref(), commands).await;
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _ = answer.send(outcome);
        }
    }
}

/// Commits together; a command that spoils its batch is found by halving, so that the others still succeed.
async fn commit_all(
    commit: &dyn Commit,
    commands: Vec<Command>,
) -> Vec<Result<Outcome, StoreError>> {
    let total = commands.len();
    let mut outcomes = Vec::with_capacity(total);
    let mut pending: Vec<Arc<[Command]>> = vec![commands.into()];
    while let Some(part) = pending.pop() {
        match commit_with_retries(commit, &part).await {
            Ok(done) => outcomes.extend(done.into_iter().map(Ok)),
            Err(error @ StoreError::Unavailable(_)) => {
                outcomes.extend(part.iter().map(|_| Err(error.clone())));
            }
            Err(error) if part.len() <= 1 => {
                warn!(%error, "a command could not be written");
                outcomes.push(Err(error));
            }
            Err(error) => {
                warn!(%error, commands = part.len(), "a batch failed; halving it");
                let (left, right) = part.split_at(part.len() / 2);
                pending.push(right.to_vec().into());
                pending.push(left.to_vec().into());
            }
        }
    }
    outcomes
}

async fn commit_with_retries(
    commit: &dyn Commit,
    commands: &Arc<[Command]>,
) -> Result<Vec<Outcome>, StoreError> {
    let mut last = String::new();
    for _ in 0..TRIES {
        match commit.commit(Arc::clone(commands)).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(CommitError::Retry(reason)) => last = reason,
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Err(StoreError::Query(last))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::identity::{PartnerId, TransactionId};
    use crate::domain::ledger::{Attachment, Refusal};
    use crate::domain::transaction::ProviderIds;

    /// Fails every batch that has the poisoned command in it.
    struct Poisoned {
        poison: TransactionId,
        sizes: Mutex<Vec<usize>>,
    }

    #[async_trait]
    impl Commit for Poisoned {
        async fn commit(&self, commands: Arc<[Command]>) -> Result<Vec<Outcome>, CommitError> {
            self.sizes.lock().unwrap().push(commands.len());
            let is_poison = |command: &Command| matches!(command, Command::Attach(attachment) if attachment.transaction_id == self.poison);
            if commands.iter().any(is_poison) {
                return Err(CommitError::Store(StoreError::Query("poison".to_owned())));
            }
            Ok(commands
                .iter()
                .map(|_| Outcome::Refused(Refusal::NotFound))
                .collect())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_bad_command_does_not_spoil_its_batch() {
        let now = SystemClock.now();
        let commands: Vec<Command> = (0..9)
            .map(|_| {
                Command::Attach(Attachment {
                    partner_id: PartnerId::new(now),
                    transaction_id: TransactionId::new(now),
                    ids: ProviderIds::default(),
                })
            })
            .collect();
        let Command::Attach(fifth) = &commands[4] else {
            unreachable!()
        };
        let commit = Poisoned {
            poison: fifth.transaction_id,
            sizes: Mutex::default(),
        };
        let outcomes = commit_all(&commit, commands).await;
        let failed: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(failed.iter().filter(|failed| **failed).count(), 1);
        assert!(failed[4], "the outcomes keep the commands' order");
        assert_eq!(commit.sizes.lock().unwrap()[0], 9);
    }
}
