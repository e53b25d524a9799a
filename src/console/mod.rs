//! The console at `/console`: where the operator and a partner look. Pages are rendered here from compiled templates
//! (`templates/console`); one stylesheet and one script, both ours, come from the binary; the policy lets a browser load
//! nothing else and run nothing inline. Every route is in this file.
//!
//! `guard` is around every page: it knows who is signed in, checks the token against forgery of every form, and writes out
//! errors. A handler gets a [`viewer::Viewer`], which says what may be seen, and leaves rules to the rooms below: what the
//! console changes it changes as the API does, with a line in the audit log.

mod accounts;
mod assets;
mod audit;
mod balance;
mod callbacks;
mod chart;
mod compress;
mod cookie;
mod deliveries;
mod form;
mod guard;
mod health;
mod keys;
mod notice;
mod overview;
mod page;
mod partners;
pub mod password;
mod pay;
mod pay_out;
mod payment_form;
mod progress;
mod reverse;
mod rows;
mod sign_in;
mod story;
mod stream;
mod text;
mod transactions;
mod viewer;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::ResponseError;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use tokio::sync::Semaphore;

use crate::http::{ApiError, Places, digest, resource};
use cookie::Cookies;
use password::Passwords;

pub use audit::PAGE as AUDIT_PAGE;
pub use sign_in::{WRONG_PASSWORD_INTERVAL, WRONG_PASSWORDS};
pub use stream::STREAMS_MAX;

/// Where whoever signed in arrives.
const HOME: &str = "/console";
/// Where everybody else is sent.
const SIGN_IN: &str = "/console/sign-in";

/// What a first visit may weigh, bytes over the wire: the page with its script, its stylesheet and its icon, headers
/// included, as a browser that takes gzip gets them. On a slow phone that is a second or two.
pub const FIRST_VISIT_MAX: usize = 60_000;
/// Requests of one session: this many at once, refilled at that rate. A person stays far below it.
pub const PAGES_AT_ONCE: u32 = 120;
/// One is refilled in this time.
const PAGE_INTERVAL: Duration = Duration::from_millis(250);

/// What pages share besides what all handlers share.
pub struct Console {
    cookies: Cookies,
    passwords: Passwords,
    wrong_by_address: Places<IpAddr>,
    wrong_by_name: Places<String>,
    pages: Places<String>,
    /// A place for each live page.
    streams: Arc<Semaphore>,
}

impl Console {
    /// A console; by https its cookies are `Secure`.
    pub fn new(is_public_https: bool) -> Self {
        let (at_once, interval) = (WRONG_PASSWORDS, WRONG_PASSWORD_INTERVAL);
        Self {
            cookies: Cookies {
                is_https: is_public_https,
            },
            passwords: Passwords::default(),
            wrong_by_address: Places::new(at_once, interval),
            wrong_by_name: Places::new(at_once, interval),
            pages: Places::new(PAGES_AT_ONCE, PAGE_INTERVAL),
            streams: Arc::new(Semaphore::new(stream::STREAMS_MAX)),
        }
    }
}

/// Every route of the console.
pub fn routes(config: &mut ServiceConfig, console: &Data<Console>) {
    config
        .app_data(console.clone())
        .service(
            resource("/console/assets/{file}", "GET")
                .wrap(from_fn(guard::present))
                .route(web::get().to(assets::find)),
        )
        .service(
            resource(SIGN_IN, "GET, POST")
                .wrap(from_fn(guard::visiting))
                .wrap(from_fn(guard::present))
                .route(web::get().to(sign_in::show))
                .route(web::post().to(sign_in::sign_in)),
        )
        .service(
            web::scope("/console")
                .wrap(from_fn(guard::signed_in))
                .wrap(from_fn(guard::present))
                .configure(pages)
                .configure(money_pages)
                .configure(webhook_pages)
                .configure(oversight_pages)
                .default_service(web::to(no_such_page)),
        );
}

