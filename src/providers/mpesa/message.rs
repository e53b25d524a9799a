//! What is said to Daraja and what it says at once: the bodies of its requests, field by field as Safaricom's portal
//! spells them (`Occassion`, `RecieverIdentifierType`), and the answers that are no errors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::credential::Credentials;
use super::result_code::{classify, normal_form};
use super::time::to_eat;
use crate::domain::clock::Instant;
use crate::domain::identity::{EnquiryId, TransactionId};
use crate::domain::money::{Amount, Currency};
use crate::domain::status_update::{Api, CallbackKind, Correlation, ResultClass, StatusUpdate};
use crate::domain::transaction::ProviderIds;
use crate::providers::answer::Acceptance;
use crate::providers::json;
use crate::providers::payment_provider::{
    CallbackBase, Collection, PayOut, Purpose, Question, ReversalRequest,
};

/// For a till; everything else is a paybill.
const BUY_GOODS: &str = "CustomerBuyGoodsOnline";
const PAY_BILL: &str = "CustomerPayBillOnline";
/// What payer and books see where the caller says nothing: the fields must not be empty.
const NAMELESS: &str = "Payment";
/// Safaricom's number for "an organisation's shortcode".
const SHORTCODE: &str = "4";

/// The amount as Daraja takes it: whole shillings.
///
/// # Errors
/// What M-Pesa would refuse: cents, nothing, another currency.
pub(super) fn shillings(amount: Amount, currency: &Currency) -> Result<i64, String> {
    if *currency != Currency::kes() {
        return Err(format!("currency {currency}: M-Pesa moves KES only"));
    }
    whole(amount)
}

fn whole(amount: Amount) -> Result<i64, String> {
    if amount.is_whole() && amount.minor() > 0 {
        Ok(amount.minor() / 100)
    } else {
        Err(format!(
            "amount {amount}: M-Pesa moves whole shillings, 1 at least"
        ))
    }
}

/// What signs STK requests. Password and field must carry the same time, so it is read once.
pub(super) struct Signature {
    password: String,
    timestamp: String,
}

impl Signature {
    pub(super) fn new(shortcode: &str, passkey: &SecretString, now: Instant) -> Self {
        let timestamp = to_eat(now);
        let password = format!("{shortcode}{}{timestamp}", passkey.expose_secret());
        Self {
            password: STANDARD.encode(password),
            timestamp,
        }
    }
}

pub(super) fn stk_push(
    account: &Credentials,
    signature: &Signature,
    request: &Collection,
    shillings: i64,
) -> Value {
    let by_account = match account.till_number {
        Some(_) => BUY_GOODS,
        None => PAY_BILL,
    };
    let transaction_type = request.transaction_type.as_deref().unwrap_or(by_account);
    let party = match &account.till_number {
        Some(till) if transaction_type == BUY_GOODS => till,
        _ => &account.shortcode,
    };
    let callbacks = &request.callbacks;
    json!({
        "BusinessShortCode": account.shortcode,
        "Password": signature.password,
        "Timestamp": signature.timestamp,
        "TransactionType": transaction_type,
        "Amount": shillings,
        "PartyA": request.msisdn.as_str(),
        "PartyB": party,
        "PhoneNumber": request.msisdn.as_str(),
        "CallBackURL": callbacks.url_of(CallbackKind::Stk, request.transaction_id),
        "AccountReference": request.reference.as_deref().unwrap_or(NAMELESS),
        "TransactionDesc": request.description.as_deref().unwrap_or(NAMELESS),
    })
}

pub(super) fn stk_query(account: &Credentials, signature: &Signature, id: &str) -> Value {
    json!({
        "BusinessShortCode": account.shortcode,
        "Password": signature.password,
        "Timestamp": signature.timestamp,
        "CheckoutRequestID": id,
    })
}

/// `originator_conversation_id` for v3, which v1 does not know.
pub(super) fn b2c(
    account: &Credentials,
    (initiator, security_credential): (&str, &str),
    originator_conversation_id: Option<&str>,
    request: &PayOut,
    shillings: i64,
) -> Value {
    let (command, remarks) = match request.purpose {
        Purpose::Salary => ("SalaryPayment", "Salary"),
        Purpose::Promotion => ("PromotionPayment", "Promotion"),
        Purpose::Bonus => ("PromotionPayment", "Bonus"),
        Purpose::Refund => ("BusinessPayment", "Refund"),
        Purpose::Payout => ("BusinessPayment", NAMELESS),
    };
    let callbacks = &request.callbacks;
    let id = request.transaction_id;
    let mut body = json!({
        "InitiatorName": initiator,
        "SecurityCredential": security_credential,
        "CommandID": command,
        "Amount": shillings,
        "PartyA": account.shortcode,
        "PartyB": request.msisdn.as_str(),
        "Remarks": request.remarks.as_deref().unwrap_or(remarks),
        "QueueTimeOutURL": callbacks.url_of(CallbackKind::B2cTimeout, id),
        "ResultURL": callbacks.url_of(CallbackKind::B2cResult, id),
    });
    set(
        &mut body,
        "OriginatorConversationID",
        originator_conversation_id,
    );
    set(&mut body, "Occassion", request.occasion.as_deref());
    body
}

/// The whole payment goes back; M-Pesa knows no partial reversal.
///
/// # Errors
/// As [`shillings`].
pub(super) fn reversal(
    account: &Credentials,
    (initiator, security_credential): (&str, &str),
    request: &ReversalRequest,
) -> Result<Value, String> {
    let callbacks = &request.callbacks;
    let id = request.transaction_id;
    Ok(json!({
        "Initiator": initiator,
        "SecurityCredential": security_credential,
        "CommandID": "TransactionReversal",
        "TransactionID": request.receipt,
        "Amount": whole(request.amount)?,
        "ReceiverParty": account.shortcode,
        "RecieverIdentifierType": "11",
        "ResultURL": callbacks.url_of(CallbackKind::ReversalResult, id),
        "QueueTimeOutURL": callbacks.url_of(CallbackKind::ReversalTimeout, id),
        "Remarks": request.remarks.as_deref().unwrap_or("Reversal"),
    }))
}

