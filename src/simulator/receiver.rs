//! The partner's end of a webhook: verifies Standard Webhooks signatures by itself, tells first deliveries
//! from repeated ones, and misbehaves on demand. The demo prints what it forwards; tests stand it in the
//! partner's place.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::{StatusCode, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::mpsc;

use super::Now;
use super::world::{Recent, locked};

/// How far a webhook's timestamp may be from now, in seconds, either way.
const TOLERANCE: i64 = 300;

/// One POST that arrived, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedWebhook {
    /// The partner: the last segment of the path.
    pub label: String,
    /// The `webhook-id` header.
    pub webhook_id: String,
    /// The body's `type`.
    pub event_type: Option<String>,
    /// The body's `transaction_id`.
    pub transaction_id: Option<String>,
    /// The body's `status`.
    pub status: Option<String>,
    /// The body's `sequence`.
    pub sequence: Option<u64>,
    /// True if signature and age are right.
    pub verified: bool,
    /// Why not, if not.
    pub rejection: Option<Rejection>,
    /// True if this id was verified and answered with success before.
    pub duplicate: bool,
    /// 1 for the first POST with this id, counted up.
    pub attempt: u32,
    /// The status code that it is answered with.
    pub answered: u16,
    /// The body as it came.
    pub body: String,
}

/// Why a webhook was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A header is missing or unreadable.
    #[error("a header is missing or unreadable")]
    Headers,
    /// Older or newer than five minutes.
    #[error("the timestamp is more than five minutes off")]
    Timestamp,
    /// No secret is known for this label.
    #[error("no secret is known for this partner")]
    UnknownPartner,
    /// No signature fits.
    #[error("no signature fits")]
    Signature,
}

/// What the receiver does instead of answering 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status code.
    Answer(u16),
    /// Answers 200, after this long.
    Hang(Duration),
    /// Answers 307 to this URL.
    Redirect(String),
}

/// A receiver at work. Dropping it does not stop it.
pub struct Receiver {
    address: SocketAddr,
    server: ServerHandle,
    desk: Arc<Desk>,
}

struct Desk {
    now: Now,
    secrets: Mutex<HashMap<String, Vec<Vec<u8>>>>,
    faults: Mutex<HashMap<String, (Fault, Option<u32>)>>,
    seen: Mutex<Recent<Seen>>,
    forward: mpsc::UnboundedSender<ReceivedWebhook>,
}

#[derive(Default, Clone, Copy)]
struct Seen {
    attempts: u32,
    accepted: bool,
}

impl Receiver {
    /// Starts serving `POST /hooks/{label}`. Everything that arrives comes out of the channel, in the order
    /// of arrival. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start(
        listen: SocketAddr,
        now: Now,
    ) -> std::io::Result<(Self, mpsc::UnboundedReceiver<ReceivedWebhook>)> {
        let (forward, arrivals) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk {
            now,
            secrets: Mutex::default(),
            faults: Mutex::default(),
            seen: Mutex::default(),
            forward,
        });
        let data = web::Data::from(Arc::clone(&desk));
        let http = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/hooks/{label}", web::post().to(receive))
        })
        .workers(1)
        .disable_signals()
        .bind(listen)?;
        let address = super::bound(&http.addrs())?;
        let server = http.run();
        let handle = server.handle();
        tokio::spawn(server);
        let receiver = Self {
            address,
            server: handle,
            desk,
        };
        Ok((receiver, arrivals))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to register for `label`.
    pub fn url(&self, label: &str) -> String {
        format!("http://{}/hooks/{label}", self.address)
    }

    /// Replaces the secrets (`whsec_…`) that `label` believes. Returns false, and changes nothing, if one
    /// of them is not readable.
    pub fn set_secrets(&self, label: &str, secrets: &[&str]) -> bool {
        let keys: Option<Vec<Vec<u8>>> = secrets
            .iter()
            .map(|secret| {
                let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
                STANDARD.decode(encoded).ok()
            })
            .collect();
        keys.is_some_and(|keys| {
            locked(&self.desk.secrets).insert(label.to_owned(), keys);
            true
        })
    }

    /// Makes `label` misbehave, for the next `times` requests or (`None`) until told otherwise.
    pub fn set_fault(&self, label: &str, fault: Fault, times: Option<u32>) {
        locked(&self.desk.faults).insert(label.to_owned(), (fault, times));
    }

    /// Makes `label` behave again.
    pub fn clear_fault(&self, label: &str) {
        locked(&self.desk.faults).remove(label);
    }

    /// Stops at once.
    pub async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn receive(
    desk: web::Data<Desk>,
    label: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let label = label.into_inner();
    let rejection = desk.verify(&label, &request, &body).err();
    let fault = desk.take_fault(&label);
    let status = match (&fault, rejection) {
        (Some(Fault::Answer(status)), _) => *status,
        (Some(Fault::Redirect(_)), _) => 307,
        (_, Some(_)) => 401,
        (Some(Fault::Hang(_)) | None, None) => 200,
    };
    desk.forward(label, &request, &body, rejection, status);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = HttpResponse::build(status);
    match fault {
        Some(Fault::Hang(duration)) => tokio::time::sleep(duration).await,
        Some(Fault::Redirect(url)) => {
            answer.insert_header((header::LOCATION, url));
        }
        Some(Fault::Answer(_)) | None => {}
    }
    answer.finish()
}

