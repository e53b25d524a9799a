//! Payments that their provider told us of and nobody registered: their kept callbacks make their transactions, once the
//! time is over in which the ids of a registered one may still be on their way.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::ledger::{Command, EARLY_SPAN};
use crate::store::{Store, StoreError};

/// How often such callbacks are looked for.
const EVERY: Duration = Duration::from_secs(30);
/// How many one step takes at most.
const STEP_MAX: i64 = 100;

/// Settles what nobody claimed; how many callbacks it took.
///
/// # Errors
/// The database's; what was not settled is found again.
pub async fn step(store: &dyn Store, clock: &dyn Clock) -> Result<usize, StoreError> {
    let unclaimed = store
        .list_unclaimed(clock.now() - EARLY_SPAN, STEP_MAX)
        .await?;
    let count = unclaimed.len();
    for one in unclaimed {
        store.record(Command::Unclaimed(Box::new(one))).await?;
    }
    Ok(count)
}

/// Steps until told to stop.
pub async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>, cancel: CancellationToken) {
    loop {
        if let Err(error) = step(store.as_ref(), clock.as_ref()).await {
            tracing::warn!(%error, "unclaimed payments will be looked for again");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
