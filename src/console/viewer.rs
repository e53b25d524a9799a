//! Who looks: an operator, who sees every partner's things or those of the one it chose, or a partner with one of its
//! keys, who sees its own by the key's scopes.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::notice::Notice;
use crate::domain::identity::{KeyId, PartnerId, TransactionId};
use crate::domain::partner::{ApiKey, Partner, Scope};
use crate::http::{ApiError, ErrorCode};
use crate::store::{Actor, Audit};

/// Whoever is signed in.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Who.
    pub who: Who,
    /// The digest of the session's token.
    pub session: String,
    /// The token against forgery that every form carries.
    pub token: String,
    /// The address the request came from.
    pub source: Option<IpAddr>,
    /// The sentence this page shows.
    pub notice: Option<Notice>,
}

/// An operator or a partner.
#[derive(Debug, Clone)]
pub enum Who {
    /// An operator may do everything.
    Operator {
        /// Its name.
        name: String,
        /// The partner whose things it looks at; none means all.
        chosen: Option<Partner>,
    },
    /// A partner with one of its keys.
    Key {
        /// The key.
        key: ApiKey,
        /// The partner.
        partner: Partner,
    },
}

impl Viewer {
    /// Whether it looks after the service.
    pub fn is_operator(&self) -> bool {
        matches!(self.who, Who::Operator { .. })
    }

    /// Whether it may do what the scope names.
    pub fn may(&self, scope: Scope) -> bool {
        match &self.who {
            Who::Operator { .. } => true,
            Who::Key { key, .. } => key.scopes.contains(&scope),
        }
    }

    /// Refuses whoever may not.
    ///
    /// # Errors
    /// AUTH_1003, naming the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.may(scope) {
            Ok(())
        } else {
            Err(ApiError::new(
                ErrorCode::Forbidden,
                format!("The API key you signed in with lacks the scope {scope}"),
            ))
        }
    }

    /// Refuses whoever is no operator.
    ///
    /// # Errors
    /// AUTH_1003.
    pub fn require_operator(&self) -> Result<(), ApiError> {
        if self.is_operator() {
            Ok(())
        } else {
            Err(ApiError::new(
                ErrorCode::Forbidden,
                "This page is for operators only",
            ))
        }
    }

    /// The one partner whose things are shown; none means all.
    pub fn partner(&self) -> Option<&Partner> {
        match &self.who {
            Who::Operator { chosen, .. } => chosen.as_ref(),
            Who::Key { partner, .. } => Some(partner),
        }
    }

    /// The one partner for whom something is done.
    ///
    /// # Errors
    /// CONFLICT_1001 if an operator has chosen none.
    pub fn one_partner(&self) -> Result<&Partner, ApiError> {
        self.partner().ok_or_else(|| {
            ApiError::new(
                ErrorCode::Conflict,
                "Choose the partner first for whom this is done",
            )
        })
    }

    /// Whether it may see this partner's things.
    pub fn sees(&self, partner: PartnerId) -> bool {
        match &self.who {
            Who::Operator { .. } => true,
            Who::Key { partner: own, .. } => own.id == partner,
        }
    }

    /// A partner's id out of a path.
    ///
    /// # Errors
    /// NOT_FOUND_1001 if it is none, or of one whose things the viewer may not see.
    pub fn partner_in_path(&self, text: &str) -> Result<PartnerId, ApiError> {
        text.parse()
            .ok()
            .filter(|partner| self.sees(*partner))
            .ok_or_else(|| ApiError::not_found("There is no such page"))
    }

    /// Whether it signed in with this key.
    pub fn holds(&self, id: KeyId) -> bool {
        matches!(&self.who, Who::Key { key, .. } if key.id == id)
    }

    /// The same, with a transaction's id behind it.
    ///
    /// # Errors
    /// NOT_FOUND_1001.
    pub fn transaction_in_path(
        &self,
        (partner, id): &(String, String),
    ) -> Result<(PartnerId, TransactionId), ApiError> {
        let partner = self.partner_in_path(partner)?;
        let id = id
            .parse()
            .map_err(|_| ApiError::not_found("There is no such transaction"))?;
        Ok((partner, id))
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        match &self.who {
            Who::Operator { name, .. } => name,
            Who::Key { partner, .. } => &partner.name,
        }
    }

    /// Who it is in the audit log, and from where.
    pub fn actor(&self) -> Actor {
        let name = match &self.who {
            Who::Operator { name, .. } => format!("console:{name}"),
            Who::Key { key, .. } => format!("key:{}", key.id),
        };
        Actor::new(name).from_address(self.source)
    }

    /// A line for the audit log.
    pub fn audit(
        &self,
        action: &'static str,
        partner: impl Into<Option<PartnerId>>,
        subject: impl ToString,
    ) -> Audit {
        self.actor().audit(action, partner, subject)
    }
}

impl FromRequest for Viewer {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Present on every page behind the guard.
        ready(
            request
                .extensions()
                .get::<Self>()
                .cloned()
                .ok_or_else(ApiError::server),
        )
    }
}
