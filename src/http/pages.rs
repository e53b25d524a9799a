//! Pages for people: the API's description in a browser, from files in the binary. They run under a policy that lets
//! them load nothing from anywhere else.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, LOCATION, X_FRAME_OPTIONS};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::resource;

/// The page's own files only; its diagrams are data URLs, its components set their styles inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub fn routes(config: &mut ServiceConfig) {
    let page = SwaggerUi::new("/{_:.*}").config(
        Config::new(["/openapi.yaml"])
            .try_it_out_enabled(true)
            .persist_authorization(false),
    );
    config
        .service(resource("/api-docs", "GET").route(web::get().to(|| async {
            HttpResponse::PermanentRedirect()
                .insert_header((LOCATION, "/api-docs/"))
                .finish()
        })))
        .service(
            web::scope("/api-docs")
                .wrap(
                    DefaultHeaders::new()
                        .add((HeaderName::from_static("content-security-policy"), POLICY))
                        .add((X_FRAME_OPTIONS, "DENY"))
                        .add((HeaderName::from_static("x-dns-prefetch-control"), "off")),
                )
                .service(page),
        );
}
