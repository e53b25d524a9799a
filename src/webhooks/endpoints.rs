//! What partners do with their endpoints, over HTTP or on the command line: make, change, rotate, test.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::address_guard::{self, UrlError};
use super::attempt::Means;
use super::key_pair::PrivateKey;
use super::sender::{SendResult, Sender};
use super::signature::Secret;
use crate::domain::clock::{Clock, Instant};
use crate::domain::delivery::{
    ENDPOINTS_MAX, Endpoint, EndpointChange, EndpointKey, Pace, PreviousSecret, ROTATION_OVERLAP,
    SignatureScheme,
};
use crate::domain::identity::{EndpointId, EventId, PartnerId};
use crate::store::{Store, StoreError};
use crate::vault::{Vault, VaultError};

pub use crate::store::Actor;

/// Test events under way at the same time; one more is asked to come again.
pub const TESTS_AT_ONCE: usize = 32;
/// The type of a test event. It is about no transaction and has no place in the feed.
pub const TEST_EVENT: &str = "webhook.test";

/// Why an endpoint is not made, changed or tested.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Webhooks may not go there.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The partner has as many as it may have.
    #[error(
        "the partner has {ENDPOINTS_MAX} webhook endpoints; accepted are at most {ENDPOINTS_MAX}"
    )]
    TooMany,
    /// There is none of the partner's with this id.
    #[error("there is no such webhook endpoint")]
    Unknown,
    /// Too many test events are under way.
    #[error("{TESTS_AT_ONCE} test events are under way; try again in a moment")]
    Busy,
    /// No secret could be made or sealed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a new endpoint shall be.
#[derive(Debug, Clone, Default)]
pub struct NewEndpoint {
    /// Where to.
    pub url: String,
    /// Which event types; empty means all.
    pub events: Vec<String>,
    /// For people.
    pub description: Option<String>,
    /// How fast.
    pub pace: Pace,
    /// How its messages are signed.
    pub signature: SignatureScheme,
}

/// A key that was made.
struct NewKey {
    sealed: Vec<u8>,
    /// What its partner is shown this once; nothing where it is shown the public half, at any time.
    shown: Option<Zeroizing<String>>,
    public: Option<String>,
}

/// An endpoint and its new secret, if it has one to be shown this once.
pub type Shown = (Endpoint, Option<Zeroizing<String>>);

/// A test event that was sent.
#[derive(Debug)]
pub struct TestSent {
    /// Its `webhook-id`.
    pub message_id: String,
    /// What came of it.
    pub result: SendResult,
}

/// The endpoints of all partners.
pub struct Endpoints {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    means: Means,
    allow_private: bool,
    tests: Semaphore,
}

