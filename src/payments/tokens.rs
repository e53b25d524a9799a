//! The home of an account's access token: sealed in the database, so that all processes that work with the account use
//! the same one. Under other credentials it is another token's home. While the database is away everybody fetches.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::clock::Instant;
use crate::domain::identity::{AccountId, hex};
use crate::providers::token::{Token, TokenHome};
use crate::store::{SealedToken, Store};
use crate::vault::Vault;

/// The home of one account's token.
pub struct KeptToken {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    account: AccountId,
    owner: String,
}

impl KeptToken {
    /// Of the account with these credentials.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        account: AccountId,
        credentials_digest: &[u8],
    ) -> Self {
        Self {
            store,
            vault,
            account,
            owner: format!("token:{account}:{}", hex(credentials_digest)),
        }
    }
}

#[async_trait]
impl TokenHome for KeptToken {
    async fn find(&self) -> Option<Token> {
        let kept = self.store.find_token(self.account).await.ok()??;
        // Sealed under other credentials or another master key: then it is none of ours.
        let plain = self.vault.open(&self.owner, &kept.sealed).ok()?;
        Some(Token {
            value: SecretString::from(std::str::from_utf8(&plain).ok()?),
            until: kept.good_until,
        })
    }

    async fn claim(&self, now: Instant, until: Instant) -> bool {
        let claimed = self.store.claim_token(self.account, now, until).await;
        claimed.unwrap_or(true)
    }

    async fn give_back(&self, token: Option<&Token>) {
        let sealed = token.and_then(|token| {
            let secret = token.value.expose_secret().as_bytes();
            Some(SealedToken {
                sealed: self.vault.seal(&self.owner, secret).ok()?,
                good_until: token.until,
            })
        });
        if let Err(reason) = self.store.keep_token(self.account, sealed).await {
            tracing::debug!(%reason, account = %self.account, "a token is not shared");
        }
    }
}
