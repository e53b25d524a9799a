//! Keeps the outcomes of attempts until the database has them. What was sent and not recorded would be sent again, so
//! an outcome is dropped only when the process ends, and then not silently.

use std::future::Future;

use tracing::{error, warn};

use crate::domain::delivery::Attempt;
use crate::domain::identity::{DeliveryId, EndpointId};
use crate::store::StoreError;

/// Outcomes that share one database transaction at most.
const BATCH_MAX: usize = 200;

/// Outcomes that are not in the database yet, oldest first.
#[derive(Debug, Default)]
pub struct Recorder {
    waiting: Vec<Attempt>,
}

impl Recorder {
    pub fn push(&mut self, attempt: Attempt) {
        self.waiting.push(attempt);
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// What is waiting: a delivery here is not to be sent again, whoever's lease it is.
    pub fn waiting(&self) -> impl Iterator<Item = (DeliveryId, EndpointId)> {
        self.waiting
            .iter()
            .map(|attempt| (attempt.delivery_id, attempt.endpoint_id))
    }

    /// Writes everything that is waiting; how many were written. What the database refuses stays.
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
        let mut refused = Vec::new();
        let mut written = 0;
        let mut outcome = Ok(());
        while !self.waiting.is_empty() && outcome.is_ok() {
            let batch: Vec<Attempt> = self.waiting.iter().take(BATCH_MAX).cloned().collect();
            let size = batch.len();
            match record(batch.clone()).await {
                Ok(()) => written += size,
                Err(reason @ StoreError::Unavailable(_)) => {
                    outcome = Err(reason);
                    continue;
                }
                Err(reason) => {
                    warn!(%reason, size, "a batch of webhook attempts was refused: recording them one by one");
                    for attempt in batch {
                        if record_alone(&record, &attempt).await {
                            written += 1;
                        } else {
                            refused.push(attempt);
                        }
                    }
                }
            }
            self.waiting.drain(..size);
        }
        self.waiting.append(&mut refused);
        outcome.map(|()| written)
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
    use std::sync::Mutex;

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
        let kept: Vec<DeliveryId> = recorder.waiting().map(|(delivery, _)| delivery).collect();
        assert_eq!(kept, [cursed]);
    }
}
