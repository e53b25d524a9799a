//! What instances of one database tell each other, and the quotas that they count together.

use async_trait::async_trait;

use crate::domain::allowance::{Allowance, Caller, Standing};
use crate::domain::identity::InstanceId;
use crate::store::StoreError;

/// The other instances on a shared database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// How many live.
    pub live: u32,
    /// How many of them began earlier.
    pub before: u32,
}

/// What the instances of a shared database need of each other.
#[async_trait]
pub trait InstanceStore: Send + Sync + 'static {
    /// On a shared database: says that an instance lives, and learns who else does.
    async fn record_alive(&self, id: InstanceId) -> Result<Others, StoreError>;
    /// On a shared database: says that an instance lives no more.
    async fn record_gone(&self, id: InstanceId) -> Result<(), StoreError>;
    /// On a shared database: counts one request over all instances; where its caller then stands.
    async fn take_allowance(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<Standing, StoreError>;
    /// On a shared database: a request that passed is not to count.
    async fn give_allowance_back(
        &self,
        caller: Caller,
        bucket: &'static str,
        allowance: Allowance,
    ) -> Result<(), StoreError>;
}