/// The pages of whoever is signed in.
fn pages(config: &mut ServiceConfig) {
    config
        .service(resource("", "GET").route(web::get().to(overview::show)))
        .service(resource("/transactions", "GET").route(web::get().to(transactions::list)))
        .service(resource("/transactions/{partner}/{id}", "GET").route(web::get().to(story::show)))
        .service(
            resource("/transactions/{partner}/{id}/reveal", "POST")
                .route(web::post().to(story::reveal)),
        )
        .service(
            resource("/pay", "GET, POST")
                .route(web::get().to(pay::show))
                .route(web::post().to(pay::send)),
        )
        .service(resource("/pay/check", "POST").route(web::post().to(pay::check)))
        .service(resource("/progress/{partner}/{id}", "GET").route(web::get().to(progress::show)))
        .service(
            resource("/progress/{partner}/{id}/wait", "GET").route(web::get().to(progress::wait)),
        )
        .service(resource("/stream", "GET").route(web::get().to(stream::follow)))
        .service(resource("/sign-out", "POST").route(web::post().to(sign_in::sign_out)))
        .service(
            resource("/partners", "GET, POST")
                .route(web::get().to(partners::list))
                .route(web::post().to(partners::choose)),
        );
}

/// Pages that move money, or ask how much there is.
fn money_pages(config: &mut ServiceConfig) {
    config
        .service(
            resource("/pay-out", "GET, POST")
                .route(web::get().to(pay_out::show))
                .route(web::post().to(pay_out::send)),
        )
        .service(resource("/pay-out/check", "POST").route(web::post().to(pay_out::check)))
        .service(
            resource("/reverse", "GET, POST")
                .route(web::get().to(reverse::show))
                .route(web::post().to(reverse::send)),
        )
        .service(
            resource("/balance", "GET, POST")
                .route(web::get().to(balance::show))
                .route(web::post().to(balance::refresh)),
        )
        .service(
            resource("/balance/{account}/{mark}", "GET").route(web::get().to(balance::show_asked)),
        )
        .service(
            resource("/balance/{account}/{mark}/wait", "GET").route(web::get().to(balance::wait)),
        );
}

/// Webhook endpoints and their deliveries.
fn webhook_pages(config: &mut ServiceConfig) {
    config
        .service(
            resource("/webhooks", "GET, POST")
                .route(web::get().to(webhooks::list))
                .route(web::post().to(webhooks::create)),
        )
        .service(resource("/webhooks/{id}", "GET").route(web::get().to(deliveries::show)))
        .service(resource("/webhooks/{id}/state", "POST").route(web::post().to(webhooks::change)))
        .service(resource("/webhooks/{id}/remove", "POST").route(web::post().to(webhooks::remove)))
        .service(
            resource("/webhooks/{id}/rotate-secret", "POST")
                .route(web::post().to(webhooks::rotate)),
        )
        .service(resource("/webhooks/{id}/test", "POST").route(web::post().to(webhooks::send_test)))
        .service(
            resource("/webhooks/{id}/replay", "POST")
                .route(web::post().to(deliveries::replay_range)),
        )
        .service(
            resource("/webhooks/{id}/deliveries/{delivery}/replay", "POST")
                .route(web::post().to(deliveries::replay_one)),
        );
}

/// Keys, accounts, callbacks that could not be understood, the audit log.
fn oversight_pages(config: &mut ServiceConfig) {
    config
        .service(
            resource("/keys", "GET, POST")
                .route(web::get().to(keys::list))
                .route(web::post().to(keys::create)),
        )
        .service(resource("/keys/{id}/revoke", "POST").route(web::post().to(keys::revoke)))
        .service(resource("/accounts", "GET").route(web::get().to(health::list)))
        .service(
            resource("/accounts/{partner}/{id}/check", "POST").route(web::post().to(health::check)),
        )
        .service(
            resource("/callbacks", "GET, POST")
                .route(web::get().to(callbacks::list))
                .route(web::post().to(callbacks::read_all_again)),
        )
        .service(
            resource("/callbacks/{id}/read-again", "POST")
                .route(web::post().to(callbacks::read_again)),
        )
        .service(resource("/audit", "GET").route(web::get().to(audit::list)));
}

async fn no_such_page() -> HttpResponse {
    ApiError::not_found("There is no such page").error_response()
}

/// The token that a session's forms carry. Whoever knows it knows nothing of the session's own token.
fn forgery_token(session: &str) -> String {
    digest(&format!("form of {session}"))
}
