//! The one HTTP client that calls providers: time limits, no redirects, no proxy, answers of bounded size. What an
//! answer means is said in each provider's folder; that there was none is said here.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::answer::NoAnswer;

/// How long a connection to a provider may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call may take in all, connecting included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read; ten times what the longest documented one takes.
pub const ANSWER_MAX: usize = 256 * 1024;

/// A call to a provider. Header values may be secrets, so none of them is ever printed.
pub struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Option<String>,
}

impl Call {
    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url.into())
    }

    /// A POST without a body.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::POST, url.into())
    }

    fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    /// With a JSON body.
    pub fn json(mut self, body: &Value) -> Self {
        self.headers.insert(
            reqwest::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        self.body = Some(body.to_string());
        self
    }

    /// With a secret in a header. A value that no header can carry is left out: the provider will refuse the call.
    pub fn secret(mut self, name: &'static str, value: &SecretString) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }
}

/// What a provider answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The HTTP status.
    pub status: u16,
    /// The body, unread.
    pub body: Vec<u8>,
}

impl Heard {
    /// The body as a JSON object or array; anything else is no answer of a provider's API but of something in between.
    ///
    /// # Errors
    /// [`NoAnswer`] with the status, counted as down if that is a 5xx.
    pub fn json(&self) -> Result<Value, NoAnswer> {
        match serde_json::from_slice(&self.body) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
            _ => Err(NoAnswer {
                reason: format!("HTTP {} without a JSON body", self.status),
                http_status: Some(self.status),
                is_down: self.status >= 500,
            }),
        }
    }
}

/// The client.
#[derive(Clone)]
pub struct HttpClient {
    client: reqwest::Client,
}

impl HttpClient {
    /// A client with the time limits above.
    ///
    /// # Errors
    /// If the system's trust store cannot be read.
    pub fn new() -> Result<Self, String> {
        Self::with_timeout(CALL_TIMEOUT)
    }

    /// A client whose calls take at most `timeout`.
    ///
    /// # Errors
    /// If the system's trust store cannot be read.
    pub fn with_timeout(timeout: Duration) -> Result<Self, String> {
        reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // A provider that drops idle connections must not cost us a money call: a broken connection is an
            // unknown outcome.
            .pool_idle_timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| error.to_string())
            .map(|client| Self { client })
    }

    /// Makes the call once.
    ///
    /// # Errors
    /// [`NoAnswer`] if no whole answer came.
    pub async fn exchange(&self, call: Call) -> Result<Heard, NoAnswer> {
        let mut request = self
            .client
            .request(call.method, &call.url)
            .headers(call.headers);
        if let Some(body) = call.body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|error| no_answer(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(NoAnswer {
                    reason: format!("the answer is larger than {} KiB", ANSWER_MAX / 1024),
                    http_status: Some(status),
                    is_down: false,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Heard { status, body })
    }
}

/// The kind of trouble only: the URL may hold ids, and errors of the TLS library name hosts.
fn no_answer(error: &reqwest::Error) -> NoAnswer {
    let reason = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_builder() {
        "the address cannot be called"
    } else {
        "the connection broke before the answer was complete"
    };
    NoAnswer {
        reason: reason.to_owned(),
        http_status: error.status().map(|status| status.as_u16()),
        is_down: true,
    }
}
