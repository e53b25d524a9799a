//! Around every page: who is signed in, the token against forgery on every form, the headers of every answer, and errors
//! as pages. What a handler gets has passed here.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    SET_COOKIE, X_FRAME_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Data, Payload};
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use askama::Template;

use super::compress::compress;
use super::form::Form;
use super::notice::Notice;
use super::page::{Frame, page_with, redirect};
use super::viewer::{Viewer, Who};
use super::{Console, SIGN_IN, forgery_token};
use crate::domain::partner::Partner;
use crate::http::{ApiError, ErrorCode, RequestId, State, digest, read_body};
use crate::store::SessionHolder;

/// Our own script, stylesheet, icon and addresses, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Writes out errors as pages, and adds the headers of every answer.
///
/// # Errors
/// Only what the framework itself could not route.
pub async fn present(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    let left = response.response().extensions().get::<ApiError>().cloned();
    let mut response = match left {
        Some(error) => {
            let (request, _) = response.into_parts();
            let page = error_page(&request, &error);
            ServiceResponse::new(request, page)
        }
        None => response,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (HeaderName::from_static("content-security-policy"), POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(compress(response))
}

#[derive(Template)]
#[template(path = "console/error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    title: &'static str,
    text: &'a str,
    request_id: String,
    must_choose: bool,
}

fn error_page(request: &HttpRequest, error: &ApiError) -> HttpResponse {
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.clone())
        .unwrap_or_default();
    if let Some(cause) = &error.cause {
        tracing::error!(request_id, cause, "a page failed");
    }
    let viewer = request.extensions().get::<Viewer>().cloned();
    let status = error.code.status();
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        status if status.is_client_error() => "That was not accepted",
        _ => "Something went wrong",
    };
    let text = match error.code {
        ErrorCode::Database | ErrorCode::DatabaseAway => "The database gave no answer.",
        _ => &error.text,
    };
    let must_choose = error.code == ErrorCode::Conflict
        && viewer
            .as_ref()
            .is_some_and(|viewer| viewer.partner().is_none());
    let page = ErrorPage {
        frame: viewer.map_or_else(Frame::for_anybody, |viewer| {
            Frame::of(&viewer, super::page::Section::None)
        }),
        title,
        text,
        request_id,
        must_choose,
    };
    let mut response = page_with(status, &page).unwrap_or_else(|_| HttpResponse::new(status));
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(
            actix_web::http::header::RETRY_AFTER,
            HeaderValue::from(seconds),
        );
    }
    response
}

