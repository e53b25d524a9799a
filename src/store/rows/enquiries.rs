//! Rows of questions about balances. What was told is JSON: it is shown as it was told, and nobody asks the database for a
//! part of it.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::domain::enquiry::{Enquiry, EnquiryAnswer, Told};
use crate::domain::identity::{AccountId, EnquiryId, PartnerId};
use crate::domain::money::Amount;
use crate::domain::status_update::Balance;
use crate::store::columns::{At, Id};
use crate::store::{StoreError, schema};

/// A question.
#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = schema::balance_enquiries)]
pub struct EnquiryRow {
    pub partner_id: Id,
    pub id: Id,
    pub account_id: Id,
    pub asked_by: String,
    pub asked_at: At,
    pub answered_at: Option<At>,
    pub told: Option<String>,
    pub failure: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredBalance {
    name: String,
    currency: String,
    current_minor: Option<i64>,
    available_minor: Option<i64>,
    reserved_minor: Option<i64>,
    uncleared_minor: Option<i64>,
}

impl EnquiryRow {
    /// The row of a question that is about to be asked.
    pub fn new(enquiry: Enquiry) -> Self {
        Self {
            partner_id: Id(enquiry.partner_id.0),
            id: Id(enquiry.id.0),
            account_id: Id(enquiry.account_id.0),
            asked_by: enquiry.asked_by,
            asked_at: At(enquiry.asked_at),
            answered_at: None,
            told: None,
            failure: None,
        }
    }
}

impl TryFrom<EnquiryRow> for Enquiry {
    type Error = StoreError;

    fn try_from(row: EnquiryRow) -> Result<Self, StoreError> {
        let told = match (row.told, row.failure) {
            (Some(told), _) => Some(Told::Balances(balances(&told)?)),
            (None, failure) => failure.map(Told::Nothing),
        };
        Ok(Self {
            id: EnquiryId(row.id.0),
            partner_id: PartnerId(row.partner_id.0),
            account_id: AccountId(row.account_id.0),
            asked_by: row.asked_by,
            asked_at: row.asked_at.0,
            answer: row
                .answered_at
                .zip(told)
                .map(|(at, told)| EnquiryAnswer { at: at.0, told }),
        })
    }
}

/// The columns `told` and `failure`. PostgreSQL keeps no NUL, in text or as JSON.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn told_as_text(told: &Told) -> Result<(Option<String>, Option<String>), StoreError> {
    let whole = |text: &str| text.replace('\0', "\u{fffd}");
    match told {
        Told::Nothing(why) => Ok((None, Some(whole(why)))),
        Told::Balances(balances) => {
            let stored: Vec<StoredBalance> = balances
                .iter()
                .map(|balance| StoredBalance {
                    name: whole(&balance.name),
                    currency: whole(&balance.currency),
                    current_minor: balance.current.map(Amount::minor),
                    available_minor: balance.available.map(Amount::minor),
                    reserved_minor: balance.reserved.map(Amount::minor),
                    uncleared_minor: balance.uncleared.map(Amount::minor),
                })
                .collect();
            let text = serde_json::to_string(&stored);
            text.map(|text| (Some(text), None))
                .map_err(|error| StoreError::Query(error.to_string()))
        }
    }
}

fn balances(text: &str) -> Result<Vec<Balance>, StoreError> {
    let stored: Vec<StoredBalance> = serde_json::from_str(text)
        .map_err(|_| StoreError::Query("kept balances cannot be read back".to_owned()))?;
    Ok(stored
        .into_iter()
        .map(|balance| Balance {
            name: balance.name,
            currency: balance.currency,
            current: balance.current_minor.map(Amount),
            available: balance.available_minor.map(Amount),
            reserved: balance.reserved_minor.map(Amount),
            uncleared: balance.uncleared_minor.map(Amount),
        })
        .collect())
}
