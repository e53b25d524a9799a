//! What a line of a history says, field by field, as the domain knows it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use chrono::{Datelike, Duration, SubsecRound};

use super::source::Problem;
use crate::domain::clock::Instant;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::ledger::History;
use crate::domain::money::{Amount, MAX_AMOUNT_MINOR};
use crate::domain::msisdn::MsisdnInput;
use crate::domain::status::Status;
use crate::domain::transaction::{
    IdField, Kind, Provider, ProviderIds, RegisteredIds, Transaction,
};

/// What every line must have; besides, at least one of [`NAMES`].
pub const REQUIRED: [&str; 3] = ["amount", "status", "created_at"];
/// The ids of which a line must have at least one, so that it is known again the next time.
pub const NAMES: [&str; 6] = [
    "transaction_id",
    "client_request_id",
    "conversation_id",
    "originator_conversation_id",
    "order_reference",
    "transaction_receipt",
];
/// Where a transaction started unless told.
pub const ORIGIN: &str = "import";
/// How far the clocks of two machines that wrote one history may be apart.
pub const CLOCKS_APART: Duration = Duration::minutes(1);
/// The longest text of a field, in characters: all but a provider's sentences stand in an index.
pub const TEXT_MAX: usize = 500;
/// The longest sentence of a provider, in characters.
pub const SENTENCE_MAX: usize = 10_000;

struct Fields<'a> {
    line: u64,
    fields: &'a BTreeMap<&'static str, String>,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(String::as_str)
    }

    fn wrong(&self, name: &str, accepted: impl Into<String>) -> Problem {
        Problem::new(self.line, name, self.get(name), accepted)
    }

    fn text(&self, name: &str, most: usize) -> Result<Option<String>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        if text.contains('\0') {
            return Err(self.wrong(name, "accepted is text without NUL"));
        }
        if text.chars().count() > most {
            return Err(self.wrong(name, format!("accepted are at most {most} characters")));
        }
        Ok(Some(text.to_owned()))
    }

    fn short(&self, name: &str) -> Result<Option<String>, Problem> {
        self.text(name, TEXT_MAX)
    }

    fn word<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parsed = self.get(name).map(str::parse::<T>).transpose();
        parsed.map_err(|error| self.wrong(name, format!("it {error}")))
    }

    fn id(&self, name: &str) -> Result<Option<TransactionId>, Problem> {
        let parsed = self.get(name).map(str::parse::<TransactionId>).transpose();
        parsed.map_err(|_| self.wrong(name, "accepted is a UUID"))
    }

    fn amount(&self, name: &str) -> Result<Option<Amount>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let amount = text.parse::<Amount>().ok();
        let is_fine = |amount: &Amount| (1..=MAX_AMOUNT_MINOR).contains(&amount.minor());
        amount.filter(is_fine).map(Some).ok_or_else(|| {
            let most = Amount(MAX_AMOUNT_MINOR);
            self.wrong(
                name,
                format!("accepted is a plain number from 0.01 to {most} with at most two decimals"),
            )
        })
    }

    fn time(&self, name: &str, now: Instant) -> Result<Option<Instant>, Problem> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let at = chrono::DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| at.to_utc().trunc_subsecs(3))
            .filter(|at| at.year() >= 1970 && *at <= now + CLOCKS_APART);
        at.map(Some).ok_or_else(|| {
            self.wrong(
                name,
                "accepted is a time of the past in RFC 3339 such as 2025-01-10T12:34:56Z",
            )
        })
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, Problem> {
        value.ok_or_else(|| self.wrong(name, "it is required"))
    }
}

/// The transaction that a line tells of.
///
/// # Errors
/// The first field that is not as it must be.
pub fn history(
    partner_id: PartnerId,
    line: u64,
    fields: &BTreeMap<&'static str, String>,
    now: Instant,
) -> Result<History, Problem> {
    let fields = Fields { line, fields };
    let given = fields.id("transaction_id")?;
    let provider: Provider = fields.word("provider")?.unwrap_or(Provider::Mpesa);
    let kind: Kind = fields
        .word("kind")?
        .unwrap_or_else(|| provider.default_kind());
    let status: Status = fields
        .word("status")?
        .map_or_else(|| fields.required("status", None), Ok)?;
    let created_at = fields.time("created_at", now)?;
    let created_at = fields.required("created_at", created_at)?;
    let amount = fields.amount("amount")?;
    let mut ids = ProviderIds::default();
    for field in IdField::GIVEN {
        if let Some(value) = fields.short(field.as_str())? {
            ids.set(field, value);
        }
    }
    let msisdn = fields
        .get("msisdn")
        .map(|text| {
            MsisdnInput::parse(text)
                .map(|input| input.in_country(provider.country()))
                .map_err(|error| fields.wrong("msisdn", format!("it {error}")))
        })
        .transpose()?;
    let transaction = Transaction {
        partner_id,
        id: given.unwrap_or_else(|| TransactionId::of_age(created_at)),
        account_id: None,
        provider,
        kind,
        origin: fields.short("origin")?.unwrap_or_else(|| ORIGIN.to_owned()),
        client_request_id: fields.short("client_request_id")?,
        ids,
        registered_ids: RegisteredIds::default(),
        merchant_request_id: None,
        msisdn,
        payer_key: fields.short("payer_key")?,
        currency: fields
            .word("currency")?
            .unwrap_or_else(|| provider.default_currency()),
        amount: fields.required("amount", amount)?,
        paid: fields.amount("paid_amount")?,
        account_reference: fields.short("account_reference")?,
        tenant_id: fields.short("tenant_id")?,
        customer_id: fields.short("customer_id")?,
        original_id: fields.id("original_transaction_id")?,
        status,
        unconfirmed: false,
        result_code: fields.short("result_code")?,
        result_description: fields.text("result_description", SENTENCE_MAX)?,
        provider_status: fields.text("provider_status", SENTENCE_MAX)?,
        receipt: fields.short("transaction_receipt")?,
        reversed_at: fields.time("reversed_at", now)?,
        created_at,
        updated_at: fields.time("updated_at", now)?.unwrap_or(created_at),
    };
    agrees(&fields, &transaction)?;
    Ok(History {
        transaction,
        is_id_given: given.is_some(),
    })
}

/// Whether the fields of a line agree with each other.
fn agrees(fields: &Fields<'_>, row: &Transaction) -> Result<(), Problem> {
    if NAMES.iter().all(|name| fields.get(name).is_none()) {
        let accepted = format!("at least one is required of {}", NAMES.join(", "));
        return Err(Problem::new(fields.line, "line", None, accepted));
    }
    if row.original_id.is_some() && !row.is_reversal() {
        return Err(fields.wrong(
            "original_transaction_id",
            "it is accepted with kind reversal only",
        ));
    }
    if row.updated_at + CLOCKS_APART < row.created_at {
        return Err(fields.wrong("updated_at", "accepted is a time not before created_at"));
    }
    if row.reversed_at.is_some() && row.status != Status::Failed {
        return Err(fields.wrong("reversed_at", "it is accepted with status failed only"));
    }
    if !row.status.is_final() {
        let of_the_end = [
            "result_code",
            "result_description",
            "transaction_receipt",
            "paid_amount",
        ];
        if let Some(name) = of_the_end.iter().find(|name| fields.get(name).is_some()) {
            return Err(fields.wrong(name, "it is accepted with status success or failed only"));
        }
    }
    Ok(())
}