/// Lets through whoever is signed in; sends everybody else to the sign-in page.
///
/// # Errors
/// Whatever comes from within.
pub async fn signed_in(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut request = request;
    let viewer = match identify(request.request()).await {
        Ok(Some(viewer)) => viewer,
        Ok(None) => {
            let answer = ask_to_sign_in(request.request());
            return Ok(request.into_response(answer));
        }
        Err(error) => return Ok(request.error_response(error)),
    };
    if let Err(error) = count_page(request.request(), &viewer) {
        return Ok(request.error_response(error));
    }
    let had_notice = viewer.notice.is_some();
    let token = viewer.token.clone();
    request.extensions_mut().insert(viewer);
    if let Err(error) = check_form(&mut request, &token).await {
        return Ok(request.error_response(error));
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    if had_notice && shows_a_page(&response) {
        forget_notice(&mut response);
    }
    Ok(response)
}

fn count_page(request: &HttpRequest, viewer: &Viewer) -> Result<(), ApiError> {
    console_of(request)?
        .pages
        .reserve(viewer.session.clone())
        .map_err(ApiError::too_many)
}

/// Checks the form of somebody not signed in: its token belongs to a cookie that no session has.
///
/// # Errors
/// Whatever comes from within.
pub async fn visiting(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut request = request;
    let token = console_of(request.request())
        .ok()
        .and_then(|console| console.cookies.session(request.request()))
        .map(|session| forgery_token(&session))
        .unwrap_or_default();
    if let Err(error) = check_form(&mut request, &token).await {
        return Ok(request.error_response(error));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// The script's own questions get a plain answer instead of a page they did not ask for.
fn ask_to_sign_in(request: &HttpRequest) -> HttpResponse {
    let is_page = request
        .headers()
        .get("sec-fetch-mode")
        .is_none_or(|mode| mode == "navigate");
    if is_page {
        redirect(SIGN_IN)
    } else {
        HttpResponse::Unauthorized().finish()
    }
}

fn shows_a_page(response: &ServiceResponse<BoxBody>) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

fn forget_notice(response: &mut ServiceResponse<BoxBody>) {
    let cookie = console_of(response.request())
        .ok()
        .and_then(|console| console.cookies.forget_notice());
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Reads and checks the form of a POST, once for all handlers.
async fn check_form(request: &mut ServiceRequest, token: &str) -> Result<(), ApiError> {
    if request.method() != Method::POST {
        return Ok(());
    }
    let payload = request
        .extract::<Payload>()
        .await
        .map_err(|_| ApiError::server())?;
    let body = read_body(payload).await?;
    let form = Form::parse(request.request(), &body)?;
    if token.is_empty() || !is_from_here(request.request()) || !form.has_token(token) {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "This form is not from this session. Load the page again and send it once more.",
        ));
    }
    request.extensions_mut().insert(form);
    Ok(())
}

/// Whether the browser says that one of our own pages sent it. Old browsers say nothing; the token decides.
fn is_from_here(request: &HttpRequest) -> bool {
    let header = |name: HeaderName| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if let Some(site) = header(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    match (header(ORIGIN), header(HOST)) {
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, from)| from == host),
        _ => true,
    }
}

fn console_of(request: &HttpRequest) -> Result<&Data<Console>, ApiError> {
    request
        .app_data::<Data<Console>>()
        .ok_or_else(ApiError::server)
}

/// Whoever the session's cookie names, unless the session is over.
pub async fn identify(request: &HttpRequest) -> Result<Option<Viewer>, ApiError> {
    let console = console_of(request)?;
    let state = request
        .app_data::<Data<State>>()
        .ok_or_else(ApiError::server)?;
    let Some(secret) = console.cookies.session(request) else {
        return Ok(None);
    };
    let Some((session, holder)) = state.store.find_session(digest(&secret)).await? else {
        return Ok(None);
    };
    let now = state.clock.now();
    if !session.is_valid(now) {
        return Ok(None);
    }
    let who = match holder {
        SessionHolder::Operator(operator) => Who::Operator {
            name: operator.name,
            chosen: match session.partner_id {
                Some(id) => find_partner(state, id).await?,
                None => None,
            },
        },
        SessionHolder::Key(holder) if holder.key.is_valid(now) && !holder.partner.suspended => {
            Who::Key {
                key: holder.key,
                partner: holder.partner,
            }
        }
        SessionHolder::Key(_) => return Ok(None),
    };
    // What the script asks for by itself does not keep a session alive.
    let is_wanted = request
        .headers()
        .get("sec-fetch-dest")
        .is_none_or(|dest| dest == "document");
    if is_wanted && session.is_stale(now) {
        state
            .store
            .touch_session(session.digest.clone(), now)
            .await?;
    }
    Ok(Some(Viewer {
        who,
        session: session.digest,
        token: forgery_token(&secret),
        source: state.proxies.source(request),
        notice: console
            .cookies
            .notice(request)
            .and_then(|text| Notice::decode(&text)),
    }))
}

async fn find_partner(
    state: &State,
    id: crate::domain::identity::PartnerId,
) -> Result<Option<Partner>, ApiError> {
    let partners = state.store.list_partners().await?;
    Ok(partners.into_iter().find(|partner| partner.id == id))
}