impl Endpoints {
    /// The endpoints in `store`; `allow_private` is the setting `WEBHOOK_ALLOW_PRIVATE`.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        sender: Sender,
        allow_private: bool,
    ) -> Self {
        let means = Means {
            vault: Some(Arc::clone(&vault)),
            clock,
            sender,
        };
        Self {
            store,
            vault,
            means,
            allow_private,
            tests: Semaphore::new(TESTS_AT_ONCE),
        }
    }

    /// Makes an endpoint; a secret is shown this once.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub async fn create(
        &self,
        partner: PartnerId,
        new: NewEndpoint,
        actor: &Actor,
    ) -> Result<Shown, EndpointError> {
        let url = self.checked(&new.url).await?;
        let now = self.means.clock.now();
        let id = EndpointId::new(now);
        let key = self.new_key(id, new.signature)?;
        let endpoint = Endpoint {
            id,
            partner_id: partner,
            url,
            events: new.events,
            description: new.description,
            sealed_secret: key.sealed,
            disabled_at: None,
            created_at: now,
            transaction_id: None,
            previous_secret: None,
            failing_since: None,
            pace: new.pace,
            public_key: key.public,
        };
        let audit = actor.audit("webhook.create", partner, id);
        let is_kept = self
            .store
            .insert_endpoint_within(endpoint.clone(), ENDPOINTS_MAX, audit)
            .await?;
        if is_kept {
            Ok((endpoint, key.shown))
        } else {
            Err(EndpointError::TooMany)
        }
    }

    /// One of the partner's, or anybody's if no partner is named.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`]; the database's.
    pub async fn find(
        &self,
        partner: Option<PartnerId>,
        id: EndpointId,
    ) -> Result<Endpoint, EndpointError> {
        let found = self.store.find_endpoint(partner, id).await?;
        found.ok_or(EndpointError::Unknown)
    }

    /// Changes an endpoint; how it then stands. Where its messages shall be signed in the other way, that is a rotation
    /// too: the key before signs for [`ROTATION_OVERLAP`], and a new secret is shown this once.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub async fn update(
        &self,
        partner: PartnerId,
        id: EndpointId,
        mut change: EndpointChange,
        actor: &Actor,
    ) -> Result<Shown, EndpointError> {
        let known = self.find(Some(partner), id).await?;
        if let Some(url) = change.url {
            change.url = Some(self.checked(&url).await?);
        }
        let action = match change.enabled {
            Some(true) => "webhook.enable",
            Some(false) => "webhook.disable",
            None => "webhook.update",
        };
        let now = self.means.clock.now();
        let mut made = None;
        if let Some(signature) = change.signature
            && signature != known.signature()
        {
            let key = self.new_key(id, signature)?;
            made = key.shown.map(|shown| (key.sealed.clone(), shown));
            change.key = Some(EndpointKey {
                sealed_secret: key.sealed,
                public_key: key.public,
                previous_until: now + ROTATION_OVERLAP,
            });
        }
        let audit = actor.audit(action, partner, id);
        let changed = self.store.update_endpoint(partner, id, change, now, audit);
        let endpoint = changed.await?.ok_or(EndpointError::Unknown)?;
        // Another call may have been first with a key of its own.
        let shown = made
            .filter(|(sealed, _)| *sealed == endpoint.sealed_secret)
            .map(|(_, shown)| shown);
        Ok((endpoint, shown))
    }

    /// Gives an endpoint a new key; a secret is shown this once. The key before signs too for [`ROTATION_OVERLAP`].
    /// A second rotation within that time ends the first key at once: two sign at most.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub async fn rotate_secret(
        &self,
        partner: PartnerId,
        id: EndpointId,
        actor: &Actor,
    ) -> Result<Shown, EndpointError> {
        let known = self.find(Some(partner), id).await?;
        let NewKey {
            sealed: sealed_secret,
            shown,
            public: public_key,
        } = self.new_key(id, known.signature())?;
        let key = EndpointKey {
            sealed_secret,
            public_key,
            previous_until: self.means.clock.now() + ROTATION_OVERLAP,
        };
        let audit = actor.audit("webhook.rotate_secret", partner, id);
        let rotated = self
            .store
            .rotate_endpoint_secret(partner, id, key, audit)
            .await?;
        rotated
            .map(|endpoint| (endpoint, shown))
            .ok_or(EndpointError::Unknown)
    }

    /// Sends a test event now, signed like every other, also to an endpoint that is disabled. It is tried once.
    ///
    /// # Errors
    /// [`EndpointError::Unknown`], [`EndpointError::Busy`]; the database's.
    pub async fn send_test(
        &self,
        partner: PartnerId,
        id: EndpointId,
        actor: &Actor,
    ) -> Result<TestSent, EndpointError> {
        let endpoint = self.find(Some(partner), id).await?;
        let _place = self.tests.try_acquire().map_err(|_| EndpointError::Busy)?;
        let audit = actor.audit("webhook.test", partner, id);
        self.store.record_audit(audit).await?;
        let at = self.means.clock.now();
        let message_id = format!("tst_{}", EventId::new(at));
        let body = json!({
            "type": TEST_EVENT,
            "webhook_id": id.to_string(),
            "message": "A test: no transaction has changed.",
            "sent_at": at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        });
        let body = body.to_string().into_bytes();
        let sent = self.means.send(&endpoint, message_id.clone(), body, at);
        let result = sent.await;
        Ok(TestSent { message_id, result })
    }

    /// The URL as it is kept, if webhooks may go there.
    async fn checked(&self, url: &str) -> Result<String, UrlError> {
        let url = address_guard::check_url(url, self.allow_private)?;
        address_guard::resolve_and_check(&url, self.allow_private).await?;
        Ok(url.into())
    }

    fn new_key(&self, id: EndpointId, signature: SignatureScheme) -> Result<NewKey, VaultError> {
        let seal = |text: &str| self.vault.seal(&id.seal_owner(), text.as_bytes());
        match signature {
            SignatureScheme::V1 => {
                let secret = Secret::generate()?.reveal();
                Ok(NewKey {
                    sealed: seal(&secret)?,
                    shown: Some(secret),
                    public: None,
                })
            }
            SignatureScheme::V1a => {
                let key = PrivateKey::generate()?;
                Ok(NewKey {
                    sealed: seal(&key.reveal())?,
                    shown: None,
                    public: Some(key.public_key()?),
                })
            }
        }
    }
}

/// Until when a rotated secret goes on signing, if it does at `now`.
pub fn previous_until(endpoint: &Endpoint, now: Instant) -> Option<Instant> {
    let previous: &PreviousSecret = endpoint.previous_secret.as_ref()?;
    (now < previous.until).then_some(previous.until)
}
