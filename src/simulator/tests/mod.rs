//! The simulator as its users see it: over HTTP, with somebody who receives the callbacks.

mod c2b;
mod clickpesa;
mod daraja;
mod endings;
mod faults;
mod ledger;
mod merchant;
mod queries;
mod receiver;

use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;

/// Where callbacks are received: what came, in order.
pub(super) struct Sink {
    pub(super) url: String,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
}

pub(super) struct Arrival {
    pub(super) path: String,
    pub(super) content_type: String,
    pub(super) body: String,
}

impl Arrival {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Sink {
    pub(super) async fn open() -> Self {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let http = HttpServer::new(move || {
            let sender = sender.clone();
            App::new().default_service(web::to(move |request: HttpRequest, body: String| {
                let content_type = request.headers().get("content-type");
                let arrival = Arrival {
                    path: request.path().to_owned(),
                    content_type: content_type.unwrap().to_str().unwrap().to_owned(),
                    body,
                };
                sender.send(arrival).unwrap();
                async { HttpResponse::Ok().json(json!({"ResultCode": 0})) }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", http.addrs()[0]);
        tokio::spawn(http.run());
        Self { url, arrivals }
    }

    pub(super) async fn next(&mut self) -> Arrival {
        tokio::time::timeout(Duration::from_secs(10), self.arrivals.recv())
            .await
            .expect("nothing arrived in time")
            .unwrap()
    }

    /// What has arrived by now: to be asked after `until_quiet`.
    pub(super) fn rest(&mut self) -> usize {
        std::iter::from_fn(|| self.arrivals.try_recv().ok()).count()
    }
}

pub(super) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub(super) fn standing_clock() -> Now {
    Arc::new(|| "2026-03-04T21:30:05Z".parse::<DateTime<Utc>>().unwrap())
}

pub(super) fn quick() -> SimulatorSettings {
    SimulatorSettings {
        callback_delay: Duration::ZERO..=Duration::from_millis(5),
        now: standing_clock(),
        ..SimulatorSettings::new(loopback())
    }
}

pub(super) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// POSTs and reads the answer, whatever it is.
pub(super) async fn post(url: String, token: &str, body: &Value) -> (u16, Value) {
    let answer = client()
        .post(url)
        .header("authorization", token)
        .json(body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::from(text)),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_served_to_programs_and_to_people() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let url = format!("{}/simulator", simulator.url());
    let json: Value = client()
        .get(&url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(json["endings"].as_array().unwrap().len(), ENDINGS.len());
    let page = client().get(&url).header("accept", "text/html");
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(ENDINGS.iter().all(|ending| page.contains(ending.name)));
    assert!(page.contains("0 payments"), "{page}");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_refuses_an_unknown_path_in_its_own_words() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let (status, answer) = post(simulator.url() + "/mpesa/b2b/v1/x", "", &json!({})).await;
    assert_eq!((status, &answer["errorCode"]), (404, &json!("404.001.01")));
    let (status, answer) = post(simulator.url() + "/third-parties/x", "", &json!({})).await;
    assert_eq!((status, answer), (404, json!({"message": "Not Found"})));
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_an_error() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let taken = SimulatorSettings::new(simulator.address());
    assert!(Simulator::start(taken).await.is_err());
    simulator.stop().await;
}
