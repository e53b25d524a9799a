//! Rows of partners, their keys, and the audit log as it is written.

use diesel::prelude::*;

use super::word;
use crate::domain::identity::{KeyId, PartnerId};
use crate::domain::money::Currency;
use crate::domain::partner::{ApiKey, Partner};
use crate::store::columns::{At, Id};
use crate::store::{StoreError, schema};

/// A partner.
#[derive(Queryable, Selectable, Insertable, Debug)]
#[diesel(table_name = schema::partners)]
pub struct PartnerRow {
    pub id: Id,
    pub name: String,
    pub currency: String,
    pub suspended_at: Option<At>,
    pub created_at: At,
}

impl PartnerRow {
    pub fn new(partner: &Partner) -> Self {
        Self {
            id: Id(partner.id.0),
            name: partner.name.clone(),
            currency: partner.currency.to_string(),
            suspended_at: None,
            created_at: At(partner.created_at),
        }
    }
}

impl TryFrom<PartnerRow> for Partner {
    type Error = StoreError;

    fn try_from(row: PartnerRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: PartnerId(row.id.0),
            name: row.name,
            currency: word::<Currency>("currency", &row.currency)?,
            suspended: row.suspended_at.is_some(),
            created_at: row.created_at.0,
        })
    }
}

/// An API key.
#[derive(Queryable, Selectable, Insertable, Debug)]
#[diesel(table_name = schema::api_keys)]
pub struct KeyRow {
    pub id: Id,
    pub partner_id: Id,
    pub prefix: String,
    pub digest: String,
    pub scopes: String,
    pub expires_at: Option<At>,
    pub revoked_at: Option<At>,
    pub created_at: At,
}

impl KeyRow {
    pub fn new(key: &ApiKey) -> Self {
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        Self {
            id: Id(key.id.0),
            partner_id: Id(key.partner_id.0),
            prefix: key.prefix.clone(),
            digest: key.digest.clone(),
            scopes: scopes.join(" "),
            expires_at: key.expires_at.map(At),
            revoked_at: key.revoked_at.map(At),
            created_at: At(key.created_at),
        }
    }
}

impl TryFrom<KeyRow> for ApiKey {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        let scopes = row
            .scopes
            .split_whitespace()
            .map(|scope| word("scopes", scope))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: KeyId(row.id.0),
            partner_id: PartnerId(row.partner_id.0),
            prefix: row.prefix,
            digest: row.digest,
            scopes,
            expires_at: row.expires_at.map(|at| at.0),
            revoked_at: row.revoked_at.map(|at| at.0),
            created_at: row.created_at.0,
        })
    }
}

/// An audit line.
#[derive(Insertable)]
#[diesel(table_name = schema::audit_log)]
pub struct AuditRow {
    pub id: Id,
    pub at: At,
    pub actor: String,
    pub action: String,
    pub partner_id: Option<Id>,
    pub subject: String,
    pub source: Option<String>,
    pub detail: Option<String>,
}
