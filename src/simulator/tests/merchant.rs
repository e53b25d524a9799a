use std::sync::Mutex;

use super::*;
use crate::simulator::merchant::{
    Merchant, MerchantError, MerchantProvider, MerchantSettings, Payment, ProviderAnswer,
};

/// A service that registers everything and remembers what it was told.
struct FakeService {
    url: String,
    told: Arc<Mutex<Vec<(String, Value)>>>,
}

impl FakeService {
    async fn open() -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        let http = HttpServer::new(move || {
            let kept = Arc::clone(&kept);
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let said = format!("{} {}", request.method(), request.path());
                let known = request
                    .headers()
                    .get("x-api-key")
                    .is_some_and(|key| key == "ussd_1");
                let body = serde_json::from_slice(&body).unwrap();
                let mut kept = kept.lock().unwrap();
                kept.push((said, body));
                let id = format!("t{}", kept.len());
                async move {
                    if known {
                        HttpResponse::Created().json(json!({
                            "success": true,
                            "transaction": {"transaction_id": id, "status": "queued"},
                        }))
                    } else {
                        HttpResponse::Unauthorized().json(json!({"error_code": "AUTH_1002"}))
                    }
                }
            }))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", http.addrs()[0]);
        tokio::spawn(http.run());
        Self { url, told }
    }
}

fn mpesa(sink: &Sink) -> MerchantProvider {
    MerchantProvider::Mpesa {
        consumer_key: "merchant".to_owned(),
        stk_callback_url: format!("{}/stk", sink.url),
        b2c_result_url: format!("{}/b2c-result", sink.url),
        b2c_timeout_url: format!("{}/b2c-timeout", sink.url),
    }
}

fn settings(
    service: &FakeService,
    simulator: &RunningSimulator,
    provider: MerchantProvider,
) -> MerchantSettings {
    MerchantSettings {
        service_url: service.url.clone(),
        api_key: "ussd_1".to_owned(),
        simulator_url: simulator.url(),
        provider,
        seed: 3,
        reference_prefix: "RUN1".to_owned(),
        now: standing_clock(),
    }
}

async fn pay(merchant: &mut Merchant, count: usize) -> Vec<Payment> {
    let mut payments = Vec::new();
    for _ in 0..count {
        payments.push(merchant.pay_one().await.unwrap());
    }
    payments
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_registered_asked_for_and_its_ids_reported() {
    let service = FakeService::open().await;
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let mut merchant = Merchant::new(settings(&service, &simulator, mpesa(&sink))).unwrap();
    let payments = pay(&mut merchant, 30).await;
    simulator.until_quiet().await;
    assert!(sink.rest() > 20);
    let told = service.told.lock().unwrap().clone();
    for payment in &payments {
        let registered = told
            .iter()
            .find(|(_, body)| body["client_request_id"] == payment.client_request_id.as_str())
            .unwrap();
        assert_eq!(registered.0, "POST /api/ussd/transactions");
        assert_eq!(registered.1["kind"], payment.kind);
        let path = format!("PATCH /api/ussd/transactions/{}", payment.transaction_id);
        let patched = told.iter().find(|(said, _)| *said == path);
        assert_eq!(
            patched.is_some(),
            payment.answer == ProviderAnswer::Accepted,
            "{payment:?}"
        );
    }
    let kinds: std::collections::HashSet<_> = payments.iter().map(|p| p.kind).collect();
    assert_eq!(kinds.len(), 2);
    let usual = payments.iter().filter(|p| p.ending.is_none()).count();
    assert!((15..30).contains(&usual), "{usual}");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_makes_the_same_payments() {
    let service = FakeService::open().await;
    let simulator = Simulator::start(quick()).await.unwrap();
    let sink = Sink::open().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut merchant = Merchant::new(MerchantSettings {
            reference_prefix: format!("RUN{}", runs.len()),
            ..settings(&service, &simulator, mpesa(&sink))
        })
        .unwrap();
        let payments = pay(&mut merchant, 10).await;
        let drawn: Vec<_> = payments
            .into_iter()
            .map(|p| (p.msisdn, p.amount, p.kind, p.answer))
            .collect();
        runs.push(drawn);
    }
    assert_eq!(runs[0], runs[1]);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickpesa_merchant_signs_if_its_application_does() {
    let service = FakeService::open().await;
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    simulator.set_clickpesa_application(
        "IDAPP1",
        Application {
            webhook_url: sink.url.clone(),
            checksum_key: Some("CHKkey".to_owned()),
        },
    );
    let provider = MerchantProvider::ClickPesa {
        client_id: "IDAPP1".to_owned(),
        checksum_key: Some("CHKkey".to_owned()),
    };
    let mut merchant = Merchant::new(settings(&service, &simulator, provider)).unwrap();
    let payments = pay(&mut merchant, 8).await;
    let accepted = |p: &&Payment| p.answer == ProviderAnswer::Accepted;
    assert!(payments.iter().filter(accepted).count() > 4, "{payments:?}");
    simulator.until_quiet().await;
    assert!(sink.rest() > 4);
    let told = service.told.lock().unwrap().clone();
    let patched = told.iter().find(|(said, _)| said.starts_with("PATCH"));
    assert!(patched.unwrap().1["order_reference"].is_string());
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_service_is_an_error_and_nothing_is_asked_of_the_provider() {
    let service = FakeService::open().await;
    let simulator = Simulator::start(quick()).await.unwrap();
    let mut sink = Sink::open().await;
    let mut merchant = Merchant::new(MerchantSettings {
        api_key: "ussd_2".to_owned(),
        ..settings(&service, &simulator, mpesa(&sink))
    })
    .unwrap();
    let error = merchant.pay_one().await.unwrap_err();
    assert!(matches!(error, MerchantError::Service { status: 401, .. }));
    simulator.until_quiet().await;
    assert_eq!(sink.rest(), 0);
    simulator.stop().await;
}
