//! The simulator about itself: the table of endings, for people and for programs, and the dashboard's part
//! of ClickPesa.

use std::fmt::Write as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::clickpesa::{self, Application};
use super::daraja::Refusal;
use super::outcome::ENDINGS;
use super::world::World;

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/simulator", web::get().to(about))
        .route("/simulator/clickpesa/webhook", web::post().to(set_webhook));
}

async fn about(request: HttpRequest) -> HttpResponse {
    let for_a_browser = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if for_a_browser {
        return HttpResponse::Ok()
            .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
            .content_type("text/html; charset=utf-8")
            .body(html());
    }
    HttpResponse::Ok().json(json!({
        "endings": ENDINGS,
        "otherwise": "the payment succeeds and is called back within 3 s",
    }))
}

fn html() -> String {
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
    page.push_str("</table></html>\n");
    page
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookSetting {
    client_id: String,
    url: String,
    checksum_key: Option<String>,
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
