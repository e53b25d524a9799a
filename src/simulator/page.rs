//! The simulator about itself: the table of endings and the last payments, for people and for programs, and
//! the dashboard's part of ClickPesa.

use std::fmt::Write as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::clickpesa::{self, Application, WebhookEdition};
use super::daraja::Refusal;
use super::outcome::ENDINGS;
use super::world::World;

/// How many payments the page shows.
const PAYMENTS_SHOWN: usize = 50;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/simulator", web::get().to(about))
        .route("/simulator/clickpesa/webhook", web::post().to(set_webhook));
}

async fn about(world: web::Data<World>, request: HttpRequest) -> HttpResponse {
    let for_a_browser = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if for_a_browser {
        return HttpResponse::Ok()
            .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
            .content_type("text/html; charset=utf-8")
            .body(html(&world));
    }
    HttpResponse::Ok().json(json!({
        "endings": ENDINGS,
        "otherwise": "the payment succeeds and is called back within 3 s",
        "faults": "/simulator/faults",
        "ledger": "/simulator/ledger",
        "tokens": "/simulator/tokens/invalidate",
    }))
}

fn html(world: &World) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Provider simulator</title>\
         <h1>Provider simulator</h1><p>The last four digits of the phone number decide. Every number \
         that is not listed pays and is called back within 3 s.</p><table border=\"1\"><tr><th>ending\
         <th>name<th>what it is good for<th>STK push<th>B2C<th>ClickPesa</tr>",
    );
    for ending in ENDINGS {
        // Writing to a String cannot fail; the table is our own, and holds nothing to escape.
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            ending.code, ending.name, ending.description, ending.stk, ending.b2c, ending.clickpesa
        );
    }
    page.push_str("</table>");
    show_ledger(world, &mut page);
    page.push_str("</html>\n");
    page
}

/// The last payments, newest first.
fn show_ledger(world: &World, page: &mut String) {
    let ledger = world.ledger.read(None, 0, usize::MAX);
    let plans = world.faults.list().len();
    let _ = write!(
        page,
        "<h2>What it did</h2><p>{} payments; {plans} plans of faults are in force. All of it: \
         <a href=\"/simulator/ledger\">/simulator/ledger</a>, \
         <a href=\"/simulator/faults\">/simulator/faults</a>.</p><table border=\"1\"><tr><th>number\
         <th>account<th>kind<th>amount<th>made<th>truth<th>callbacks<th>faults</tr>",
        ledger.payments.len()
    );
    for payment in ledger.payments.iter().rev().take(PAYMENTS_SHOWN) {
        let faults: Vec<&str> = payment.faults.iter().map(|fault| fault.name()).collect();
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{:?}<td>{}<td>{}</tr>",
            payment.number,
            escaped(&payment.account),
            payment.kind,
            payment.amount_asked,
            payment.made,
            payment.truth,
            payment.callbacks.len(),
            faults.join(", ")
        );
    }
    page.push_str("</table>");
}

/// Whoever asks for a token chooses its account's name.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookSetting {
    client_id: String,
    url: String,
    checksum_key: Option<String>,
    #[serde(default)]
    edition: WebhookEdition,
}

async fn set_webhook(world: web::Data<World>, body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<WebhookSetting>(&body) {
        Ok(setting) => {
            world.clickpesa.set_application(
                &setting.client_id,
                Application {
                    webhook_url: setting.url,
                    checksum_key: setting.checksum_key,
                },
            );
            world
                .clickpesa
                .set_edition(&setting.client_id, setting.edition);
            HttpResponse::Ok().json(json!({"client_id": setting.client_id, "done": true}))
        }
        Err(error) => clickpesa::message(400, &error.to_string()),
    }
}

/// Each provider has its own way of not knowing a path.
pub(super) async fn unknown_path(world: web::Data<World>, request: HttpRequest) -> HttpResponse {
    if request.path().starts_with("/third-parties/") {
        clickpesa::message(404, "Not Found")
    } else {
        Refusal::new(404, "404.001.01", "Resource not found").answer(&world)
    }
}
