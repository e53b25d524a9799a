//! A callback's way in: whose is it, may it be believed, what does it say; then into the inbox and the ledger in one
//! commit. Only what is acknowledged was kept, and everything kept is acknowledged.

pub mod unclaimed;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::account::Account;
use crate::domain::clock::{Clock, Instant};
use crate::domain::identity::{CallbackId, EnquiryId, PartnerId, TransactionId, hex};
use crate::domain::inbox::InboxRecord;
use crate::domain::ledger::{Arrival, CallbackState, Command, Outcome};
use crate::domain::status_update::{CallbackKind, Correlation, News};
use crate::domain::transaction::{IdField, Provider};
use crate::providers;
use crate::providers::clickpesa::checksum;
use crate::store::{Store, StoreError};
use crate::vault::Vault;

/// How long an account found by its token is believed before the database is asked again: what is removed stops
/// working within 5 s.
const ACCOUNTS_REMEMBERED_FOR: Duration = Duration::from_secs(4);
const ACCOUNTS_REMEMBERED: u64 = 10_000;

/// A callback as it came over the wire.
#[derive(Debug, Clone)]
pub struct Received {
    /// What the path says it is.
    pub kind: CallbackKind,
    /// Our own id from the path.
    pub transaction_id: Option<TransactionId>,
    /// The body, unread.
    pub body: Vec<u8>,
    /// Its media type as sent.
    pub content_type: Option<String>,
    /// Signatures that headers carry.
    pub signatures: Vec<String>,
    /// The address it came from.
    pub source: Option<String>,
}

/// Why a callback was not kept.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The token names no account, or one of another provider.
    #[error("no such callback address")]
    UnknownToken,
    /// The account has a checksum key and the body does not carry its checksum.
    #[error("the checksum is missing or wrong")]
    WrongChecksum,
    /// The database could not take it: not acknowledged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a provider is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// Kept.
    Accepted,
    /// C2B validation: let the payment through.
    ValidationAccepted,
    /// C2B validation: refuse it with this code of Safaricom's.
    ValidationRejected(&'static str),
}

#[derive(Clone)]
struct KnownAccount {
    account: Arc<Account>,
    checksum_key: Option<SecretString>,
}

/// The way in.
pub struct Ingest {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    accounts: Cache<String, KnownAccount>,
    /// When this process last kept a callback, by provider.
    newest: Mutex<HashMap<Provider, Instant>>,
}

