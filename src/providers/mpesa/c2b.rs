//! Customer to business: a customer pays by themselves. Validation asks whether we want the money; confirmation
//! says that it has moved. Both have the same body, so only the path tells them apart.

use serde_json::Value;

use super::time::from_eat;
use crate::domain::clock::Instant;
use crate::domain::identity::TransactionId;
use crate::domain::money::{Amount, Currency};
use crate::domain::msisdn::Country;
use crate::domain::status_update::{
    Api, Correlation, News, Payer, ResultClass, StatusUpdate, Unregistered,
};
use crate::domain::transaction::Kind;
use crate::providers::amount::paid_amount;
use crate::providers::json;
use crate::providers::payer::payer;

// The reject codes of a validation answer (Safaricom portal, CustomerToBusiness).
/// No number of the customer.
pub const INVALID_MSISDN: &str = "C2B00011";
/// The account number is not one of ours.
pub const INVALID_ACCOUNT: &str = "C2B00012";
/// Not an amount we take.
pub const INVALID_AMOUNT: &str = "C2B00013";
/// The shortcode is not ours.
pub const INVALID_SHORTCODE: &str = "C2B00015";
/// Any other reason.
pub const OTHER_ERROR: &str = "C2B00016";

/// What a validation request asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct C2bFacts {
    /// Where the money would go.
    pub shortcode: String,
    /// How much, in KES.
    pub amount: Amount,
    /// M-Pesa's id of the payment: the receipt, once confirmed.
    pub receipt: Option<String>,
    /// Who pays, if M-Pesa says so in a form we know.
    pub payer: Option<Payer>,
    /// What the customer typed: free text.
    pub account_reference: Option<String>,
}

/// Reads a validation request, or says with which code to reject it. Whether the shortcode and the account are
/// ours is for the caller to say.
///
/// # Errors
/// The reject code to answer.
pub fn validate_c2b(body: &[u8]) -> Result<C2bFacts, &'static str> {
    let body = json::parse(body).ok_or(OTHER_ERROR)?;
    if !body.is_object() {
        return Err(OTHER_ERROR);
    }
    let shortcode = shortcode(&body).ok_or(INVALID_SHORTCODE)?;
    let amount = paid_amount(json::field(&body, "TransAmount")).ok_or(INVALID_AMOUNT)?;
    // A form of the number that we do not know yet is no reason to turn a customer away; none at all is.
    let msisdn = json::field(&body, "MSISDN").ok_or(INVALID_MSISDN)?;
    let account_reference = json::field(&body, "BillRefNumber");
    let kind = json::field(&body, "TransactionType").unwrap_or_default();
    if json::squeezed(&kind) == "paybill" && account_reference.is_none() {
        return Err(INVALID_ACCOUNT);
    }
    Ok(C2bFacts {
        shortcode,
        amount,
        receipt: transaction_id(&body),
        payer: payer(&msisdn, Country::Kenya),
        account_reference,
    })
}

/// A confirmation is the fact itself: the money has moved, and there is no code to look up.
pub(super) fn confirmation(path_transaction_id: Option<TransactionId>, body: &Value) -> News {
    let Some(receipt) = transaction_id(body) else {
        return News::Unreadable("a C2B confirmation without TransID".to_owned());
    };
    let amount = paid_amount(json::field(body, "TransAmount"));
    let correlation = Correlation {
        transaction_id: path_transaction_id,
        receipt: Some(receipt.clone()),
        ..Correlation::default()
    };
    News::Payment(Box::new(StatusUpdate {
        result_description: Some("C2B confirmation".to_owned()),
        receipt: Some(receipt),
        paid: amount,
        payer: json::field(body, "MSISDN").and_then(|text| payer(&text, Country::Kenya)),
        account_reference: json::field(body, "BillRefNumber").map(json::sentence),
        occurred_at: occurred_at(body),
        unregistered: amount.map(|amount| Unregistered {
            kind: Kind::C2b,
            amount,
            currency: Currency::kes(),
            shortcode: shortcode(body),
        }),
        ..StatusUpdate::new(Api::C2b, ResultClass::Success, correlation)
    }))
}

fn shortcode(body: &Value) -> Option<String> {
    json::first_field(body, &["BusinessShortCode", "ShortCode"]).and_then(json::id)
}

fn transaction_id(body: &Value) -> Option<String> {
    json::field(body, "TransID").and_then(json::id)
}

fn occurred_at(body: &Value) -> Option<Instant> {
    json::field(body, "TransTime").and_then(|text| from_eat(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(changes: &[(&str, &str)]) -> Vec<u8> {
        let mut body = serde_json::json!({
            "TransactionType": "Pay Bill", "TransID": "RKL51ZDR4F", "TransTime": "20231121121325",
            "TransAmount": "5.00", "BusinessShortCode": "600966", "BillRefNumber": "INV 7",
            "MSISDN": "2547 ***** 126",
        });
        for (key, value) in changes {
            body[key] = (*value).into();
        }
        serde_json::to_vec(&body).unwrap()
    }

    #[test]
    fn a_good_request_gives_its_facts() {
        let facts = validate_c2b(&body(&[])).unwrap();
        assert_eq!(facts.shortcode, "600966");
        assert_eq!(facts.amount, Amount(500));
        assert_eq!(facts.receipt.as_deref(), Some("RKL51ZDR4F"));
        assert_eq!(facts.payer, Some(Payer::Key("2547 ***** 126".to_owned())));
        assert_eq!(facts.account_reference.as_deref(), Some("INV 7"));
    }

    #[test]
    fn every_fault_has_its_reject_code() {
        for (key, value, code) in [
            ("MSISDN", "", INVALID_MSISDN),
            ("BillRefNumber", " ", INVALID_ACCOUNT),
            ("TransAmount", "", INVALID_AMOUNT),
            ("TransAmount", "0.00", INVALID_AMOUNT),
            ("TransAmount", "-5", INVALID_AMOUNT),
            ("TransAmount", "five", INVALID_AMOUNT),
            ("BusinessShortCode", "", INVALID_SHORTCODE),
        ] {
            assert_eq!(
                validate_c2b(&body(&[(key, value)])),
                Err(code),
                "{key} {value}"
            );
        }
        for garbage in ["", "[]", "7", "{"] {
            assert_eq!(
                validate_c2b(garbage.as_bytes()),
                Err(OTHER_ERROR),
                "{garbage}"
            );
        }
    }

    #[test]
    fn only_a_pay_bill_needs_an_account() {
        for kind in ["Buy Goods", "", "Organization To Organization Transfer"] {
            assert!(
                validate_c2b(&body(&[("BillRefNumber", ""), ("TransactionType", kind)])).is_ok()
            );
        }
    }
}