pub(super) fn balance(
    account: &Credentials,
    (initiator, security_credential): (&str, &str),
    (callbacks, enquiry_id): (&CallbackBase, EnquiryId),
) -> Value {
    json!({
        "Initiator": initiator,
        "SecurityCredential": security_credential,
        "CommandID": "AccountBalance",
        "PartyA": account.shortcode,
        "IdentifierType": SHORTCODE,
        "Remarks": "Balance",
        "QueueTimeOutURL": callbacks.url_of_enquiry(CallbackKind::BalanceTimeout, enquiry_id),
        "ResultURL": callbacks.url_of_enquiry(CallbackKind::BalanceResult, enquiry_id),
    })
}

/// What a transaction-status query can ask by.
pub(super) enum AskBy<'a> {
    Receipt(&'a str),
    OriginatorConversationId(&'a str),
}

impl<'a> AskBy<'a> {
    /// The receipt names the money itself, so it comes first.
    pub(super) fn of(question: &'a Question) -> Option<Self> {
        let originator = question.ids.originator_conversation_id.as_deref();
        question
            .receipt
            .as_deref()
            .map(Self::Receipt)
            .or_else(|| originator.map(Self::OriginatorConversationId))
    }
}

pub(super) fn transaction_status(
    account: &Credentials,
    (initiator, security_credential): (&str, &str),
    by: &AskBy<'_>,
    (callbacks, id): (&CallbackBase, TransactionId),
) -> Value {
    let mut body = json!({
        "Initiator": initiator,
        "SecurityCredential": security_credential,
        "CommandID": "TransactionStatusQuery",
        "PartyA": account.shortcode,
        "IdentifierType": SHORTCODE,
        "ResultURL": callbacks.url_of(CallbackKind::StatusResult, id),
        "QueueTimeOutURL": callbacks.url_of(CallbackKind::StatusTimeout, id),
        "Remarks": "Status",
        "Occasion": "Status",
    });
    match by {
        AskBy::Receipt(receipt) => set(&mut body, "TransactionID", Some(receipt)),
        AskBy::OriginatorConversationId(id) => {
            set(&mut body, "OriginalConversationID", Some(id));
        }
    }
    body
}

pub(super) fn c2b_registration(account: &Credentials, callbacks: &CallbackBase) -> Value {
    json!({
        "ShortCode": account.shortcode,
        "ResponseType": "Completed",
        "ConfirmationURL": callbacks.url(CallbackKind::C2bConfirmation),
        "ValidationURL": callbacks.url(CallbackKind::C2bValidation),
    })
}

fn set(body: &mut Value, name: &str, value: Option<&str>) {
    if let (Some(object), Some(value)) = (body.as_object_mut(), value) {
        object.insert(name.to_owned(), Value::from(value));
    }
}

/// Whether the answer's ResponseCode says that the request was taken. Any other code is documented nowhere.
pub(super) fn is_accepted(body: &Value) -> bool {
    let code = json::field(body, "ResponseCode");
    code.is_some_and(|code| {
        !normal_form(&code).is_empty() && normal_form(&code).bytes().all(|byte| byte == b'0')
    })
}

/// The ids and words of an answer that took the request.
pub(super) fn acceptance(body: Value) -> Acceptance {
    let id = |names: &[&str]| json::first_field(&body, names).and_then(json::id);
    let sentence = |name| json::field(&body, name).map(json::sentence);
    Acceptance {
        ids: ProviderIds {
            conversation_id: id(&["CheckoutRequestID", "ConversationID"]),
            // The second spelling is the C2B registration's.
            originator_conversation_id: id(&[
                "OriginatorConversationID",
                "OriginatorCoversationID",
            ]),
            order_reference: None,
        },
        merchant_request_id: id(&["MerchantRequestID"]),
        code: id(&["ResponseCode"]),
        description: sentence("ResponseDescription"),
        customer_message: sentence("CustomerMessage"),
        update: None,
        body: Some(body),
    }
}

/// What the answer to an STK query says of the payment, if anything. It has neither receipt nor amount: a success is
/// a success without a receipt, which the callback may still bring.
pub(super) fn stk_state(body: &Value, question: &Question) -> Option<StatusUpdate> {
    let code = json::field(body, "ResultCode").and_then(json::id)?;
    let mut update = StatusUpdate::new(Api::Stk, classify(Api::Stk, &code), correlation(question));
    let id = |name| json::field(body, name).and_then(json::id);
    update.correlation.merchant_request_id = id("MerchantRequestID");
    // An answer about another payment must not pass for one about ours.
    if let Some(other) = id("CheckoutRequestID") {
        update.correlation.conversation_id = Some(other);
    }
    update.result_description = json::field(body, "ResultDesc").map(json::sentence);
    update.result_code = Some(code);
    Some(update)
}

/// An STK query's way of saying "still open" in an error.
pub(super) fn stk_still_open(sentence: String, question: &Question) -> StatusUpdate {
    StatusUpdate {
        result_description: Some(sentence),
        ..StatusUpdate::new(Api::Stk, ResultClass::Pending, correlation(question))
    }
}

fn correlation(question: &Question) -> Correlation {
    Correlation {
        transaction_id: Some(question.transaction_id),
        conversation_id: question.ids.conversation_id.clone(),
        ..Correlation::default()
    }
}
