//! Pages for people: the API's description in a browser, from files in the binary. They run under a policy that lets
//! them load nothing from anywhere else.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_ENCODING, HeaderName, LOCATION, X_FRAME_OPTIONS};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use utoipa_swagger_ui::Config;

use super::error::ApiError;
use super::resource;

/// The page's own files only; its diagrams are data URLs, its components set their styles inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes.
pub fn routes(config: &mut ServiceConfig) {
    let page: Data<Config<'static>> = Data::new(
        Config::new(["/openapi.yaml"])
            .use_base_layout()
            .try_it_out_enabled(true)
            .persist_authorization(false),
    );
    config
        .service(
            resource("/api-docs", "GET")
                .wrap(headers())
                .route(web::get().to(to_the_page)),
        )
        .service(
            resource("/api-docs/{file:.*}", "GET")
                .wrap(headers())
                .app_data(page)
                .route(web::get().to(file)),
        );
}

/// What every page carries.
fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((HeaderName::from_static("content-security-policy"), POLICY))
        .add((X_FRAME_OPTIONS, "DENY"))
        .add((HeaderName::from_static("x-dns-prefetch-control"), "off"))
}

async fn to_the_page() -> impl Responder {
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, "/api-docs/"))
        .finish()
}

async fn file(page: Data<Config<'static>>, path: Path<String>) -> Result<HttpResponse, ApiError> {
    let file = utoipa_swagger_ui::serve(&path, Arc::clone(&page))
        .map_err(|error| ApiError {
            cause: Some(error.to_string().into()),
            ..ApiError::server()
        })?
        .ok_or_else(|| ApiError::not_found("No such route"))?;
    let mut response = HttpResponse::Ok();
    if file.gzpipped {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok(response
        .content_type(file.content_type)
        .body(file.bytes.into_owned()))
}
