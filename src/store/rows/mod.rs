//! Rows as the database gives them, and what they mean: one file a subject, here what all share.

pub mod accounts;
pub mod console;
pub mod deliveries;
pub mod endpoints;
pub mod enquiries;
pub mod events;
pub mod instances;
pub mod ledger;
pub mod oversight;
pub mod partners;
pub mod payments;
pub mod transactions;

use std::str::FromStr;

use chrono::DateTime;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::StoreError;
use super::columns::{At, Id, IdSql, InstantSql};
use crate::domain::clock::Instant;
use crate::domain::msisdn::Msisdn;

/// A word in the table that our code does not know: the table is newer than the code, or was edited by hand.
pub(in crate::store) fn word<T: FromStr>(column: &str, text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|_| StoreError::Query(format!("{column} holds an unknown word")))
}

fn number(msisdn: Option<String>) -> Option<Msisdn> {
    msisdn.and_then(|text| Msisdn::from_international(&text).ok())
}

fn required<T>(column: &str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| StoreError::Query(format!("{column} is null")))
}

/// A row of any table as one JSON array. Not for printing: it may hold a phone number.
#[derive(QueryableByName)]
pub struct LineRow {
    #[diesel(sql_type = Text)]
    pub line: String,
}

/// One id.
#[derive(QueryableByName, Debug)]
pub struct IdRow {
    #[diesel(sql_type = IdSql)]
    pub id: Id,
}

/// One partner.
#[derive(QueryableByName, Debug)]
pub struct PartnerIdRow {
    #[diesel(sql_type = IdSql)]
    pub partner_id: Id,
}

/// An instant.
#[derive(QueryableByName, Debug)]
pub struct InstantRow {
    #[diesel(sql_type = InstantSql)]
    pub at: At,
}

/// What is waiting.
#[derive(QueryableByName, Debug)]
pub struct BacklogRow {
    #[diesel(sql_type = BigInt)]
    pub open_transactions: i64,
    #[diesel(sql_type = BigInt)]
    pub pending_deliveries: i64,
    #[diesel(sql_type = BigInt)]
    pub waiting_callbacks: i64,
    #[diesel(sql_type = BigInt)]
    pub stuck_transactions: i64,
}

/// An instant from microseconds since 1970, as JSON carries it.
pub fn instant_from_micros(micros: i64) -> Option<Instant> {
    DateTime::from_timestamp_micros(micros)
}
