//! A wire between a client and the simulator: it keeps what is sent, and can answer in the provider's place.

use std::sync::{Arc, Mutex};

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// A request as it was sent.
#[derive(Clone)]
pub struct Sent {
    /// Without the query.
    pub path: String,
    /// Empty if there was none.
    pub authorization: String,
    /// Null if it was no JSON.
    pub body: Value,
}

/// An answer to the next request whose path begins so.
struct Ready {
    start: &'static str,
    status: u16,
    body: String,
}

/// The wire: passes everything on to the simulator, unless an answer stands ready for the path.
#[derive(Clone)]
pub struct Wire {
    simulator: String,
    sent: Arc<Mutex<Vec<Sent>>>,
    ready: Arc<Mutex<Vec<Ready>>>,
    client: reqwest::Client,
}

impl Wire {
    /// A wire to `simulator`, and the address of its near end.
    pub async fn open(simulator: String) -> (Self, String) {
        let wire = Self {
            simulator,
            sent: Arc::default(),
            ready: Arc::default(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let data = web::Data::new(wire.clone());
        let http = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .default_service(web::to(pass))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", http.addrs()[0]);
        tokio::spawn(http.run());
        (wire, url)
    }

    /// What was sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    /// Answers the next request whose path begins with `start`, in the provider's place.
    pub fn answer_next(&self, start: &'static str, status: u16, body: &str) {
        let body = body.to_owned();
        let ready = Ready {
            start,
            status,
            body,
        };
        self.ready.lock().unwrap().push(ready);
    }

    fn take_ready(&self, path: &str) -> Option<Ready> {
        let mut ready = self.ready.lock().unwrap();
        let at = ready
            .iter()
            .position(|ready| path.starts_with(ready.start))?;
        Some(ready.remove(at))
    }
}

async fn pass(wire: web::Data<Wire>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let path = request.uri().path().to_owned();
    wire.sent.lock().unwrap().push(Sent {
        path: path.clone(),
        authorization: header("authorization").unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    if let Some(ready) = wire.take_ready(&path) {
        return HttpResponse::build(StatusCode::from_u16(ready.status).unwrap()).body(ready.body);
    }
    let method = request.method().as_str().parse().unwrap();
    let url = format!("{}{path}", wire.simulator);
    let mut onward = wire.client.request(method, url).body(body);
    for name in ["authorization", "client-id", "api-key", "content-type"] {
        if let Some(value) = header(name) {
            onward = onward.header(name, value);
        }
    }
    let answer = onward.send().await.unwrap();
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
    HttpResponse::build(status).body(answer.bytes().await.unwrap())
}
