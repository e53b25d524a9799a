//! Keeps the outcomes of attempts until the database has them. What was sent and not recorded would be sent again, so
//! an outcome is dropped only when the process ends, and then not silently.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant as Moment;
use tracing::{error, warn};

use crate::domain::delivery::Attempt;
use crate::domain::identity::{DeliveryId, EndpointId};
use crate::store::StoreError;

/// Outcomes that share one database transaction at most.
const BATCH_MAX: usize = 200;
/// The pause before what could not be written is tried again.
const WRITE_AGAIN: Duration = Duration::from_millis(250);

/// Outcomes that are not in the database yet, oldest first.
#[derive(Debug, Default)]
pub struct Recorder {
    waiting: Vec<Attempt>,
    /// What is being written just now.
    writing: Vec<(DeliveryId, EndpointId)>,
    /// Who writes it: one task at most.
    writer: JoinSet<Written>,
    /// Nothing is written before, after something could not be.
    not_before: Option<Moment>,
}

/// What came of writing outcomes.
#[derive(Debug)]
struct Written {
    /// So many are in the database.
    count: usize,
    /// These are not.
    left: Vec<Attempt>,
    /// Whether the database was there.
    outcome: Result<(), StoreError>,
}

impl Recorder {
    pub fn push(&mut self, attempt: Attempt) {
        self.waiting.push(attempt);
    }

    pub fn len(&self) -> usize {
        self.waiting.len() + self.writing.len()
    }

    /// Whether something could not be written when that was last tried.
    pub fn has_failed(&self) -> bool {
        self.not_before.is_some()
    }

    /// What is not in the database: a delivery here is not to be sent again, whoever's lease it is.
    pub fn held(&self) -> impl Iterator<Item = (DeliveryId, EndpointId)> {
        let waiting = self.waiting.iter().map(about);
        waiting.chain(self.writing.iter().copied())
    }

    /// Begins to write what is waiting, in a task of its own, unless something is being written already or could not be
    /// just now. To be followed by [`Recorder::written`].
    pub fn begin<R>(&mut self, record: impl Fn(Vec<Attempt>) -> R + Send + Sync + 'static)
    where
        R: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        if self.not_before.is_some_and(|moment| Moment::now() < moment) {
            return;
        }
        if let Some(attempts) = self.take() {
            self.writer.spawn(write(attempts, record));
        }
    }

    /// Waits for the end of what was begun; how many outcomes are in the database. `None` if nothing was begun.
    ///
    /// # Errors
    /// If the database is not available; everything not written waits again.
    pub async fn written(&mut self) -> Option<Result<usize, StoreError>> {
        match self.writer.join_next().await? {
            Ok(written) => {
                let is_left = !written.left.is_empty();
                self.not_before = is_left.then(|| Moment::now() + WRITE_AGAIN);
                Some(self.settle(written))
            }
            Err(reason) => {
                error!(%reason, "recording webhook attempts broke off: these are sent again");
                self.writing.clear();
                Some(Ok(0))
            }
        }
    }

    fn take(&mut self) -> Option<Vec<Attempt>> {
        if self.waiting.is_empty() || !self.writing.is_empty() {
            return None;
        }
        self.writing = self.waiting.iter().map(about).collect();
        Some(std::mem::take(&mut self.waiting))
    }

    fn settle(&mut self, written: Written) -> Result<usize, StoreError> {
        let mut left = written.left;
        left.append(&mut self.waiting);
        self.waiting = left;
        self.writing.clear();
        written.outcome.map(|()| written.count)
    }

    /// Writes everything that is waiting, after what is being written; how many were. What the database refuses stays.
    ///
    /// # Errors
    /// If the database is not available; everything not yet written stays.
    pub async fn flush<R>(
        &mut self,
        record: impl Fn(Vec<Attempt>) -> R,
    ) -> Result<usize, StoreError>
    where
        R: Future<Output = Result<(), StoreError>>,
    {
        let before = self.written().await.unwrap_or(Ok(0))?;
        let Some(attempts) = self.take() else {
            return Ok(before);
        };
        let written = write(attempts, record).await;
        Ok(before + self.settle(written)?)
    }
}

fn about(attempt: &Attempt) -> (DeliveryId, EndpointId) {
    (attempt.delivery_id, attempt.endpoint_id)
}

/// Writes outcomes in batches, as far as the database takes them.
async fn write<R>(mut attempts: Vec<Attempt>, record: impl Fn(Vec<Attempt>) -> R) -> Written
where
    R: Future<Output = Result<(), StoreError>>,
{
    let mut refused = Vec::new();
    let mut count = 0;
    let mut outcome = Ok(());
    while !attempts.is_empty() && outcome.is_ok() {
        let batch: Vec<Attempt> = attempts.iter().take(BATCH_MAX).cloned().collect();
        let size = batch.len();
        match record(batch.clone()).await {
            Ok(()) => count += size,
            Err(reason @ StoreError::Unavailable(_)) => {
                outcome = Err(reason);
                continue;
            }
            Err(reason) => {
                warn!(%reason, size, "a batch of webhook attempts was refused: recording them one by one");
                for attempt in batch {
                    if record_alone(&record, &attempt).await {
                        count += 1;
                    } else {
                        refused.push(attempt);
                    }
                }
            }
        }
        attempts.drain(..size);
    }
    attempts.append(&mut refused);
    Written {
        count,
        left: attempts,
        outcome,
    }
}