impl Ingest {
    /// A way in to `store`.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            vault,
            clock,
            accounts: Cache::builder()
                .max_capacity(ACCOUNTS_REMEMBERED)
                .time_to_live(ACCOUNTS_REMEMBERED_FOR)
                .build(),
            newest: Mutex::default(),
        }
    }

    /// When this process last kept a callback of the provider's.
    pub fn newest(&self, provider: Provider) -> Option<Instant> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(&provider).copied()
    }

    /// A callback on an account's own path.
    ///
    /// # Errors
    /// See [`IngestError`]; nothing was kept then.
    pub async fn receive_with_token(
        &self,
        token: &str,
        received: Received,
    ) -> Result<Acknowledgement, IngestError> {
        let known = self
            .account_by_token(token)
            .await?
            .filter(|known| known.account.provider == received.kind.provider());
        let Some(known) = known else {
            return Err(refused("token", IngestError::UnknownToken));
        };
        if let Some(key) = &known.checksum_key
            && !carries_checksum(&received, key)
        {
            return Err(refused("checksum", IngestError::WrongChecksum));
        }
        let partner = Some(known.account.partner_id);
        self.keep(partner, Some(known.account), None, received)
            .await
    }

    /// A callback on one of the guide's paths, which name no account: the ids tell whose it is.
    ///
    /// # Errors
    /// See [`IngestError`]; nothing was kept then.
    pub async fn receive_without_token(
        &self,
        received: Received,
    ) -> Result<Acknowledgement, IngestError> {
        let provider = received.kind.provider();
        let news = providers::parse_callback(received.kind, None, &received.body);
        let owners = match ids(&news) {
            ids if ids.is_empty() => Vec::new(),
            ids => self.store.list_route_owners(provider, ids).await?,
        };
        let (partner, account, flagged) = match owners.as_slice() {
            [partner] => {
                let accounts = self.accounts_of(*partner, provider).await?;
                self.check_any(&accounts, &received)?;
                let only = match <[KnownAccount; 1]>::try_from(accounts) {
                    Ok([known]) => Some(known.account),
                    Err(_) => None,
                };
                (Some(*partner), only, None)
            }
            // Nobody has the id yet: it may wait for it if only one account can be meant.
            [] => {
                let mut accounts = self.store.list_provider_accounts(provider, 2).await?;
                match (accounts.pop(), accounts.is_empty()) {
                    (Some(account), true) => {
                        let known = self.open(account)?;
                        self.check_any(std::slice::from_ref(&known), &received)?;
                        (Some(known.account.partner_id), Some(known.account), None)
                    }
                    _ => (None, None, None),
                }
            }
            several => (
                None,
                None,
                Some(format!(
                    "{} partners have a transaction with its ids",
                    several.len()
                )),
            ),
        };
        self.keep(partner, account, flagged, received).await
    }

    /// Reads a kept callback again that could not be understood when it came; what it says now takes effect, once.
    /// Nothing changes while it still cannot be understood. The id that its path may have carried is not known any more:
    /// the ids of its body must do.
    ///
    /// # Errors
    /// The database's, also when somebody else read it again in the same moment.
    pub async fn read_again(&self, kept: &InboxRecord) -> Result<CallbackState, StoreError> {
        let Ok(kind) = kept.kind.parse::<CallbackKind>() else {
            return Ok(CallbackState::Unreadable);
        };
        let news = providers::parse_callback(kind, None, &kept.body);
        if matches!(news, News::Unreadable(_)) {
            return Ok(CallbackState::Unreadable);
        }
        let partner_id = match (kept.partner_id, kind.provider()) {
            (Some(partner), _) => Some(partner),
            (None, Provider::Mpesa) => self.only_owner(&news).await?,
            // Whoever has a checksum key believes nothing without it, and it cannot be checked any more.
            (None, Provider::Clickpesa) => None,
        };
        let account = match (partner_id, kept.account_id) {
            (Some(partner), Some(id)) => {
                let accounts = self.store.list_accounts(Some(partner)).await?;
                accounts.into_iter().find(|account| account.id == id)
            }
            _ => None,
        };
        let arrival = Arrival {
            id: kept.id,
            partner_id,
            account: account.map(Arc::new),
            provider: kind.provider(),
            kind,
            received_at: kept.received_at,
            digest: hex(&Sha256::digest(&kept.body)),
            news,
            body: kept.body.clone(),
            content_type: kept.content_type.clone(),
            source: kept.source.clone(),
            enquiry_id: None,
            flagged: None,
        };
        match self
            .store
            .record(Command::ReadAgain(Box::new(arrival)))
            .await?
        {
            Outcome::Recorded(state) => Ok(state),
            other => Err(StoreError::Query(format!(
                "a callback that is read again became {other:?}"
            ))),
        }
    }

    /// The one partner that has its ids.
    async fn only_owner(&self, news: &News) -> Result<Option<PartnerId>, StoreError> {
        let ids = ids(news);
        if ids.is_empty() {
            return Ok(None);
        }
        let owners = self.store.list_route_owners(Provider::Mpesa, ids).await?;
        match owners.as_slice() {
            [partner] => Ok(Some(*partner)),
            _ => Ok(None),
        }
    }

    async fn keep(
        &self,
        partner_id: Option<PartnerId>,
        account: Option<Arc<Account>>,
        flagged: Option<String>,
        received: Received,
    ) -> Result<Acknowledgement, IngestError> {
        let now = self.clock.now();
        let Received {
            kind,
            transaction_id,
            body,
            content_type,
            source,
            ..
        } = received;
        let acknowledgement = match kind {
            CallbackKind::C2bValidation => validate(&body, account.as_deref()),
            _ => Acknowledgement::Accepted,
        };
        let arrival = Arrival {
            id: CallbackId::new(now),
            partner_id,
            account,
            provider: kind.provider(),
            kind,
            received_at: now,
            digest: hex(&Sha256::digest(&body)),
            news: providers::parse_callback(kind, transaction_id, &body),
            body: providers::redact(kind, &body),
            content_type,
            source,
            enquiry_id: enquiry(kind, transaction_id),
            flagged,
        };
        let outcome = self
            .store
            .record(Command::Callback(Box::new(arrival)))
            .await?;
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kind.provider(), now);
        if outcome == Outcome::Recorded(CallbackState::Conflict) {
            tracing::warn!(kind = kind.as_str(), "a callback contradicts what stands");
        }
        Ok(acknowledgement)
    }

    async fn account_by_token(&self, token: &str) -> Result<Option<KnownAccount>, StoreError> {
        if let Some(known) = self.accounts.get(token).await {
            return Ok(Some(known));
        }
        let found = self.store.find_account_by_token(token.to_owned()).await?;
        let known = found.map(|account| self.open(account)).transpose()?;
        if let Some(known) = &known {
            self.accounts.insert(token.to_owned(), known.clone()).await;
        }
        Ok(known)
    }

    async fn accounts_of(
        &self,
        partner: PartnerId,
        provider: Provider,
    ) -> Result<Vec<KnownAccount>, StoreError> {
        let accounts = self.store.list_accounts(Some(partner)).await?;
        accounts
            .into_iter()
            .filter(|account| account.provider == provider)
            .map(|account| self.open(account))
            .collect()
    }

    /// Opens what ingestion needs of an account's credentials: the checksum key.
    fn open(&self, account: Account) -> Result<KnownAccount, StoreError> {
        let checksum_key = match account.provider {
            Provider::Mpesa => None,
            Provider::Clickpesa => self.checksum_key(&account)?,
        };
        Ok(KnownAccount {
            account: Arc::new(account),
            checksum_key,
        })
    }

    /// Whether there is a key cannot be told of credentials that cannot be read. That must not open the door, and it is
    /// our fault, not the provider's: what is posted now is not acknowledged and may be sent again.
    fn checksum_key(&self, account: &Account) -> Result<Option<SecretString>, StoreError> {
        let unreadable = |error: &dyn std::fmt::Display| {
            tracing::error!(account_id = %account.id, %error, "an account's credentials, sealed under MASTER_KEY");
            StoreError::Unavailable("an account's credentials cannot be read".to_owned())
        };
        let owner = account.id.seal_owner();
        let plain = self
            .vault
            .open(&owner, &account.sealed_credentials)
            .map_err(|error| unreadable(&error))?;
        let credentials: Value =
            serde_json::from_slice(&plain).map_err(|error| unreadable(&error))?;
        Ok(credentials
            .get("checksum_key")
            .and_then(Value::as_str)
            .map(SecretString::from))
    }

    /// With several accounts, the body must carry the checksum of one; an account without a key is believed.
    fn check_any(&self, accounts: &[KnownAccount], received: &Received) -> Result<(), IngestError> {
        let keys: Vec<&SecretString> = accounts
            .iter()
            .filter_map(|known| known.checksum_key.as_ref())
            .collect();
        if keys.is_empty() || keys.len() < accounts.len() {
            return Ok(());
        }
        if keys.into_iter().any(|key| carries_checksum(received, key)) {
            Ok(())
        } else {
            Err(refused("checksum", IngestError::WrongChecksum))
        }
    }
}

