//! Accounts at providers, their access tokens and their balances.

use async_trait::async_trait;

use crate::domain::account::Account;
use crate::domain::clock::Instant;
use crate::domain::identity::{AccountId, PartnerId};
use crate::domain::status_update::Balance;
use crate::domain::transaction::Provider;
use crate::store::{Audit, StoreError};

/// An account's access token as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken {
    /// The token, sealed.
    pub sealed: Vec<u8>,
    /// Not to be used from then on.
    pub good_until: Instant,
}

/// Accounts at providers, and what belongs to one.
#[async_trait]
pub trait AccountStore: Send + Sync + 'static {
    /// The account a callback token names.
    async fn find_account_by_token(&self, token: String) -> Result<Option<Account>, StoreError>;
    /// All accounts, or those of one partner.
    async fn list_accounts(&self, partner: Option<PartnerId>) -> Result<Vec<Account>, StoreError>;
    /// The accounts of a provider, at most `limit`.
    async fn list_provider_accounts(
        &self,
        provider: Provider,
        limit: i64,
    ) -> Result<Vec<Account>, StoreError>;
    /// Keeps a new account.
    async fn insert_account(&self, account: Account, audit: Audit) -> Result<(), StoreError>;
    /// Replaces an account's credentials; false if there is none.
    async fn update_account(&self, account: Account, audit: Audit) -> Result<bool, StoreError>;
    /// Removes an account; false if there is none.
    async fn remove_account(&self, id: AccountId, audit: Audit) -> Result<bool, StoreError>;
    /// The access token kept for an account.
    async fn find_token(&self, account: AccountId) -> Result<Option<SealedToken>, StoreError>;
    /// Takes the right to fetch an account's next token until `until`; false while another process has it.
    async fn claim_token(
        &self,
        account: AccountId,
        now: Instant,
        until: Instant,
    ) -> Result<bool, StoreError>;
    /// Gives that right back, and keeps the token that was fetched.
    async fn keep_token(
        &self,
        account: AccountId,
        token: Option<SealedToken>,
    ) -> Result<(), StoreError>;
    /// The balances an account last reported.
    async fn list_balances(
        &self,
        partner: PartnerId,
        account: AccountId,
    ) -> Result<Vec<(Balance, Instant)>, StoreError>;
}
