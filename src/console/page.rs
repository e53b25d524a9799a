//! What every page has around it: the navigation, the sentence about what was just done, and how it is sent.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use askama::Template;

use super::notice::Notice;
use super::viewer::Viewer;
use super::{Console, assets};
use crate::domain::partner::Scope;
use crate::http::ApiError;

/// A page of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// None of them.
    None,
    /// The figures.
    Overview,
    /// The list of transactions, and each one's story.
    Transactions,
    /// Asking a customer to pay.
    Pay,
    /// Paying a customer.
    PayOut,
    /// Taking a payment back.
    Reverse,
    /// What is on the accounts.
    Balance,
    /// Endpoints and their deliveries.
    Webhooks,
    /// API keys.
    Keys,
    /// Accounts at the providers, and whether they work.
    Accounts,
    /// Callbacks that could not be understood.
    Callbacks,
    /// Who changed what.
    Audit,
    /// Choosing a partner.
    Partners,
}

/// Who sees a page in the navigation.
enum For {
    /// Whoever has a scope.
    Scope(Scope),
    /// Operators only.
    Operators,
}

/// The navigation in its order: page, path, name, for whom.
const NAVIGATION: [(Section, &str, &str, For); 12] = [
    (
        Section::Overview,
        "/console",
        "Overview",
        For::Scope(Scope::StatusRead),
    ),
    (
        Section::Transactions,
        "/console/transactions",
        "Transactions",
        For::Scope(Scope::StatusRead),
    ),
    (
        Section::Pay,
        "/console/pay",
        "Pay",
        For::Scope(Scope::PaymentsWrite),
    ),
    (
        Section::PayOut,
        "/console/pay-out",
        "Pay out",
        For::Scope(Scope::PaymentsWrite),
    ),
    (
        Section::Reverse,
        "/console/reverse",
        "Reverse",
        For::Scope(Scope::PaymentsWrite),
    ),
    (
        Section::Balance,
        "/console/balance",
        "Balance",
        For::Scope(Scope::PaymentsWrite),
    ),
    (
        Section::Webhooks,
        "/console/webhooks",
        "Webhooks",
        For::Scope(Scope::WebhooksWrite),
    ),
    (
        Section::Callbacks,
        "/console/callbacks",
        "Callbacks",
        For::Scope(Scope::StatusRead),
    ),
    (
        Section::Accounts,
        "/console/accounts",
        "Accounts",
        For::Scope(Scope::PaymentsWrite),
    ),
    (
        Section::Keys,
        "/console/keys",
        "Keys",
        For::Scope(Scope::StatusRead),
    ),
    (
        Section::Audit,
        "/console/audit",
        "Audit log",
        For::Scope(Scope::StatusRead),
    ),
    (
        Section::Partners,
        "/console/partners",
        "Partners",
        For::Operators,
    ),
];

/// One line of the navigation.
pub struct Link {
    /// Where to.
    pub path: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Whether it is the page shown.
    pub is_current: bool,
}

/// What is around a page.
pub struct Frame {
    section: Section,
    /// Whoever is signed in.
    pub viewer: Option<Viewer>,
}

impl Frame {
    /// Around a page of somebody signed in.
    pub fn of(viewer: &Viewer, section: Section) -> Self {
        Self {
            section,
            viewer: Some(viewer.clone()),
        }
    }

    /// Around a page for anybody.
    pub fn for_anybody() -> Self {
        Self {
            section: Section::None,
            viewer: None,
        }
    }

    /// The stylesheet's path.
    pub fn style(&self) -> &'static str {
        assets::style()
    }

    /// The script's path.
    pub fn script(&self) -> &'static str {
        assets::script()
    }

    /// The icon's path.
    pub fn icon(&self) -> &'static str {
        assets::icon()
    }

    /// The token that every form carries; empty for nobody.
    pub fn token(&self) -> &str {
        self.viewer.as_ref().map_or("", |viewer| &viewer.token)
    }

    /// The sentence about what was just done.
    pub fn notice(&self) -> Option<&Notice> {
        self.viewer.as_ref()?.notice.as_ref()
    }

    /// The pages that the viewer may see.
    pub fn links(&self) -> Vec<Link> {
        let Some(viewer) = &self.viewer else {
            return Vec::new();
        };
        NAVIGATION
            .iter()
            .filter(|(.., audience)| match audience {
                For::Scope(scope) => viewer.may(*scope),
                For::Operators => viewer.is_operator(),
            })
            .map(|(section, path, name, _)| Link {
                path,
                name,
                is_current: *section == self.section,
            })
            .collect()
    }
}

/// A page.
///
/// # Errors
/// SERVER_1001 if the template cannot be written.
pub fn page(template: &impl Template) -> Result<HttpResponse, ApiError> {
    page_with(StatusCode::OK, template)
}

/// A page with another status.
///
/// # Errors
/// As [`page`].
pub fn page_with(status: StatusCode, template: &impl Template) -> Result<HttpResponse, ApiError> {
    let html = template.render().map_err(|error| ApiError {
        cause: Some(error.to_string().into()),
        ..ApiError::server()
    })?;
    Ok(HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .body(html))
}

/// Sends the browser to another page after a form.
pub fn redirect(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, path))
        .finish()
}

/// The same, to a page that shows a sentence.
pub fn redirect_with(console: &Console, path: &str, notice: &Notice) -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, path));
    if let Some(cookie) = console.cookies.keep_notice(&notice.encode()) {
        response.append_header((SET_COOKIE, cookie));
    }
    response.finish()
}
