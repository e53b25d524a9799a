//! The HTTP surface, thin: every route is in this file, those of the providers' documents in `mpesa/mod.rs` and
//! `clickpesa/mod.rs`; each resource is one file with its handlers and wire shapes.
//!
//! Checked in this order: route (404), method (405), key (401, 403), rate (429), size (413), media type (415),
//! content (400). So the middleware hangs on each route, not on the whole tree.

mod api_key;
mod authentication;
mod bulk_status;
mod callbacks;
mod clickpesa;
mod conditional;
mod deadline;
mod deliveries;
mod error;
mod events;
mod expand;
mod export;
mod mpesa;
mod observe;
mod operation;
mod pages;
mod payments;
mod places;
mod polling;
mod rate_limit;
mod rendered;
mod request;
mod screen;
mod shared_count;
mod shared_limit;
mod status_page;
mod status_search;
mod stream;
mod together;
mod transaction_status;
mod transactions;
mod wait;
mod webhooks;
mod wire;
mod wrong_keys;

use std::sync::Arc;

use actix_governor::Governor;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError, Route};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::domain::clock::Clock;
use crate::domain::partner::Scope;
use crate::domain::status_update::CallbackKind;
use crate::feed::Feed;
use crate::ingest::Ingest;
use crate::instances::Instances;
use crate::payments::Payments;
use crate::settings::Settings;
use crate::statements::Statements;
use crate::store::Store;
use crate::vault::Vault;
use crate::webhooks::Endpoints;

pub use api_key::new_key;
pub use authentication::{Keys, digest};
pub use bulk_status::lookup as bulk_lookup;
pub use error::{ApiError, ErrorCode};
pub use expand::lines as catalogue_lines;
pub use observe::{RequestId, observe};
pub use operation::OPENAPI;
pub use payments::reversal::find_original;
pub use payments::{order as payment_order, pay as start_payment};
pub use places::{Places, network};
pub use polling::Polling;
pub use rate_limit::{Bucket, Quota};
pub use request::{
    BODY_DRAIN_MAX, BODY_MAX, BODY_TIMEOUT, Fields, Proxies, Query, TEXT_MAX, body as read_body,
    checked_text, quote,
};
pub use status_page::StatusPage;
pub use status_search::{Shared, decode_cursor, encode_cursor, search};
pub use stream::{HEARTBEAT_EVERY, STREAMS_PER_KEY, Streams};
pub use wrong_keys::FAILED_KEYS_PER_MINUTE;

/// What handlers share.
pub struct State {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The starter of payments.
    pub payments: Arc<Payments>,
    /// Seals the secrets of one-off endpoints.
    pub vault: Arc<Vault>,
    /// Whether endpoints may be private.
    pub webhook_allow_private: bool,
    /// Writes statements.
    pub statements: Statements,
    /// Where long polls wait.
    pub feed: Feed,
    /// What those who have waited read together.
    pub shared: Shared,
    /// The open streams.
    pub streams: Streams,
    /// When callers should ask again.
    pub polling: Polling,
    /// What the page for people last read.
    pub status_page: StatusPage,
    /// The callbacks' way in.
    pub ingest: Arc<Ingest>,
    /// The partners' webhook endpoints.
    pub endpoints: Endpoints,
    /// Known keys.
    pub keys: Keys,
    /// Whose word on addresses is believed.
    pub proxies: Proxies,
    /// Who may post to the token-less callback paths.
    pub callback_allowed_ips: Vec<IpNet>,
    /// The metrics.
    pub metrics: PrometheusHandle,
    /// Whether another address serves the metrics.
    pub metrics_elsewhere: bool,
    /// Whether callers reach us by https.
    pub is_public_https: bool,
    /// The three quotas.
    pub quotas: Quotas,
    /// Who else counts them.
    pub instances: Instances,
}

/// The three quotas.
#[derive(Clone)]
pub struct Quotas {
    /// Status reads.
    pub get: Quota,
    /// Bulk reads.
    pub post: Quota,
    /// Everything else under `/api`.
    pub write: Quota,
}

impl Quotas {
    /// The quotas of the settings.
    ///
    /// # Errors
    /// If one cannot be counted.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            get: Quota::new(Bucket::Get, settings.rate_limit_get)?,
            post: Quota::new(Bucket::Post, settings.rate_limit_post)?,
            write: Quota::new(Bucket::Write, settings.rate_limit_write)?,
        })
    }

    /// Forgets keys that have been quiet.
    pub fn forget_idle(&self) {
        for quota in [&self.get, &self.post, &self.write] {
            quota.forget_idle();
        }
    }
}

