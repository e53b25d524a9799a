//! What M-Pesa posts: STK callbacks, results of asynchronous requests and their queue timeouts (C2B has its own
//! file). Bodies are read tolerantly, by name; verdicts are given strictly, by `result_code`.

use serde_json::Value;

use super::parameters::Parameters;
use super::result_code::{classify, classify_transaction_status, normal_form};
use super::time::from_eat;
use super::{balance, c2b};
use crate::domain::clock::Instant;
use crate::domain::identity::TransactionId;
use crate::domain::msisdn::Country;
use crate::domain::status_update::{
    Api, CallbackKind, Correlation, News, ResultClass, StatusUpdate,
};
use crate::providers::amount::paid_amount;
use crate::providers::json;
use crate::providers::payer::{payer, payer_of_party};

/// Fields of our own requests that a queue timeout may echo.
pub(crate) const SECRET_FIELDS: &[&str] = &["SecurityCredential", "InitiatorPassword", "Password"];

/// What a body of this kind says.
pub(crate) fn parse(
    kind: CallbackKind,
    path_transaction_id: Option<TransactionId>,
    body: &[u8],
) -> News {
    let Some(body) = json::parse(body).filter(Value::is_object) else {
        return unparsed(kind, path_transaction_id);
    };
    match kind {
        CallbackKind::Stk => stk(path_transaction_id, &body),
        CallbackKind::B2cResult => b2c(&Envelope::read(&body), path_transaction_id),
        CallbackKind::ReversalResult => reversal(&Envelope::read(&body), path_transaction_id),
        CallbackKind::BalanceResult => balances(&Envelope::read(&body)),
        CallbackKind::StatusResult => status(&Envelope::read(&body), path_transaction_id),
        CallbackKind::B2cTimeout
        | CallbackKind::ReversalTimeout
        | CallbackKind::BalanceTimeout
        | CallbackKind::StatusTimeout => timeout(path_transaction_id, &body),
        CallbackKind::C2bValidation => News::Information("a C2B validation request".to_owned()),
        CallbackKind::C2bConfirmation => c2b::confirmation(path_transaction_id, &body),
        CallbackKind::Clickpesa => News::Unreadable("not a callback of M-Pesa's".to_owned()),
    }
}

/// The body of a queue timeout is documented nowhere. If the path says what it is about, the body need not.
fn unparsed(kind: CallbackKind, path_transaction_id: Option<TransactionId>) -> News {
    let is_timeout = matches!(
        kind,
        CallbackKind::B2cTimeout
            | CallbackKind::ReversalTimeout
            | CallbackKind::BalanceTimeout
            | CallbackKind::StatusTimeout
    );
    if is_timeout && path_transaction_id.is_some() {
        return News::Timeout(Correlation {
            transaction_id: path_transaction_id,
            ..Correlation::default()
        });
    }
    News::Unreadable("not a JSON object".to_owned())
}

fn stk(path_transaction_id: Option<TransactionId>, body: &Value) -> News {
    let unwrapped = json::member(body, "Body").unwrap_or(body);
    let callback = json::member(unwrapped, "stkCallback").unwrap_or(unwrapped);
    let correlation = Correlation {
        transaction_id: path_transaction_id,
        conversation_id: json::field(callback, "CheckoutRequestID").and_then(json::id),
        merchant_request_id: json::field(callback, "MerchantRequestID").and_then(json::id),
        ..Correlation::default()
    };
    let code = json::field(callback, "ResultCode").and_then(json::id);
    if !is_news_of_a_payment(code.as_deref(), &correlation) {
        return News::Unreadable("an STK callback without CheckoutRequestID".to_owned());
    }
    let class = class_of(Api::Stk, code.as_deref());
    let mut update = StatusUpdate {
        result_code: code,
        result_description: json::field(callback, "ResultDesc").map(json::sentence),
        ..StatusUpdate::new(Api::Stk, class, correlation)
    };
    // M-Pesa sends metadata with a success only; whoever sends it with a failure is not believed.
    if class == ResultClass::Success {
        let items = Parameters::read(callback, &["CallbackMetadata"], &["Item"]);
        update.receipt = receipt(items.first("MpesaReceiptNumber"));
        update.paid = paid_amount(items.first("Amount"));
        update.payer = items
            .first("PhoneNumber")
            .and_then(|text| payer(&text, Country::Kenya));
        update.occurred_at = items.first("TransactionDate").and_then(|t| from_eat(&t));
    }
    News::Payment(Box::new(update))
}

