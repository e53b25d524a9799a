//! Payments that their provider told us of and nobody registered: their kept callbacks make their transactions, once the
//! time is over in which the ids of a registered one may still be on their way.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::clock::Clock;
use crate::domain::identity::CallbackId;
use crate::domain::ledger::{Command, EARLY_SPAN};
use crate::instances::Instances;
use crate::store::{Store, StoreError};

/// How often such callbacks are looked for.
const EVERY: Duration = Duration::from_secs(30);
/// How many are read at once.
const STEP_MAX: i64 = 100;

/// Settles all that nobody claimed, oldest first; how many callbacks it settled. One that cannot be written is passed
/// over until the next time, so that it holds up no other.
///
/// # Errors
/// The database's when it is away; what was not settled is found again.
pub async fn sweep(store: &dyn Store, clock: &dyn Clock) -> Result<usize, StoreError> {
    let before = clock.now() - EARLY_SPAN;
    let mut after = CallbackId(Uuid::nil());
    let mut settled = 0;
    loop {
        let unclaimed = store.list_unclaimed(before, after, STEP_MAX).await?;
        let Some(last) = unclaimed.last() else {
            return Ok(settled);
        };
        after = last.kept.id;
        for one in unclaimed {
            let id = one.kept.id;
            match store.record(Command::Unclaimed(Box::new(one))).await {
                Ok(_) => settled += 1,
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(callback_id = %id, %error, "an unclaimed payment cannot be written");
                }
            }
        }
    }
}

/// Sweeps until told to stop, if it is ours to do.
pub async fn run(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    instances: Instances,
    cancel: CancellationToken,
) {
    tokio::select! {
        () = cancel.cancelled() => return,
        () = instances.known() => {}
    }
    loop {
        if instances.is_eldest() {
            tokio::select! {
                () = cancel.cancelled() => return,
                swept = sweep(store.as_ref(), clock.as_ref()) => {
                    if let Err(error) = swept {
                        tracing::warn!(%error, "unclaimed payments will be looked for again");
                    }
                }
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
