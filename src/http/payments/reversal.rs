//! What a reversal takes back: a paid M-Pesa payment of the same partner, whole.

use crate::domain::identity::PartnerId;
use crate::domain::search::{BulkLookup, Filter, Position, Search};
use crate::domain::status::Status;
use crate::domain::transaction::{Kind, Provider, Transaction};
use crate::http::State;
use crate::http::error::ApiError;
use crate::http::request::{Fields, quote};
use crate::http::transactions::{transaction_id, unknown};
use crate::payments::{Order, Original};

/// Rows that one receipt may lead to: a prompt that was told as C2B too, and the reversal itself.
const ROWS_OF_A_RECEIPT: i64 = 10;

/// Finds the M-Pesa payment that is named by our id or by its receipt; fields are called as in `names`.
///
/// # Errors
/// VALIDATION_1002 unless exactly one is given; NOT_FOUND_1001; the database's.
pub async fn find_original(
    state: &State,
    partner: PartnerId,
    body: &Fields,
    (id_name, receipt_name): (&str, &str),
) -> Result<Transaction, ApiError> {
    let found = match (body.text(id_name)?, body.text(receipt_name)?) {
        (Some(id), None) => {
            let found = state
                .store
                .find_transaction(partner, transaction_id(id)?)
                .await?;
            found.map(|(transaction, _)| transaction)
        }
        (None, Some(receipt)) => by_receipt(state, partner, receipt).await?,
        (given, _) => {
            let message = match given {
                Some(_) => "were both sent; accepted is one of them",
                None => "is required: one of them",
            };
            return Err(ApiError::field(
                format!("{id_name}, {receipt_name}"),
                message,
            ));
        }
    };
    found
        .filter(|transaction| transaction.provider == Provider::Mpesa)
        .ok_or_else(unknown)
}

/// The payment itself comes before the reversal that has the same receipt.
async fn by_receipt(
    state: &State,
    partner: PartnerId,
    receipt: &str,
) -> Result<Option<Transaction>, ApiError> {
    let search = Search {
        filter: Filter {
            transaction_receipt: Some(receipt.to_owned()),
            ..Filter::default()
        },
        limit: ROWS_OF_A_RECEIPT,
        position: Position::Offset(0),
        with_statistics: false,
    };
    let now = state.clock.now();
    let found = state.store.list_transactions(partner, search, now).await?;
    let payments = found.transactions.into_iter();
    Ok(payments
        .filter(|row| row.provider == Provider::Mpesa)
        .min_by_key(|row| (row.is_reversal(), row.status != Status::Success)))
}

/// Aims a reversal at the payment it takes back, after checking that it can be taken back.
///
/// # Errors
/// As [`find_original`]; VALIDATION_1002 for a payment that is not paid or has no receipt, another amount than was
/// paid, or another account than it went through.
pub async fn aim(
    state: &State,
    order: &mut Order,
    body: &Fields,
    names: (&str, &str),
) -> Result<(), ApiError> {
    let original = find_original(state, order.partner_id, body, names).await?;
    let field = names.0;
    if original.is_reversal() {
        return Err(ApiError::field(
            field,
            "is a reversal; accepted is a payment",
        ));
    }
    let is_repeat = is_ordered(state, order, &original).await?;
    let receipt = original.receipt.clone();
    let Some(receipt) = receipt.filter(|_| original.status == Status::Success || is_repeat) else {
        let status = original.status.as_str();
        return Err(ApiError::field(
            field,
            format!(
                "names a payment that is {status}; accepted is one that succeeded, with its receipt"
            ),
        ));
    };
    let paid = original.paid.unwrap_or(original.amount);
    if order.amount != paid {
        return Err(ApiError::field(
            "amount",
            format!(
                "is {}; accepted is the whole of what was paid, {paid}",
                quote(&order.amount.to_string())
            ),
        ));
    }
    match (original.account_id, order.account_id) {
        (Some(its), Some(other)) if its != other => {
            return Err(ApiError::field(
                "account_id",
                format!("is {other}; the payment went through {its}"),
            ));
        }
        (its, given) => order.account_id = its.or(given),
    }
    order.msisdn = original.msisdn;
    order.original = Some(Original {
        transaction_id: original.id,
        receipt,
    });
    Ok(())
}

/// Whether this very reversal was ordered before: then the payment may have gone back already.
async fn is_ordered(
    state: &State,
    order: &Order,
    original: &Transaction,
) -> Result<bool, ApiError> {
    let Some(key) = &order.client_request_id else {
        return Ok(false);
    };
    let lookup = BulkLookup {
        client_request_ids: vec![key.clone()],
        ..BulkLookup::default()
    };
    let found = state
        .store
        .find_transactions(order.partner_id, lookup)
        .await?;
    Ok(found
        .transactions
        .iter()
        .any(|row| row.kind == Kind::Reversal && row.original_id == Some(original.id)))
}
