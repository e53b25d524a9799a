//! `/api/v1/clickpesa/`: both ClickPesa documents served on our side. The guide's shapes are in `guide`, the API's own
//! in `native`; their errors carry ClickPesa's `message` beside our fields.

mod guide;
mod native;

use actix_web::web::{self, Data, ServiceConfig};

use super::{State, keyed, resource};
use crate::domain::partner::Scope;

/// Every route of the documents but the callback path.
pub fn routes(config: &mut ServiceConfig, state: &Data<State>) {
    let write = &state.quotas.write;
    let reads = |route| keyed(route, write, Scope::StatusRead);
    let pays = |route| keyed(route, write, Scope::PaymentsWrite);
    config
        .service(
            resource("/api/v1/clickpesa/preview-ussd-push", "POST")
                .route(pays(web::post().to(guide::preview))),
        )
        .service(
            resource("/api/v1/clickpesa/initiate-ussd-push", "POST")
                .route(pays(web::post().to(guide::initiate))),
        )
        .service(
            resource("/api/v1/clickpesa/query-payment-status", "GET")
                .route(reads(web::get().to(guide::query))),
        )
        .service(
            resource(
                "/api/v1/clickpesa/payments/preview-ussd-push-request",
                "POST",
            )
            .route(pays(web::post().to(native::preview_payment))),
        )
        .service(
            resource(
                "/api/v1/clickpesa/payments/initiate-ussd-push-request",
                "POST",
            )
            .route(pays(web::post().to(native::initiate_payment))),
        )
        .service(
            resource("/api/v1/clickpesa/payments/{orderReference}", "GET")
                .route(reads(web::get().to(native::find_payment))),
        )
        .service(
            resource(
                "/api/v1/clickpesa/payouts/preview-mobile-money-payout",
                "POST",
            )
            .route(pays(web::post().to(native::preview_payout))),
        )
        .service(
            resource(
                "/api/v1/clickpesa/payouts/create-mobile-money-payout",
                "POST",
            )
            .route(pays(web::post().to(native::create_payout))),
        )
        .service(
            resource("/api/v1/clickpesa/payouts/{orderReference}", "GET")
                .route(reads(web::get().to(native::find_payout))),
        )
        .service(
            resource("/api/v1/clickpesa/account/balance", "GET")
                .route(reads(web::get().to(native::balance))),
        );
}