/// The `Result` around every asynchronous answer.
struct Envelope {
    code: Option<String>,
    description: Option<String>,
    originator_conversation_id: Option<String>,
    conversation_id: Option<String>,
    transaction_id: Option<String>,
    parameters: Parameters,
}

impl Envelope {
    fn read(body: &Value) -> Self {
        let result = json::member(body, "Result").unwrap_or(body);
        let id = |name| json::field(result, name).and_then(json::id);
        let names = ["ResultParameters", "ResultParameter"];
        Self {
            code: id("ResultCode"),
            description: json::field(result, "ResultDesc").map(json::sentence),
            originator_conversation_id: id("OriginatorConversationID"),
            conversation_id: id("ConversationID"),
            transaction_id: id("TransactionID"),
            parameters: Parameters::read(result, &names, &["ResultParameter", "ResultParameters"]),
        }
    }

    fn succeeded(&self) -> bool {
        self.code.as_deref().map(normal_form) == Some("0")
    }

    fn correlation(&self, transaction_id: Option<TransactionId>) -> Correlation {
        Correlation {
            transaction_id,
            originator_conversation_id: self.originator_conversation_id.clone(),
            conversation_id: self.conversation_id.clone(),
            ..Correlation::default()
        }
    }

    /// One model of a queue timeout is a result of code 1 with this sentence. Code 1 also means "balance too low",
    /// a final failure; the sentence alone must not make it one, for a timed-out payout may still be paid.
    fn is_queue_timeout(&self) -> bool {
        let says_so = |sentence: &String| sentence.to_ascii_lowercase().contains("timed out");
        self.code.as_deref().map(normal_form) == Some("1")
            && self.description.as_ref().is_some_and(says_so)
    }

    /// The news of an API whose result is about the payment itself; `complete` adds what only that API has.
    fn payment(
        &self,
        api: Api,
        path_transaction_id: Option<TransactionId>,
        complete: impl FnOnce(&mut StatusUpdate),
    ) -> News {
        let correlation = self.correlation(path_transaction_id);
        if !is_news_of_a_payment(self.code.as_deref(), &correlation) {
            let reason = "a result without OriginatorConversationID and ConversationID";
            return News::Unreadable(reason.to_owned());
        }
        if self.is_queue_timeout() {
            return News::Timeout(correlation);
        }
        let class = class_of(api, self.code.as_deref());
        let mut update = StatusUpdate {
            result_code: self.code.clone(),
            result_description: self.description.clone(),
            ..StatusUpdate::new(api, class, correlation)
        };
        complete(&mut update);
        News::Payment(Box::new(update))
    }

    fn completed_at(&self) -> Option<Instant> {
        let names = [
            "TransactionCompletedDateTime",
            "TransCompletedTime",
            "FinalisedTime",
            "FinalizedTime",
        ];
        from_eat(&self.parameters.first_of(&names)?)
    }
}

fn b2c(result: &Envelope, path_transaction_id: Option<TransactionId>) -> News {
    result.payment(Api::B2c, path_transaction_id, |update| {
        // A failed result carries a TransactionID too, real-looking or not: it is no receipt.
        if update.class != ResultClass::Success {
            return;
        }
        let parameters = &result.parameters;
        update.receipt = receipt(parameters.first("TransactionReceipt"))
            .or_else(|| receipt(result.transaction_id.clone()));
        update.paid = paid_amount(parameters.first_of(&["TransactionAmount", "Amount"]));
        update.payer = parameters
            .first("ReceiverPartyPublicName")
            .and_then(|name| payer_of_party(&name, Country::Kenya));
        update.occurred_at = result.completed_at();
    })
}

fn reversal(result: &Envelope, path_transaction_id: Option<TransactionId>) -> News {
    result.payment(Api::Reversal, path_transaction_id, |update| {
        update.original_receipt = receipt(result.parameters.first("OriginalTransactionID"));
        // R000001 (already reversed) is a success whose TransactionID moved no money.
        if result.succeeded() {
            update.receipt = receipt(result.transaction_id.clone());
            update.paid = paid_amount(result.parameters.first("Amount"));
            update.occurred_at = result.completed_at();
        }
    })
}

