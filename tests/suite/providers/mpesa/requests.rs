//! What is sent: every field of every request, as Safaricom's portal spells them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ussd_status::domain::money::{Amount, Currency};
use ussd_status::domain::transaction::{Kind, ProviderIds};
use ussd_status::providers::answer::{Answer, BalanceAnswer, Outcome, Reply, Unsupported};
use ussd_status::providers::payment_provider::{PaymentProvider as _, Purpose};

use super::daraja::Daraja;
use super::*;

/// The one call that was made, its path checked and its SecurityCredential taken out: it never looks the same.
fn only_call(daraja: &Daraja, path: &str) -> Value {
    let calls = daraja.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(calls[0].path, path);
    assert_eq!(calls[0].authorization, "Bearer token-1");
    let mut body = calls[0].body.clone();
    if let Some(credential) = body.as_object_mut().unwrap().remove("SecurityCredential") {
        let sealed = STANDARD.decode(credential.as_str().unwrap()).unwrap();
        assert_eq!(sealed.len(), 256);
        body["SecurityCredential"] = json!("sealed");
    }
    body
}

/// What a push looks like at the instant at which every test's clock starts, 15:09:26 UTC.
fn push_body() -> Value {
    json!({
        "BusinessShortCode": "600997",
        "Password": STANDARD.encode("600997bfb279f9aa9bdbcf20260314180926"),
        "Timestamp": "20260314180926",
        "TransactionType": "CustomerPayBillOnline",
        "Amount": 1200,
        "PartyA": "254708374149",
        "PartyB": "600997",
        "PhoneNumber": "254708374149",
        "CallBackURL": callback_url("stk"),
        "AccountReference": "Invoice-1234",
        "TransactionDesc": "Rent",
    })
}

#[tokio::test]
async fn a_token_is_asked_for_with_key_and_secret() {
    let daraja = Daraja::that_accepts();
    client(&daraja.url).collect(&collection()).await.unwrap();
    let calls = daraja.token_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].path,
        "/oauth/v1/generate?grant_type=client_credentials"
    );
    let basic = format!("Basic {}", STANDARD.encode("consumer-key:consumer-secret"));
    assert_eq!(calls[0].authorization, basic);
}

#[tokio::test]
async fn a_push_to_a_paybill_is_sent_as_documented() {
    let daraja = Daraja::that_accepts();
    client(&daraja.url).collect(&collection()).await.unwrap();
    let body = only_call(&daraja, "/mpesa/stkpush/v1/processrequest");
    assert_eq!(body, push_body());
}