fn carries_checksum(received: &Received, key: &SecretString) -> bool {
    let signatures: Vec<&str> = received.signatures.iter().map(String::as_str).collect();
    checksum::verify(&received.body, &signatures, key.expose_secret())
}

/// Counts a refusal: what is refused is not kept.
pub fn refused(reason: &'static str, error: IngestError) -> IngestError {
    metrics::counter!("ussd_status_callbacks_refused_total", "reason" => reason).increment(1);
    error
}

fn validate(body: &[u8], account: Option<&Account>) -> Acknowledgement {
    match providers::mpesa::c2b::validate_c2b(body) {
        Ok(facts) if account.is_some_and(|account| account.owns_shortcode(&facts.shortcode)) => {
            Acknowledgement::ValidationAccepted
        }
        Ok(_) => Acknowledgement::ValidationRejected(providers::mpesa::c2b::INVALID_SHORTCODE),
        Err(code) => Acknowledgement::ValidationRejected(code),
    }
}

/// In the address of an answer about balances the id is that of the question.
fn enquiry(kind: CallbackKind, id: Option<TransactionId>) -> Option<EnquiryId> {
    match kind {
        CallbackKind::BalanceResult | CallbackKind::BalanceTimeout => id.map(|id| EnquiryId(id.0)),
        _ => None,
    }
}

/// The ids by which news may find its partner.
fn ids(news: &News) -> Vec<(IdField, String)> {
    news.correlation()
        .into_iter()
        .flat_map(Correlation::ids)
        .map(|(field, value)| (field, value.to_owned()))
        .collect()
}