/// Every route of the public address.
pub fn routes(config: &mut ServiceConfig, state: &Data<State>) {
    let Quotas { get, post, write } = &state.quotas;
    config
        .app_data(state.clone())
        .service(
            resource("/api/ussd/transaction-status", "GET, POST")
                .route(
                    keyed(
                        web::get().to(transaction_status::list),
                        get,
                        Scope::StatusRead,
                    )
                    .wrap(from_fn(deadline::keep)),
                )
                .route(keyed(
                    web::post().to(bulk_status::find),
                    post,
                    Scope::StatusRead,
                )),
        )
        .service(
            resource("/api/ussd/transaction-status/stream", "GET").route(keyed(
                web::get().to(stream::open),
                get,
                Scope::StatusRead,
            )),
        )
        .service(
            resource("/api/ussd/transaction-status/screen", "GET").route(
                keyed(web::get().to(screen::show), get, Scope::StatusRead)
                    .wrap(from_fn(deadline::keep)),
            ),
        )
        .service(resource("/api/ussd/events", "GET").route(keyed(
            web::get().to(events::list),
            get,
            Scope::StatusRead,
        )))
        .service(resource("/api/ussd/transactions", "POST").route(keyed(
            web::post().to(transactions::register),
            write,
            Scope::PaymentsWrite,
        )))
        // Before the ids, which it would be taken for.
        .service(
            resource("/api/ussd/transactions/export", "GET").route(keyed(
                web::get().to(export::export),
                write,
                Scope::StatusRead,
            )),
        )
        .service(
            resource("/api/ussd/transactions/{id}", "GET, PATCH")
                .route(keyed(
                    web::get().to(transactions::find),
                    write,
                    Scope::StatusRead,
                ))
                .route(keyed(
                    web::patch().to(transactions::attach),
                    write,
                    Scope::PaymentsWrite,
                )),
        )
        .service(resource("/api/ussd/payments", "POST").route(keyed(
            web::post().to(payments::create),
            write,
            Scope::PaymentsWrite,
        )))
        .service(
            resource("/callbacks/{token}/{kind}", "POST")
                .route(web::post().to(callbacks::with_token)),
        )
        .service(
            resource("/callbacks/{token}/{kind}/{transaction_id}", "POST")
                .route(web::post().to(callbacks::with_token_and_id)),
        );
    mpesa::routes(config, state);
    clickpesa::routes(config, state);
    webhook_routes(config, write);
    for (path, kind) in GUIDE_CALLBACKS {
        config.service(resource(path, "POST").route(web::post().to(
            move |state: Data<State>, request: HttpRequest, payload: Payload| {
                callbacks::without_token(state, request, kind, payload)
            },
        )));
    }
    config
        .service(resource("/livez", "GET").route(web::get().to(operation::livez)))
        .service(resource("/readyz", "GET").route(web::get().to(operation::readyz)))
        .service(resource("/metrics", "GET").route(web::get().to(operation::metrics)))
        .service(resource("/status", "GET").route(web::get().to(status_page::show)))
        .service(resource("/openapi.yaml", "GET").route(web::get().to(operation::openapi)));
    pages::routes(config);
    config.default_service(web::to(not_found));
}

/// Webhook endpoints and their deliveries.
fn webhook_routes(config: &mut ServiceConfig, write: &Quota) {
    let keyed = |route| keyed(route, write, Scope::WebhooksWrite);
    config
        .service(
            resource("/api/ussd/webhooks", "GET, POST")
                .route(keyed(web::get().to(webhooks::list)))
                .route(keyed(web::post().to(webhooks::create))),
        )
        .service(
            resource("/api/ussd/webhooks/{webhook_id}", "GET, PATCH, DELETE")
                .route(keyed(web::get().to(webhooks::find)))
                .route(keyed(web::patch().to(webhooks::change)))
                .route(keyed(web::delete().to(webhooks::remove))),
        )
        .service(
            resource("/api/ussd/webhooks/{webhook_id}/rotate-secret", "POST")
                .route(keyed(web::post().to(webhooks::rotate_secret))),
        )
        .service(
            resource("/api/ussd/webhooks/{webhook_id}/test", "POST")
                .route(keyed(web::post().to(webhooks::send_test))),
        )
        .service(
            resource("/api/ussd/webhooks/{webhook_id}/deliveries", "GET")
                .route(keyed(web::get().to(deliveries::list))),
        )
        .service(
            resource("/api/ussd/webhooks/{webhook_id}/replay", "POST")
                .route(keyed(web::post().to(deliveries::replay_range))),
        )
        .service(
            resource("/api/ussd/webhooks/deliveries/{delivery_id}/replay", "POST")
                .route(keyed(web::post().to(deliveries::replay_one))),
        );
}

/// The operator's own address.
pub fn admin_routes(config: &mut ServiceConfig, state: &Data<State>) {
    config
        .app_data(state.clone())
        .service(resource("/livez", "GET").route(web::get().to(operation::livez)))
        .service(resource("/metrics", "GET").route(web::get().to(operation::admin_metrics)))
        .default_service(web::to(not_found));
}

/// The guide's own callback paths.
const GUIDE_CALLBACKS: [(&str, CallbackKind); 8] = [
    ("/api/v1/mpesa/callback", CallbackKind::Stk),
    ("/api/v1/mpesa/b2c/result", CallbackKind::B2cResult),
    ("/api/v1/mpesa/b2c/timeout", CallbackKind::B2cTimeout),
    (
        "/api/v1/mpesa/reversal/result",
        CallbackKind::ReversalResult,
    ),
    (
        "/api/v1/mpesa/reversal/timeout",
        CallbackKind::ReversalTimeout,
    ),
    ("/api/v1/mpesa/balance/result", CallbackKind::BalanceResult),
    (
        "/api/v1/mpesa/balance/timeout",
        CallbackKind::BalanceTimeout,
    ),
    ("/api/v1/clickpesa/callback", CallbackKind::Clickpesa),
];

/// A resource that answers 405 with its methods.
pub fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        ApiError {
            allow: Some(allow),
            ..ApiError::new(
                ErrorCode::Method,
                format!("This method is not accepted here; accepted are {allow}"),
            )
        }
        .error_response()
    }))
}

/// A route for callers with a key: authentication outermost, then the quota (counted here or, with other instances,
/// with them), then the handler.
fn keyed(route: Route, quota: &Quota, scope: Scope) -> Route {
    let (told, shared) = (quota.clone(), quota.clone());
    route
        .wrap(Governor::new(quota.config()))
        .wrap(from_fn(move |request, next| {
            shared_limit::share(request, next, shared.clone())
        }))
        .wrap(from_fn(move |request, next| {
            rate_limit::tell(request, next, told.clone())
        }))
        .wrap(from_fn(move |request, next| {
            authentication::authenticate(request, next, scope)
        }))
}

async fn not_found() -> HttpResponse {
    ApiError::not_found("No such route").error_response()
}
