//! The client against the simulator, which reads requests as strictly as Daraja does.

use std::time::Duration;

use ussd_status::domain::status_update::ResultClass;
use ussd_status::providers::answer::{Answer, BalanceAnswer, Outcome};
use ussd_status::providers::payment_provider::PaymentProvider as _;
use ussd_status::simulator::{RunningSimulator, Simulator, SimulatorSettings};

use super::*;

async fn simulator() -> RunningSimulator {
    let mut settings = SimulatorSettings::new("127.0.0.1:0".parse().unwrap());
    settings.callback_delay = Duration::from_millis(1)..=Duration::from_millis(5);
    Simulator::start(settings).await.unwrap()
}

fn accepted(outcome: Outcome) -> ProviderIds {
    match outcome {
        Outcome::Accepted(acceptance) => acceptance.ids,
        other => panic!("{other:?}"),
    }
}

/// News goes to a port where nobody listens.
fn nowhere() -> CallbackBase {
    CallbackBase::new("http://127.0.0.1:9".parse().unwrap(), "c0ffee")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_one_that_the_simulator_takes() {
    let simulator = simulator().await;
    let client = client(&simulator.url());
    let callbacks = nowhere();
    let push = Collection {
        callbacks: callbacks.clone(),
        ..collection()
    };
    let pushed = accepted(client.collect(&push).await.unwrap());
    let payout = PayOut {
        callbacks: callbacks.clone(),
        ..pay_out()
    };
    let paid = accepted(client.pay_out(&payout).await.unwrap());
    assert_eq!(
        paid.originator_conversation_id,
        payout.ids.originator_conversation_id
    );
    // The same once more is the same payment.
    assert_eq!(accepted(client.pay_out(&payout).await.unwrap()), payout.ids);
    let reversal = ReversalRequest {
        callbacks: callbacks.clone(),
        ..reversal()
    };
    assert!(!accepted(client.reverse(&reversal).await.unwrap()).is_empty());
    let balance = client.balance(&callbacks, enquiry_id()).await.unwrap();
    assert!(matches!(balance, BalanceAnswer::Asked(_)), "{balance:?}");
    simulator.until_quiet().await;

    let answer = client
        .query(&question(Kind::StkPush, pushed.clone(), None))
        .await
        .unwrap();
    let Answer::News(update) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(update.class, ResultClass::Success);
    assert_eq!(update.correlation.conversation_id, pushed.conversation_id);
    let about_the_payout = Question {
        callbacks,
        ..question(Kind::B2c, payout.ids.clone(), None)
    };
    let answer = client.query(&about_the_payout).await.unwrap();
    assert!(matches!(answer, Answer::Asked { .. }), "{answer:?}");
    let unknown = question(Kind::StkPush, checkout("ws_CO_0"), None);
    let answer = client.query(&unknown).await.unwrap();
    assert!(matches!(answer, Answer::Nothing(_)), "{answer:?}");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_fetched_by_another_program_costs_one_repeat_and_no_payment() {
    let simulator = simulator().await;
    let [ours, theirs] = [(); 2].map(|()| client(&simulator.url()));
    let push = Collection {
        callbacks: nowhere(),
        ..collection()
    };
    for _ in 0..2 {
        accepted(ours.collect(&push).await.unwrap());
        theirs.check_credentials().await.unwrap();
    }
    accepted(ours.collect(&push).await.unwrap());
    simulator.stop().await;
}
