//! The first page.

use actix_web::HttpResponse;
use askama::Template;

use super::page::{Frame, Section, page};
use super::viewer::Viewer;
use crate::domain::partner::Scope;
use crate::http::ApiError;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    frame: Frame,
}

/// The page.
pub async fn show(viewer: Viewer) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    page(&OverviewPage {
        frame: Frame::of(&viewer, Section::Overview),
    })
}