/// That it happened matters more than what was answered: a text that the database refuses is left out.
async fn record_alone<R>(record: impl Fn(Vec<Attempt>) -> R, attempt: &Attempt) -> bool
where
    R: Future<Output = Result<(), StoreError>>,
{
    if record(vec![attempt.clone()]).await.is_ok() {
        return true;
    }
    let bare = Attempt {
        response: None,
        error: None,
        ..attempt.clone()
    };
    match record(vec![bare]).await {
        Ok(()) => true,
        Err(reason) => {
            error!(%reason, delivery = %attempt.delivery_id, number = attempt.number, "a webhook attempt cannot be recorded yet");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::delivery::AttemptVerdict;
    use crate::domain::identity::PartnerId;

    fn attempt(response: &str) -> Attempt {
        let now = SystemClock.now();
        Attempt {
            delivery_id: DeliveryId::new(now),
            endpoint_id: EndpointId::new(now),
            partner_id: PartnerId::new(now),
            number: 1,
            at: now,
            duration_ms: 1,
            status: Some(200),
            error: None,
            response: Some(response.to_owned()),
            verdict: AttemptVerdict::Delivered,
            failing_since: None,
        }
    }

    fn recorder(attempts: usize) -> Recorder {
        Recorder {
            waiting: (0..attempts).map(|_| attempt("ok")).collect(),
            ..Recorder::default()
        }
    }

    #[tokio::test]
    async fn what_is_waiting_is_written_in_batches() {
        let mut recorder = recorder(450);
        let sizes = Mutex::new(Vec::new());
        let written = recorder
            .flush(async |batch: Vec<Attempt>| {
                sizes.lock().unwrap().push(batch.len());
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!((written, recorder.len()), (450, 0));
        assert_eq!(*sizes.lock().unwrap(), [200, 200, 50]);
    }

    #[tokio::test]
    async fn nothing_is_lost_while_the_database_is_away() {
        let mut recorder = recorder(3);
        let away = async |_| Err(StoreError::Unavailable("down".to_owned()));
        assert!(recorder.flush(away).await.is_err());
        assert_eq!(recorder.len(), 3);
        assert_eq!(recorder.flush(async |_| Ok(())).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_is_being_written_is_held_and_written_once() {
        let mut recorder = recorder(2);
        let begun = Arc::new(AtomicUsize::new(0));
        let go_on = Arc::new(Semaphore::new(0));
        let record = || {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            move |batch: Vec<Attempt>| {
                begun.fetch_add(batch.len(), Ordering::SeqCst);
                let go_on = Arc::clone(&go_on);
                async move {
                    go_on.acquire().await.unwrap().forget();
                    Ok(())
                }
            }
        };
        recorder.begin(record());
        recorder.push(attempt("meanwhile"));
        recorder.begin(record());
        assert_eq!((recorder.len(), recorder.held().count()), (3, 3));
        go_on.add_permits(1);
        assert_eq!(recorder.written().await.unwrap().unwrap(), 2);
        assert_eq!((recorder.len(), begun.load(Ordering::SeqCst)), (1, 2));
        go_on.add_permits(1);
        assert_eq!(recorder.flush(record()).await.unwrap(), 1);
        assert!(recorder.written().await.is_none());
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_tried_again_after_a_pause() {
        let mut recorder = recorder(2);
        let away = async |_| Err(StoreError::Unavailable("down".to_owned()));
        recorder.begin(away);
        assert!(recorder.written().await.unwrap().is_err());
        recorder.begin(async |_| Ok(()));
        assert!(recorder.written().await.is_none(), "not yet");
        // The pause is over.
        recorder.not_before = Some(Moment::now());
        recorder.begin(async |_| Ok(()));
        assert_eq!(recorder.written().await.unwrap().unwrap(), 2);
        assert_eq!(recorder.len(), 0);
    }

    #[tokio::test]
    async fn one_refused_outcome_does_not_hold_up_the_others() {
        let mut recorder = recorder(3);
        recorder.push(attempt("poison"));
        recorder.push(attempt("cursed"));
        let cursed = recorder.waiting[4].delivery_id;
        let database = async |batch: Vec<Attempt>| {
            let refuses = |attempt: &Attempt| {
                attempt.delivery_id == cursed || attempt.response.as_deref() == Some("poison")
            };
            if batch.iter().any(refuses) {
                return Err(StoreError::Query("refused".to_owned()));
            }
            Ok(())
        };
        assert_eq!(recorder.flush(database).await.unwrap(), 4);
        let kept: Vec<DeliveryId> = recorder.held().map(|(delivery, _)| delivery).collect();
        assert_eq!(kept, [cursed]);
    }
}
