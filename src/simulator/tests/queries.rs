use super::daraja::{parameter, payment_status, push, stk, stk_state, token};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_open_prompt_is_still_under_processing() {
    let settings = SimulatorSettings {
        callback_delay: Duration::from_secs(600)..=Duration::from_secs(600),
        ..quick()
    };
    let simulator = Simulator::start(settings).await.unwrap();
    let sink = Sink::open().await;
    let token = token(&simulator).await;
    let (_, accepted) = push(&simulator, &token, &stk("254712345678", &sink)).await;
    let id = &accepted["CheckoutRequestID"];
    let (status, answer) = stk_state(&simulator, &token, id).await;
    assert_eq!((status, &answer["ResultCode"]), (200, &json!("4999")));
    let (status, answer) = stk_state(&simulator, &token, &json!("ws_CO_1")).await;
    assert_eq!(
        (status, &answer["errorCode"]),
        (500, &json!("500.001.1001"))
    );
    // Stopping does not wait for what is due in ten minutes.
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_reversed_once() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    push(&simulator, &token, &stk("254712345678", &sink)).await;
    let paid = sink.next().await.json();
    let receipt = &paid["Body"]["stkCallback"]["CallbackMetadata"]["Item"][1]["Value"];
    let body = json!({
        "Initiator": "testapi",
        "SecurityCredential": "c2VjcmV0",
        "CommandID": "TransactionReversal",
        "TransactionID": receipt,
        "Amount": "120",
        "ReceiverParty": "174379",
        "RecieverIdentifierType": "11",
        "Remarks": "wrong number",
        "QueueTimeOutURL": format!("{}/timeout", sink.url),
        "ResultURL": format!("{}/reversal", sink.url),
    });
    for code in [json!(0), json!("R000001")] {
        let url = simulator.url() + "/mpesa/reversal/v1/request";
        assert_eq!(post(url, &token, &body).await.0, 200);
        let result = sink.next().await.json()["Result"].clone();
        assert_eq!(result["ResultCode"], code);
        if code == 0 {
            assert_eq!(&parameter(&result, "OriginalTransactionID"), receipt);
            assert_eq!(parameter(&result, "Amount").to_string(), "120.00");
        }
    }
    let result = payment_status(&simulator, &token, "TransactionID", receipt, &mut sink).await;
    assert_eq!(parameter(&result, "TransactionStatus"), "Reversed");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balance_is_a_pipe_string() {
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let token = token(&simulator).await;
    let body = json!({
        "Initiator": "testapi",
        "SecurityCredential": "c2VjcmV0",
        "CommandID": "AccountBalance",
        "PartyA": "600997",
        "IdentifierType": 4,
        "Remarks": "asking",
        "QueueTimeOutURL": format!("{}/timeout", sink.url),
        "ResultURL": format!("{}/balance", sink.url),
    });
    let url = simulator.url() + "/mpesa/accountbalance/v1/query";
    assert_eq!(post(url, &token, &body).await.0, 200);
    let result = sink.next().await.json()["Result"].clone();
    let accounts = parameter(&result, "AccountBalance");
    let accounts: Vec<&str> = accounts.as_str().unwrap().split('&').collect();
    assert_eq!(
        accounts[1],
        "Utility Account|KES|8959269.60|8959269.60|0.00|0.00"
    );
    simulator.stop().await;
}