fn balances(result: &Envelope) -> News {
    if !result.succeeded() {
        return match failed_question(result) {
            Some(reason) => News::Information(format!("the balance query failed: {reason}")),
            None => News::Unreadable("a balance result without ResultCode".to_owned()),
        };
    }
    let text = result
        .parameters
        .first("AccountBalance")
        .unwrap_or_default();
    let accounts = balance::accounts(&text);
    if accounts.is_empty() {
        return News::Unreadable("a balance result without a readable AccountBalance".to_owned());
    }
    let checked_at = result.parameters.first("BOCompletedTime");
    News::Balances {
        accounts,
        checked_at: checked_at.and_then(|text| from_eat(&text)),
    }
}

/// The answer to a status query. Its own ids and code are the query's; the payment's are among the parameters.
fn status(result: &Envelope, path_transaction_id: Option<TransactionId>) -> News {
    if !result.succeeded() {
        return unanswered(result, path_transaction_id);
    }
    let parameters = &result.parameters;
    let id = |name| parameters.first(name).and_then(json::id);
    let payment_receipt = receipt(parameters.first("ReceiptNo"));
    let correlation = Correlation {
        transaction_id: path_transaction_id,
        originator_conversation_id: id("OriginatorConversationID"),
        conversation_id: id("ConversationID"),
        receipt: payment_receipt.clone(),
        ..Correlation::default()
    };
    if !names_a_payment(&correlation) {
        return News::Information("a transaction status that names no payment".to_owned());
    }
    let word = parameters.first("TransactionStatus").and_then(json::id);
    let (class, returned) = word
        .as_deref()
        .map_or((ResultClass::Unknown, false), classify_transaction_status);
    let mut update = StatusUpdate {
        returned,
        result_description: word.clone(),
        provider_status: word,
        ..StatusUpdate::new(Api::StatusQuery, class, correlation)
    };
    if class == ResultClass::Success {
        update.receipt = payment_receipt;
        update.paid = paid_amount(parameters.first("Amount"));
    }
    if matches!(class, ResultClass::Success | ResultClass::Failed) {
        update.occurred_at = result.completed_at();
    }
    News::Payment(Box::new(update))
}

/// A query that failed itself says nothing about the payment.
fn unanswered(result: &Envelope, path_transaction_id: Option<TransactionId>) -> News {
    let Some(reason) = failed_question(result) else {
        return News::Unreadable("a status result without ResultCode".to_owned());
    };
    let sentence = format!("the status query failed: {reason}");
    if path_transaction_id.is_none() {
        return News::Information(sentence);
    }
    let correlation = Correlation {
        transaction_id: path_transaction_id,
        ..Correlation::default()
    };
    News::Payment(Box::new(StatusUpdate {
        result_description: Some(sentence),
        ..StatusUpdate::new(Api::StatusQuery, ResultClass::Unknown, correlation)
    }))
}

fn failed_question(result: &Envelope) -> Option<String> {
    let code = result.code.as_deref()?;
    let description = result.description.as_deref().unwrap_or("no reason given");
    Some(format!("{description} ({code})"))
}

/// Three models of this body exist: our own request echoed, a thin `Result` with ids, and a `Result` of code 1.
/// All of them say the same: M-Pesa gave up waiting, and the payment may still happen.
fn timeout(path_transaction_id: Option<TransactionId>, body: &Value) -> News {
    let result = json::member(body, "Result").unwrap_or(body);
    let id = |names: &[&str]| json::first_field(result, names).and_then(json::id);
    let correlation = Correlation {
        transaction_id: path_transaction_id,
        // In the echo of a status query the payment's id has a name of its own.
        originator_conversation_id: id(&["OriginalConversationID", "OriginatorConversationID"]),
        conversation_id: id(&["ConversationID"]),
        ..Correlation::default()
    };
    if names_a_payment(&correlation) {
        News::Timeout(correlation)
    } else {
        News::Unreadable("a queue timeout that names nothing".to_owned())
    }
}

/// A path that names a transaction does not make news of a body that says nothing.
fn is_news_of_a_payment(code: Option<&str>, correlation: &Correlation) -> bool {
    names_a_payment(correlation) && (code.is_some() || correlation.ids().next().is_some())
}

fn names_a_payment(correlation: &Correlation) -> bool {
    correlation.transaction_id.is_some() || correlation.ids().next().is_some()
}

/// A result without a code is news of which we do not know the meaning.
fn class_of(api: Api, code: Option<&str>) -> ResultClass {
    code.map_or(ResultClass::Unknown, |code| classify(api, code))
}

/// A receipt, unless it is the placeholder (`SKE0000000`) that stands where no money moved.
fn receipt(text: Option<String>) -> Option<String> {
    text.filter(|receipt| !receipt.ends_with("0000000"))
        .and_then(json::id)
}
