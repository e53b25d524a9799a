//! The one client that posts to addresses we do not choose: no redirects, no proxies, short time limits, a little of
//! the answer, and connections only to addresses the guard has seen. `webhook listen` and `webhook check` use it too.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use chrono::DateTime;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};
use rustls::pki_types::CertificateDer;

use super::address_guard::{self, UrlError};
use super::authorities::{self, AuthoritiesError};
use crate::domain::clock::Instant;
use crate::settings::Settings;

/// How much of an answer is read and kept.
pub const RESPONSE_BYTES: usize = 1_024;
const IDLE_CONNECTIONS_PER_HOST: usize = 8;
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// How long a partner's server may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Name resolution, TCP and TLS.
    pub connect: Duration,
    /// All of it.
    pub total: Duration,
    /// Of it the first bytes of the answer's body, which only people read: they hold nothing up.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(15),
            body: Duration::from_secs(2),
        }
    }
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// Most often no CA certificates are installed.
    #[error("the webhook client cannot be built (are CA certificates installed?): {0}")]
    Tls(String),
    /// The operator's own authorities cannot be used.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResult {
    /// The answer's status, if there was an answer.
    pub status: Option<u16>,
    /// How long it asks us to wait.
    pub retry_after: Option<chrono::Duration>,
    /// The beginning of its body.
    pub response: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

impl SendResult {
    /// Nothing was sent, for this reason.
    pub fn not_sent(error: String) -> Self {
        Self {
            status: None,
            retry_after: None,
            response: None,
            error: Some(error),
            duration: Duration::ZERO,
        }
    }

    /// Whether it was taken.
    pub fn is_success(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }

    /// A line for people.
    pub fn summary(&self) -> String {
        match (self.status, &self.error) {
            (Some(status), _) => {
                format!("answered {status} in {} ms", self.duration.as_millis())
            }
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".to_owned(),
        }
    }
}

/// Posts to partners. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    limits: Limits,
    allow_private: bool,
}

impl Sender {
    /// A sender; `allow_private` is the setting `WEBHOOK_ALLOW_PRIVATE`.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(allow_private: bool, limits: Limits) -> Result<Self, SenderError> {
        Self::trusting(Vec::new(), allow_private, limits)
    }

    /// A sender by `WEBHOOK_ALLOW_PRIVATE` and `WEBHOOK_CA_FILE`, with the limits of the contract.
    ///
    /// # Errors
    /// If the file cannot be used, or TLS cannot be set up.
    pub fn from_settings(settings: &Settings) -> Result<Self, SenderError> {
        Self::by_settings(settings, settings.webhook_allow_private)
    }

    /// The same for an address that the operator typed, which may be a private one.
    ///
    /// # Errors
    /// If the file cannot be used, or TLS cannot be set up.
    pub fn to_a_typed_address(settings: &Settings) -> Result<Self, SenderError> {
        Self::by_settings(settings, true)
    }

    fn by_settings(settings: &Settings, allow_private: bool) -> Result<Self, SenderError> {
        let file = settings.webhook_ca_file.as_deref();
        let authorities = file.map(authorities::read).transpose()?.unwrap_or_default();
        Self::trusting(authorities, allow_private, Limits::default())
    }

    /// A sender that trusts these certificates besides the system's.
    fn trusting(
        authorities: Vec<CertificateDer<'static>>,
        allow_private: bool,
        limits: Limits,
    ) -> Result<Self, SenderError> {
        let failed = |error: reqwest::Error| SenderError::Tls(innermost(&error));
        let authorities: Vec<Certificate> = authorities
            .iter()
            .map(|authority| Certificate::from_der(authority))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let client = Client::builder()
            .tls_certs_merge(authorities)
            .user_agent(concat!("ussd-status/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(limits.connect)
            .timeout(limits.total)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .pool_idle_timeout(IDLE_LIMIT)
            .dns_resolver(Arc::new(GuardedResolver { allow_private }))
            .build()
            .map_err(failed)?;
        Ok(Self {
            client,
            limits,
            allow_private,
        })
    }

    /// Posts a JSON body. `now` is needed where the answer names a date to wait for.
    pub async fn send(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
        now: Instant,
    ) -> SendResult {
        // Once more, because the setting may have changed since the endpoint was saved, and because the resolver is
        // not asked about hosts that are addresses.
        let url = match address_guard::check_url(url, self.allow_private) {
            Ok(url) => url,
            Err(error) => return SendResult::not_sent(error.to_string()),
        };
        let mut request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let stopwatch = Stopwatch::now();
        let answer = tokio::time::timeout(self.limits.total, request.send()).await;
        let duration = stopwatch.elapsed();
        match answer {
            Ok(Ok(response)) => SendResult {
                status: Some(response.status().as_u16()),
                retry_after: response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| retry_after(value.to_str().ok()?, now)),
                response: Some(self.beginning(response, duration).await),
                error: None,
                duration,
            },
            Ok(Err(error)) => SendResult {
                duration,
                ..SendResult::not_sent(self.reason(&error))
            },
            Err(_) => SendResult {
                duration,
                ..SendResult::not_sent(self.too_late())
            },
        }
    }

    /// The first KiB; dropping the response ends the connection if more was coming.
    async fn beginning(&self, mut response: Response, spent: Duration) -> String {
        let mut bytes = Vec::new();
        let read = async {
            while bytes.len() < RESPONSE_BYTES {
                match response.chunk().await {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                    Ok(None) | Err(_) => break,
                }
            }
        };
        let left = self.limits.total.saturating_sub(spent);
        let _ = tokio::time::timeout(left.min(self.limits.body), read).await;
        bytes.truncate(RESPONSE_BYTES);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A line without the URL, whose query may hold a partner's token.
    fn reason(&self, error: &reqwest::Error) -> String {
        if let Some(refused) = cause::<UrlError>(error) {
            return refused.to_string();
        }
        match (error.is_timeout(), error.is_connect()) {
            (true, true) => format!("no connection within {:?}", self.limits.connect),
            (true, false) => self.too_late(),
            (false, true) => format!("no connection: {}", innermost(error)),
            (false, false) => innermost(error),
        }
    }

    fn too_late(&self) -> String {
        format!("no answer within {:?}", self.limits.total)
    }
}

/// Resolves a name and leaves only allowed addresses. The connection is made to one of these and to no other: there is
/// no second look-up that could answer differently.
struct GuardedResolver {
    allow_private: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let addresses = address_guard::resolve_allowed(name.as_str(), allow_private).await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

fn cause<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(found) = inner.downcast_ref::<E>() {
            return Some(found);
        }
        source = inner.source();
    }
    None
}

fn innermost(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut text = None;
    while let Some(inner) = source {
        text = Some(inner.to_string());
        source = inner.source();
    }
    text.unwrap_or_else(|| "the request could not be made".to_owned())
}

/// `Retry-After`: seconds, or an HTTP date (which says GMT where its format wants a zone).
fn retry_after(value: &str, now: Instant) -> Option<chrono::Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse::<i64>().unwrap_or(i64::MAX);
        return Some(chrono::Duration::try_seconds(seconds).unwrap_or(chrono::Duration::MAX));
    }
    let wait = DateTime::parse_from_rfc2822(value).ok()?.to_utc() - now;
    (wait > chrono::Duration::zero()).then_some(wait)
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
