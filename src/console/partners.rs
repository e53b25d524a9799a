//! Choosing the partner whose things an operator looks at.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;

use super::form::Form;
use super::notice::Notice;
use super::page::{Frame, Section, page, redirect_with};
use super::viewer::Viewer;
use super::{Console, HOME};
use crate::domain::partner::Partner;
use crate::http::{ApiError, State};

#[derive(Template)]
#[template(path = "console/partners.html")]
struct PartnersPage {
    frame: Frame,
    partners: Vec<Partner>,
    chosen: Option<Partner>,
}

impl PartnersPage {
    fn is_chosen(&self, partner: &Partner) -> bool {
        self.chosen
            .as_ref()
            .is_some_and(|chosen| chosen.id == partner.id)
    }
}

/// All partners.
pub async fn list(state: Data<State>, viewer: Viewer) -> Result<HttpResponse, ApiError> {
    viewer.require_operator()?;
    page(&PartnersPage {
        frame: Frame::of(&viewer, Section::Partners),
        partners: state.store.list_partners().await?,
        chosen: viewer.partner().cloned(),
    })
}

/// Looks at one partner's things from here on, or at everybody's.
pub async fn choose(
    state: Data<State>,
    console: Data<Console>,
    viewer: Viewer,
    form: Form,
) -> Result<HttpResponse, ApiError> {
    viewer.require_operator()?;
    let chosen = match form.text("partner")? {
        None => None,
        Some(id) => {
            let partners = state.store.list_partners().await?;
            let found = partners
                .into_iter()
                .find(|partner| partner.id.to_string() == id)
                .ok_or_else(|| ApiError::not_found("There is no such partner"))?;
            Some(found)
        }
    };
    let sentence = chosen.as_ref().map_or_else(
        || "You see all partners now.".to_owned(),
        |partner| format!("You see {} now.", partner.name),
    );
    state
        .store
        .set_session_partner(viewer.session, chosen.map(|partner| partner.id))
        .await?;
    Ok(redirect_with(&console, HOME, &Notice::done(sentence)))
}