impl Desk {
    fn verify(&self, label: &str, request: &HttpRequest, body: &[u8]) -> Result<(), Rejection> {
        let id = header_text(request, "webhook-id").ok_or(Rejection::Headers)?;
        let timestamp = header_text(request, "webhook-timestamp").ok_or(Rejection::Headers)?;
        let signatures = header_text(request, "webhook-signature").ok_or(Rejection::Headers)?;
        let seconds: i64 = timestamp.parse().map_err(|_| Rejection::Headers)?;
        let age = (self.now)().timestamp().saturating_sub(seconds);
        if age.saturating_abs() > TOLERANCE {
            return Err(Rejection::Timestamp);
        }
        let secrets = locked(&self.secrets);
        let keys = secrets.get(label).ok_or(Rejection::UnknownPartner)?;
        let fits = signatures
            .split_ascii_whitespace()
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .any(|signature| {
                keys.iter()
                    .any(|key| signed_by(key, id, timestamp, body, &signature))
            });
        fits.then_some(()).ok_or(Rejection::Signature)
    }

    fn take_fault(&self, label: &str) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        let (fault, times) = faults.get_mut(label)?;
        let taken = fault.clone();
        if let Some(left) = times {
            if *left == 0 {
                faults.remove(label);
                return None;
            }
            *left -= 1;
        }
        Some(taken)
    }

    fn forward(
        &self,
        label: String,
        request: &HttpRequest,
        body: &[u8],
        rejection: Option<Rejection>,
        answered: u16,
    ) {
        let webhook_id = header_text(request, "webhook-id")
            .unwrap_or_default()
            .to_owned();
        let accepted = rejection.is_none() && (200..300).contains(&answered);
        let before = self.count(&format!("{label}/{webhook_id}"), accepted);
        let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let webhook = ReceivedWebhook {
            label,
            webhook_id,
            event_type: text("type"),
            transaction_id: text("transaction_id"),
            status: text("status"),
            sequence: json.get("sequence").and_then(Value::as_u64),
            verified: rejection.is_none(),
            rejection,
            duplicate: before.accepted,
            attempt: before.attempts.saturating_add(1),
            answered,
            body: String::from_utf8_lossy(body).into_owned(),
        };
        // Whoever does not listen does not want to know.
        let _ = self.forward.send(webhook);
    }

    /// What was known of an id before this attempt, which is added.
    fn count(&self, key: &str, accepted: bool) -> Seen {
        let mut seen = locked(&self.seen);
        let before = seen.find(key).copied().unwrap_or_default();
        seen.insert(
            key.to_owned(),
            Seen {
                attempts: before.attempts.saturating_add(1),
                accepted: before.accepted || accepted,
            },
        );
        before
    }
}

fn header_text<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn signed_by(key: &[u8], id: &str, timestamp: &str, body: &[u8], signature: &[u8]) -> bool {
    Hmac::<Sha256>::new_from_slice(key).is_ok_and(|mut mac| {
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.verify_slice(signature).is_ok()
    })
}
