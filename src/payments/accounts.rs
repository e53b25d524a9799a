//! The accounts that payments go through: chosen among a partner's, opened, and connected to their providers. A client
//! is used again as long as the credentials are the same, for it holds the account's token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::future::Cache;
use sha2::{Digest, Sha256};
use url::Url;

use super::health::{Finding, examine_account};
use crate::domain::account::Account;
use crate::domain::clock::Clock;
use crate::domain::identity::{AccountId, PartnerId};
use crate::domain::transaction::Provider;
use crate::providers;
use crate::providers::client::HttpClient;
use crate::providers::payment_provider::{CallbackBase, PaymentProvider, Setup};
use crate::settings::Settings;
use crate::store::{Store, StoreError};
use crate::vault::Vault;

use super::tokens::KeptToken;

/// How long an account that is asked for by its id is believed before the database is asked again: what is removed or
/// changed stops working within 5 s.
const ACCOUNTS_REMEMBERED_FOR: Duration = Duration::from_secs(4);
/// Accounts, and clients, remembered at most.
const ACCOUNTS_REMEMBERED: u64 = 10_000;
/// How long a client that nobody uses is kept: longer than any token lives.
const CLIENTS_KEPT_IDLE: Duration = Duration::from_secs(2 * 3_600);

/// Why there is no account to pay through; nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// The partner has no such account at the provider.
    #[error("no account {0} of this partner at this provider")]
    Unknown(AccountId),
    /// The partner has no account at the provider.
    #[error("no account of this partner at {0}")]
    None(Provider),
    /// There are several, and the caller did not choose.
    #[error("one of {} accounts must be chosen", .0.len())]
    Several(Vec<AccountId>),
    /// Its credentials cannot be used.
    #[error("the credentials of account {id} cannot be used: {reason}")]
    Unusable {
        /// Which.
        id: AccountId,
        /// Why; quotes no secret.
        reason: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An account, ready to be called through.
#[derive(Clone)]
pub struct Connected {
    /// Its public facts.
    pub account: Arc<Account>,
    /// Its provider.
    pub client: Arc<dyn PaymentProvider>,
    /// Where its news shall be posted.
    pub callbacks: CallbackBase,
}

/// The accounts of all partners.
pub struct Accounts {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    http: HttpClient,
    settings: Settings,
    /// Where we listen by the settings, and where we really do.
    expected: Url,
    listening: OnceLock<Url>,
    known: Cache<AccountId, Arc<Account>>,
    /// By account and digest of its sealed credentials.
    clients: Cache<(AccountId, [u8; 32]), Arc<dyn PaymentProvider>>,
}

impl Accounts {
    /// The accounts in `store`.
    ///
    /// # Errors
    /// If no HTTP client can be made, or `LISTEN_ADDR` makes no URL.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        settings: &Settings,
    ) -> Result<Self, String> {
        Ok(Self {
            store,
            vault,
            clock,
            http: HttpClient::new()?,
            settings: settings.clone(),
            expected: url_of(settings.listen_addr).map_err(|error| error.to_string())?,
            listening: OnceLock::new(),
            known: Cache::builder()
                .max_capacity(ACCOUNTS_REMEMBERED)
                .time_to_live(ACCOUNTS_REMEMBERED_FOR)
                .build(),
            clients: Cache::builder()
                .max_capacity(ACCOUNTS_REMEMBERED)
                .time_to_idle(CLIENTS_KEPT_IDLE)
                .build(),
        })
    }

    /// The checks of `doctor` for one account, with a real token call.
    pub async fn examine(&self, account: &Account) -> Vec<Finding> {
        let (vault, http) = (Some(self.vault.as_ref()), Some(&self.http));
        examine_account(account, vault, &self.settings, http, &self.clock).await
    }

    /// Says where the service really listens, which `LISTEN_ADDR` with port 0 does not.
    pub fn set_address(&self, address: SocketAddr) {
        if let Ok(url) = url_of(address) {
            let _ = self.listening.set(url);
        }
    }

    /// The account of `partner` at `provider`: the one with `account_id`, else the only one there is.
    ///
    /// # Errors
    /// See [`AccountError`]. An account of another partner is unknown.
    pub async fn find(
        &self,
        partner: PartnerId,
        provider: Provider,
        account_id: Option<AccountId>,
    ) -> Result<Connected, AccountError> {
        let account = self.choose(partner, provider, account_id).await?;
        self.connect(account).await
    }

    /// The same, its public facts only.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub async fn choose(
        &self,
        partner: PartnerId,
        provider: Provider,
        account_id: Option<AccountId>,
    ) -> Result<Arc<Account>, AccountError> {
        match account_id {
            Some(id) => self.by_id(partner, provider, id).await,
            None => self.only(partner, provider).await,
        }
    }

    async fn by_id(
        &self,
        partner: PartnerId,
        provider: Provider,
        id: AccountId,
    ) -> Result<Arc<Account>, AccountError> {
        let fits = |account: &Account| {
            account.id == id && account.partner_id == partner && account.provider == provider
        };
        if let Some(account) = self.known.get(&id).await {
            return if fits(&account) {
                Ok(account)
            } else {
                Err(AccountError::Unknown(id))
            };
        }
        let found = self.list(partner).await?.into_iter().find(fits);
        let account = Arc::new(found.ok_or(AccountError::Unknown(id))?);
        self.known.insert(id, Arc::clone(&account)).await;
        Ok(account)
    }

    async fn only(
        &self,
        partner: PartnerId,
        provider: Provider,
    ) -> Result<Arc<Account>, AccountError> {
        let mut accounts = self.list(partner).await?;
        accounts.retain(|account| account.provider == provider);
        match <[Account; 1]>::try_from(accounts) {
            Ok([account]) => Ok(Arc::new(account)),
            Err(none) if none.is_empty() => Err(AccountError::None(provider)),
            Err(several) => Err(AccountError::Several(
                several.into_iter().map(|account| account.id).collect(),
            )),
        }
    }

    async fn list(&self, partner: PartnerId) -> Result<Vec<Account>, AccountError> {
        Ok(self.store.list_accounts(Some(partner)).await?)
    }

    async fn connect(&self, account: Arc<Account>) -> Result<Connected, AccountError> {
        let key: (AccountId, [u8; 32]) = (
            account.id,
            Sha256::digest(&account.sealed_credentials).into(),
        );
        // Of many that come at once one opens it, so that there is one token cache.
        let open = async { self.open(&account, &key.1) };
        let client = self.clients.try_get_with(key, open).await;
        let client = client.map_err(|error| AccountError::clone(&error))?;
        let callbacks = CallbackBase::new(self.callback_base(), account.callback_token.clone());
        Ok(Connected {
            account,
            client,
            callbacks,
        })
    }

    fn open(
        &self,
        account: &Account,
        digest: &[u8],
    ) -> Result<Arc<dyn PaymentProvider>, AccountError> {
        let unusable = |reason: String| AccountError::Unusable {
            id: account.id,
            reason,
        };
        let owner = account.id.seal_owner();
        let plain = self
            .vault
            .open(&owner, &account.sealed_credentials)
            .map_err(|error| unusable(error.to_string()))?;
        let credentials = serde_json::from_slice(&plain)
            .map_err(|_| unusable("they are no JSON object".to_owned()))?;
        providers::connect(Setup {
            account,
            credentials: &credentials,
            base_url: self.settings.provider_base_url(account.provider),
            http: self.http.clone(),
            clock: Arc::clone(&self.clock),
            tokens: Some(Arc::new(KeptToken::new(
                Arc::clone(&self.store),
                Arc::clone(&self.vault),
                account.id,
                digest,
            ))),
        })
        .map_err(|error| unusable(error.to_string()))
    }

    /// `PUBLIC_URL`, else where we really listen.
    fn callback_base(&self) -> Url {
        if let Some(url) = &self.settings.public_url {
            return url.clone();
        }
        self.listening.get().unwrap_or(&self.expected).clone()
    }
}

/// The URL by which this machine reaches an address that is listened on.
fn url_of(mut address: SocketAddr) -> Result<Url, url::ParseError> {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    Url::parse(&format!("http://{address}"))
}
