//! Signing in, with an API key or as an operator, and signing out. A new session gets a new token, whatever the browser
//! brought along.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::SET_COOKIE;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::form::{Form, TOKEN_FIELD};
use super::page::{Frame, page_with, redirect};
use super::viewer::Viewer;
use super::{Console, HOME, SIGN_IN, forgery_token};
use crate::domain::identity::PartnerId;
use crate::domain::operator::{Session, SessionOwner, operator_name};
use crate::http::{ApiError, ErrorCode, State, digest, network};
use crate::store::Actor;
use crate::vault::random_bytes;

/// Wrong passwords from one address, or for one name: this many at once, refilled at that rate.
pub const WRONG_PASSWORDS: u32 = 10;
/// One place is refilled in this time.
pub const WRONG_PASSWORD_INTERVAL: Duration = Duration::from_secs(30);
/// Random bytes of a session's token: 256 bits.
const TOKEN_BYTES: usize = 32;

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInPage {
    frame: Frame,
    token: String,
    token_field: &'static str,
    problem: Option<String>,
    name: String,
    by_key: bool,
}

/// The page. Its form's token belongs to a cookie that is no session and never becomes one.
pub async fn show(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, ApiError> {
    sign_in_page(&request, &console, StatusCode::OK, None, &Form::default())
}

fn sign_in_page(
    request: &HttpRequest,
    console: &Console,
    status: StatusCode,
    problem: Option<String>,
    form: &Form,
) -> Result<HttpResponse, ApiError> {
    let brought = console.cookies.session(request);
    let token = match &brought {
        Some(token) => token.clone(),
        None => new_token()?,
    };
    let page = SignInPage {
        frame: Frame::for_anybody(),
        token: forgery_token(&token),
        token_field: TOKEN_FIELD,
        problem,
        name: form.value("name").unwrap_or_default().to_owned(),
        by_key: form.value("name").is_none() && form.value("password").is_none(),
    };
    let mut response = page_with(status, &page)?;
    if brought.is_none()
        && let Some(cookie) = console.cookies.keep_session(&token)
    {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// What a form is sent for.
pub async fn sign_in(
    request: HttpRequest,
    state: Data<State>,
    console: Data<Console>,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    let source = state.proxies.source(&request);
    let found = match form.value("key").map(str::trim) {
        Some(key) => by_key(&state, key, source).await,
        None => by_password(&state, &console, &form, source).await,
    };
    let signed_in = match found {
        Ok(found) => found,
        Err(error) if error.code.status().is_server_error() => return Err(error),
        Err(error) => {
            metrics::counter!("ussd_status_console_sign_ins_total", "outcome" => "refused")
                .increment(1);
            tracing::warn!(source = ?source, problem = error.text, "a sign-in was refused");
            let status = error.code.status();
            return sign_in_page(&request, &console, status, Some(error.text), &form);
        }
    };
    metrics::counter!("ussd_status_console_sign_ins_total", "outcome" => "accepted").increment(1);
    let now = state.clock.now();
    let token = new_token()?;
    let actor = signed_in.actor.from_address(source);
    let session = Session {
        digest: digest(&token),
        owner: signed_in.owner,
        partner_id: None,
        source: source.map(|address| address.to_string()),
        created_at: now,
        seen_at: now,
    };
    // Whoever was signed in here before is not any more.
    if let Some(before) = console.cookies.session(&request) {
        let audit = actor.audit("console.sign_out", signed_in.partner, &signed_in.subject);
        state
            .store
            .remove_session(digest(&before), now, audit)
            .await?;
    }
    let audit = actor.audit("console.sign_in", signed_in.partner, &signed_in.subject);
    state.store.insert_session(session, audit).await?;
    let mut response = redirect(HOME);
    if let Some(cookie) = console.cookies.keep_session(&token) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Who gave the right key or password.
struct SignedIn {
    owner: SessionOwner,
    actor: Actor,
    partner: Option<PartnerId>,
    /// The key's or the operator's id.
    subject: String,
}

async fn by_key(state: &State, key: &str, source: Option<IpAddr>) -> Result<SignedIn, ApiError> {
    let holder = state.keys.find(state, key, source).await?;
    if holder.partner.suspended {
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "This partner is suspended",
        ));
    }
    let id = holder.key.id;
    Ok(SignedIn {
        owner: SessionOwner::Key(id),
        actor: Actor::new(format!("key:{id}")),
        partner: Some(holder.partner.id),
        subject: id.to_string(),
    })
}

async fn by_password(
    state: &State,
    console: &Console,
    form: &Form,
    source: Option<IpAddr>,
) -> Result<SignedIn, ApiError> {
    let wrong = || ApiError::new(ErrorCode::KeyInvalid, "The name or the password is wrong");
    let (Some(name), Some(password)) = (form.value("name"), form.value("password")) else {
        return Err(ApiError::new(
            ErrorCode::InvalidField,
            "Give an API key, or a name and a password",
        ));
    };
    let name = operator_name(name).ok_or_else(wrong)?;
    let address = source.map(network);
    if let Some(address) = address {
        console
            .wrong_by_address
            .reserve(address)
            .map_err(ApiError::too_many)?;
    }
    console
        .wrong_by_name
        .reserve(name.clone())
        .map_err(ApiError::too_many)?;
    let give_back = || {
        if let Some(address) = &address {
            console.wrong_by_address.give_back(address);
        }
        console.wrong_by_name.give_back(&name);
    };
    // Nobody is locked out because the database was away.
    let found = state.store.find_operator(name.clone()).await;
    let operator = found.inspect_err(|_| give_back())?;
    let kept = operator
        .as_ref()
        .map(|operator| operator.password_hash.clone());
    let is_right = console
        .passwords
        .is_right(SecretString::from(password), kept)
        .await;
    let operator = operator.filter(|_| is_right).ok_or_else(wrong)?;
    give_back();
    Ok(SignedIn {
        owner: SessionOwner::Operator(operator.id),
        actor: Actor::new(format!("console:{name}")),
        partner: None,
        subject: operator.id.to_string(),
    })
}

/// Ends the session.
pub async fn sign_out(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
) -> Result<HttpResponse, ApiError> {
    let partner = viewer.partner().map(|partner| partner.id);
    let audit = viewer.audit("console.sign_out", partner, viewer.name());
    let now = state.clock.now();
    state
        .store
        .remove_session(viewer.session, now, audit)
        .await?;
    let mut response = redirect(SIGN_IN);
    if let Some(cookie) = console.cookies.forget_session() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn new_token() -> Result<String, ApiError> {
    let bytes = random_bytes::<TOKEN_BYTES>().map_err(|_| ApiError::server())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
