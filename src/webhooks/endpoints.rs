//! What partners do with their endpoints, over HTTP or on the command line: make, change, rotate, test.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::address_guard::{self, UrlError};
use super::attempt::Means;
use super::sender::{SendResult, Sender};
use super::signature::Secret;
use crate::domain::clock::{Clock, Instant};
use crate::domain::delivery::{
    ENDPOINTS_MAX, Endpoint, EndpointChange, Pace, PreviousSecret, ROTATION_OVERLAP,
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
}

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

    /// Makes an endpoint; its secret is shown this once.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub async fn create(
        &self,
        partner: PartnerId,
        new: NewEndpoint,
        actor: &Actor,
    ) -> Result<(Endpoint, Zeroizing<String>), EndpointError> {
        let url = self.checked(&new.url).await?;
        let now = self.means.clock.now();
        let id = EndpointId::new(now);
        let (sealed_secret, shown) = self.new_secret(id)?;
        let endpoint = Endpoint {
            id,
            partner_id: partner,
            url,
            events: new.events,
            description: new.description,
            sealed_secret,
            disabled_at: None,
            created_at: now,
            transaction_id: None,
            previous_secret: None,
            failing_since: None,
            pace: new.pace,
        };
        let audit = actor.audit("webhook.create", partner, id);
        let is_kept = self
            .store
            .insert_endpoint_within(endpoint.clone(), ENDPOINTS_MAX, audit)
            .await?;
        if is_kept {
            Ok((endpoint, shown))
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

    /// Changes an endpoint; how it then stands.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub async fn update(
        &self,
        partner: PartnerId,
        id: EndpointId,
        mut change: EndpointChange,
        actor: &Actor,
    ) -> Result<Endpoint, EndpointError> {
        self.find(Some(partner), id).await?;
        if let Some(url) = change.url {
            change.url = Some(self.checked(&url).await?);
        }
        let action = match change.enabled {
            Some(true) => "webhook.enable",
            Some(false) => "webhook.disable",
            None => "webhook.update",
        };
        let audit = actor.audit(action, partner, id);
        let now = self.means.clock.now();
        let changed = self.store.update_endpoint(partner, id, change, now, audit);
        changed.await?.ok_or(EndpointError::Unknown)
    }

    /// Gives an endpoint a new secret, which is shown this once; the one before signs too for [`ROTATION_OVERLAP`].
    /// A second rotation within that time ends the first secret at once: two sign at most.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub async fn rotate_secret(
        &self,
        partner: PartnerId,
        id: EndpointId,
        actor: &Actor,
    ) -> Result<(Endpoint, Zeroizing<String>), EndpointError> {
        let (sealed, shown) = self.new_secret(id)?;
        let until = self.means.clock.now() + ROTATION_OVERLAP;
        let audit = actor.audit("webhook.rotate_secret", partner, id);
        let rotated = self
            .store
            .rotate_endpoint_secret(partner, id, sealed, until, audit)
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

    fn new_secret(&self, id: EndpointId) -> Result<(Vec<u8>, Zeroizing<String>), VaultError> {
        let shown = Secret::generate()?.reveal();
        let sealed = self.vault.seal(&id.seal_owner(), shown.as_bytes())?;
        Ok((sealed, shown))
    }
}

/// Until when a rotated secret goes on signing, if it does at `now`.
pub fn previous_until(endpoint: &Endpoint, now: Instant) -> Option<Instant> {
    let previous: &PreviousSecret = endpoint.previous_secret.as_ref()?;
    (now < previous.until).then_some(previous.until)
}
