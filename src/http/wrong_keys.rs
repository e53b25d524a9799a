//! Wrong keys are limited per source address, before the database is asked for a key. A place is taken for each that this
//! process has not accepted before, and given back if the key was right. While there are several instances they count
//! together, in the rows of the quotas, and each remembers what it learned there: an address that is refused is refused
//! without asking, so that a flood does not reach the database. Without those rows each counts for itself.

use std::net::IpAddr;
use std::time::Duration;

use super::State;
use super::error::ApiError;
use super::places::{Places, network};
use crate::domain::allowance::{Allowance, Caller, Standing};
use crate::instances::COUNT_PATIENCE;

/// Wrong keys from one address: this many at once, refilled at that rate a minute.
pub const FAILED_KEYS_PER_MINUTE: u32 = 20;
/// One place is refilled in this time.
const INTERVAL: Duration = Duration::from_millis(3_000);
/// Its name in the database.
const BUCKET: &str = "wrong_key";

/// The limit.
pub struct WrongKeys {
    places: Places<IpAddr>,
    allowance: Option<Allowance>,
}

/// A place that was taken; of nobody for a connection without an address, which is not limited.
#[derive(Debug, Default)]
#[must_use]
pub struct Taken {
    address: Option<IpAddr>,
    is_shared: bool,
}

impl Default for WrongKeys {
    fn default() -> Self {
        Self {
            places: Places::new(FAILED_KEYS_PER_MINUTE, INTERVAL),
            allowance: Allowance::new(FAILED_KEYS_PER_MINUTE),
        }
    }
}

impl WrongKeys {
    /// Takes a place. An IPv6 caller is known by its network.
    ///
    /// # Errors
    /// RATE_1001.
    pub async fn reserve(&self, state: &State, source: Option<IpAddr>) -> Result<Taken, ApiError> {
        let Some(address) = source.map(network) else {
            return Ok(Taken::default());
        };
        self.places.reserve(address).map_err(ApiError::too_many)?;
        let mut taken = Taken {
            address: Some(address),
            is_shared: false,
        };
        let Some(allowance) = self.allowance.filter(|_| !state.instances.is_alone()) else {
            return Ok(taken);
        };
        if let Some(standing) = count(state, address, allowance).await {
            self.places.learn(&address, standing.whole_in);
            if !standing.passed {
                return Err(ApiError::too_many(allowance.wait(standing)));
            }
            taken.is_shared = true;
        }
        Ok(taken)
    }

    /// Gives a place back. That the others cannot be told is no trouble of who had the right key: their place comes back by
    /// itself.
    pub async fn give_back(&self, state: &State, taken: Taken) {
        let Some(address) = taken.address else {
            return;
        };
        self.places.give_back(&address);
        if let Some(allowance) = self.allowance.filter(|_| taken.is_shared) {
            let caller = Caller::Address(address);
            let told = state.store.give_allowance_back(caller, BUCKET, allowance);
            if let Ok(Err(error)) = tokio::time::timeout(COUNT_PATIENCE, told).await {
                tracing::debug!(%error, "a place among wrong keys was not given back");
            }
        }
    }
}

/// Counts over all instances; nothing if they cannot be reached.
async fn count(state: &State, address: IpAddr, allowance: Allowance) -> Option<Standing> {
    let caller = Caller::Address(address);
    let asked = state.store.take_allowance(caller, BUCKET, allowance);
    tokio::time::timeout(COUNT_PATIENCE, asked).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_are_refilled_at_their_limit_a_minute() {
        let allowance = WrongKeys::default().allowance.unwrap();
        assert_eq!(allowance.interval(), INTERVAL);
    }
}