#[tokio::test]
async fn a_push_to_a_till_is_goods_bought_unless_the_caller_says_otherwise() {
    for (transaction_type, sent, party) in [
        (None, "CustomerBuyGoodsOnline", "5044001"),
        (
            Some("CustomerBuyGoodsOnline"),
            "CustomerBuyGoodsOnline",
            "5044001",
        ),
        (
            Some("CustomerPayBillOnline"),
            "CustomerPayBillOnline",
            "600997",
        ),
    ] {
        let daraja = Daraja::that_accepts();
        let client = client_with(&daraja.url, &json!({"till_number": "5044001"}));
        let request = Collection {
            transaction_type: transaction_type.map(str::to_owned),
            ..collection()
        };
        client.collect(&request).await.unwrap();
        let mut expected = push_body();
        expected["TransactionType"] = json!(sent);
        expected["PartyB"] = json!(party);
        let body = only_call(&daraja, "/mpesa/stkpush/v1/processrequest");
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn a_push_without_words_names_itself_a_payment() {
    let daraja = Daraja::that_accepts();
    let request = Collection {
        reference: None,
        description: None,
        ..collection()
    };
    client(&daraja.url).collect(&request).await.unwrap();
    let body = only_call(&daraja, "/mpesa/stkpush/v1/processrequest");
    assert_eq!(body["AccountReference"], "Payment");
    assert_eq!(body["TransactionDesc"], "Payment");
}

#[tokio::test]
async fn a_payout_carries_our_own_id_and_the_old_version_none() {
    let expected = json!({
        "OriginatorConversationID": transaction_id().to_string(),
        "InitiatorName": "testapi",
        "SecurityCredential": "sealed",
        "CommandID": "BusinessPayment",
        "Amount": 10,
        "PartyA": "600997",
        "PartyB": "254708374149",
        "Remarks": "Change",
        "QueueTimeOutURL": callback_url("b2c-timeout"),
        "ResultURL": callback_url("b2c-result"),
        "Occassion": "Easter",
    });
    let mut old = expected.clone();
    old.as_object_mut()
        .unwrap()
        .remove("OriginatorConversationID");
    for (changes, path, expected) in [
        (json!({}), "/mpesa/b2c/v3/paymentrequest", expected),
        (
            json!({"b2c_version": "v1"}),
            "/mpesa/b2c/v1/paymentrequest",
            old,
        ),
    ] {
        let daraja = Daraja::that_accepts();
        let client = client_with(&daraja.url, &changes);
        let request = PayOut {
            remarks: Some("Change".to_owned()),
            occasion: Some("Easter".to_owned()),
            ids: client.own_ids(Kind::B2c, transaction_id()),
            ..pay_out()
        };
        client.pay_out(&request).await.unwrap();
        assert_eq!(only_call(&daraja, path), expected);
    }
}

#[tokio::test]
async fn the_purpose_of_a_payout_chooses_the_command() {
    for (purpose, command, remarks) in [
        (Purpose::Refund, "BusinessPayment", "Refund"),
        (Purpose::Payout, "BusinessPayment", "Payment"),
        (Purpose::Salary, "SalaryPayment", "Salary"),
        (Purpose::Bonus, "PromotionPayment", "Bonus"),
        (Purpose::Promotion, "PromotionPayment", "Promotion"),
    ] {
        let daraja = Daraja::that_accepts();
        let request = PayOut {
            purpose,
            ..pay_out()
        };
        client(&daraja.url).pay_out(&request).await.unwrap();
        let body = only_call(&daraja, "/mpesa/b2c/v3/paymentrequest");
        assert_eq!(body["CommandID"], command);
        assert_eq!(body["Remarks"], remarks);
        assert_eq!(body.get("Occassion"), None);
    }
}

#[tokio::test]
async fn a_reversal_is_sent_as_documented() {
    let daraja = Daraja::that_accepts();
    client(&daraja.url).reverse(&reversal()).await.unwrap();
    assert_eq!(
        only_call(&daraja, "/mpesa/reversal/v1/request"),
        json!({
            "Initiator": "testapi",
            "SecurityCredential": "sealed",
            "CommandID": "TransactionReversal",
            "TransactionID": "NLJ7RT61SV",
            "Amount": 1200,
            "ReceiverParty": "600997",
            "RecieverIdentifierType": "11",
            "ResultURL": callback_url("reversal-result"),
            "QueueTimeOutURL": callback_url("reversal-timeout"),
            "Remarks": "Reversal",
        })
    );
}

#[tokio::test]
async fn a_balance_is_asked_for_as_documented() {
    let daraja = Daraja::that_accepts();
    let answer = client(&daraja.url)
        .balance(&callbacks(), enquiry_id())
        .await
        .unwrap();
    let BalanceAnswer::Asked(acceptance) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(acceptance.code.as_deref(), Some("0"));
    assert_eq!(
        only_call(&daraja, "/mpesa/accountbalance/v1/query"),
        json!({
            "Initiator": "testapi",
            "SecurityCredential": "sealed",
            "CommandID": "AccountBalance",
            "PartyA": "600997",
            "IdentifierType": "4",
            "Remarks": "Balance",
            "QueueTimeOutURL": "https://pay.example/callbacks/c0ffee/balance-timeout/0190c2a4-7c00-7000-8000-0000000000b1",
            "ResultURL": "https://pay.example/callbacks/c0ffee/balance-result/0190c2a4-7c00-7000-8000-0000000000b1",
        })
    );
}

#[tokio::test]
async fn a_transaction_status_is_asked_for_by_receipt_or_by_our_id() {
    let receipt = ("TransactionID", "NLJ7RT61SV");
    let ours = ("OriginalConversationID", "our-id");
    for (kind, ids, known, (field, value)) in [
        (Kind::B2c, originator("our-id"), None, ours),
        (Kind::Reversal, originator("our-id"), None, ours),
        (Kind::B2c, originator("our-id"), Some("NLJ7RT61SV"), receipt),
        (
            Kind::C2b,
            ProviderIds::default(),
            Some("NLJ7RT61SV"),
            receipt,
        ),
        (
            Kind::StkPush,
            ProviderIds::default(),
            Some("NLJ7RT61SV"),
            receipt,
        ),
    ] {
        let daraja = Daraja::that_accepts();
        let asked = question(kind, ids, known);
        let answer = client(&daraja.url).query(&asked).await.unwrap();
        let Answer::Asked { ids, .. } = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(
            ids.originator_conversation_id.as_deref(),
            Some("29115-34620561-1")
        );
        let mut expected = json!({
            "Initiator": "testapi",
            "SecurityCredential": "sealed",
            "CommandID": "TransactionStatusQuery",
            "PartyA": "600997",
            "IdentifierType": "4",
            "ResultURL": callback_url("status-result"),
            "QueueTimeOutURL": callback_url("status-timeout"),
            "Remarks": "Status",
            "Occasion": "Status",
        });
        expected[field] = json!(value);
        let body = only_call(&daraja, "/mpesa/transactionstatus/v1/query");
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn a_push_is_asked_about_by_its_checkout_request_id() {
    let daraja = Daraja::that_accepts();
    let asked = question(Kind::StkPush, checkout("ws_CO_1"), None);
    client(&daraja.url).query(&asked).await.unwrap();
    let push = push_body();
    assert_eq!(
        only_call(&daraja, "/mpesa/stkpushquery/v1/query"),
        json!({
            "BusinessShortCode": "600997",
            "Password": push["Password"],
            "Timestamp": push["Timestamp"],
            "CheckoutRequestID": "ws_CO_1",
        })
    );
}

#[tokio::test]
async fn callback_addresses_are_registered_as_documented_and_the_answer_is_passed_on() {
    let daraja = Daraja::that_accepts();
    let said = json!({"OriginatorCoversationID": "7619-1", "ResponseCode": "0", "ResponseDescription": "success"});
    daraja.say(super::daraja::Say::Json(200, said.clone()));
    let reply = client(&daraja.url).register_callbacks(&callbacks()).await;
    assert_eq!(reply, Ok(Reply::Body(said)));
    assert_eq!(
        only_call(&daraja, "/mpesa/c2b/v2/registerurl"),
        json!({
            "ShortCode": "600997",
            "ResponseType": "Completed",
            "ConfirmationURL": "https://pay.example/callbacks/c0ffee/c2b-confirmation",
            "ValidationURL": "https://pay.example/callbacks/c0ffee/c2b-validation",
        })
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_or_impossible_by_name_and_nothing_is_sent() {
    let daraja = Daraja::that_accepts();
    let refused = |outcome: Outcome| match outcome {
        Outcome::Refused(refusal) => refusal.message,
        other => panic!("{other:?}"),
    };
    let impossible = |answer: Answer| match answer {
        Answer::Impossible(reason) => reason,
        other => panic!("{other:?}"),
    };
    let without = |key: &str| client_with(&daraja.url, &json!({key: null}));
    let push = question(Kind::StkPush, checkout("ws_CO_1"), None);
    let payout = question(Kind::B2c, originator("our-id"), None);

    let client = without("passkey");
    assert!(refused(client.collect(&collection()).await.unwrap()).contains("passkey"));
    assert!(impossible(client.query(&push).await.unwrap()).contains("passkey"));
    for key in ["certificate", "initiator_name", "initiator_password"] {
        let client = without(key);
        assert!(refused(client.pay_out(&pay_out()).await.unwrap()).contains(key));
        assert!(refused(client.reverse(&reversal()).await.unwrap()).contains(key));
        assert!(impossible(client.query(&payout).await.unwrap()).contains(key));
        let balance = client.balance(&callbacks(), enquiry_id()).await.unwrap();
        assert!(
            matches!(balance, BalanceAnswer::Refused(refusal) if refusal.message.contains(key))
        );
    }

    let client = super::client(&daraja.url);
    for amount in [Amount(50), Amount(120_050), Amount(0), Amount(-100)] {
        let request = Collection {
            amount,
            ..collection()
        };
        assert!(refused(client.collect(&request).await.unwrap()).contains("amount"));
        let request = PayOut {
            amount,
            ..pay_out()
        };
        assert!(refused(client.pay_out(&request).await.unwrap()).contains("amount"));
        let request = ReversalRequest {
            amount,
            ..reversal()
        };
        assert!(refused(client.reverse(&request).await.unwrap()).contains("amount"));
    }
    let currency = Currency::tzs();
    let request = Collection {
        currency,
        ..collection()
    };
    assert!(refused(client.collect(&request).await.unwrap()).contains("currency"));
    for kind in [Kind::StkPush, Kind::B2c, Kind::C2b, Kind::Reversal] {
        let asked = question(kind, ProviderIds::default(), None);
        assert!(
            impossible(client.query(&asked).await.unwrap()).contains("known"),
            "{kind}"
        );
    }
    assert_eq!(
        client.preview_collection(&collection()).await,
        Err(Unsupported("previewing a collection"))
    );
    assert_eq!(
        client.preview_pay_out(&pay_out()).await,
        Err(Unsupported("previewing a payout"))
    );
    assert!(daraja.calls().is_empty() && daraja.token_calls().is_empty());
    assert_eq!(format!("{client:?}"), "mpesa::Client");
}

#[test]
fn only_payouts_of_the_current_version_have_an_id_of_ours() {
    let url = "http://127.0.0.1:9";
    let current = client(url);
    let old = client_with(url, &json!({"b2c_version": "v1"}));
    for kind in Kind::ALL {
        let ids = current.own_ids(kind, transaction_id());
        if kind == Kind::B2c {
            assert_eq!(ids, originator(&transaction_id().to_string()));
        } else {
            assert!(ids.is_empty(), "{kind}");
        }
        assert!(old.own_ids(kind, transaction_id()).is_empty(), "{kind}");
    }
}
