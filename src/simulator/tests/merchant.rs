use std::sync::Mutex;

use super::*;
use crate::simulator::merchant::{
    Merchant, MerchantError, MerchantProvider, MerchantSettings, Payment, ProviderAnswer,
};

/// A service that answers what a number's last digit says, and remembers what it was asked.
struct FakeService {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl FakeService {
    async fn open() -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let http = HttpServer::new(move || {
            let kept = Arc::clone(&kept);
            App::new().default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                assert_eq!(request.path(), "/api/ussd/payments");
                let known = request
                    .headers()
                    .get("x-api-key")
                    .is_some_and(|key| key == "ussd_1");
                let body: Value = serde_json::from_slice(&body).unwrap();
                let number = body["msisdn"].as_str().unwrap().to_owned();
                kept.lock().unwrap().push(body);
                async move {
                    let transaction = json!({
                        "success": true,
                        "transaction": {"transaction_id": "t1", "status": "queued"},
                    });
                    match number.bytes().last() {
                        _ if !known => {
                            HttpResponse::Unauthorized().json(json!({"error_code": "AUTH_1002"}))
                        }
                        Some(b'0') => HttpResponse::Accepted().json(transaction),
                        Some(b'1') => HttpResponse::BadGateway()
                            .json(json!({"error": "no funds", "error_code": "PROVIDER_1001"})),
                        _ => HttpResponse::Created().json(transaction),
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
        Self { url, asked }
    }

    fn merchant(&self, provider: MerchantProvider) -> Merchant {
        Merchant::new(self.settings(provider)).unwrap()
    }

    fn settings(&self, provider: MerchantProvider) -> MerchantSettings {
        MerchantSettings {
            service_url: self.url.clone(),
            api_key: "ussd_1".to_owned(),
            provider,
            seed: 3,
            reference_prefix: "RUN1".to_owned(),
        }
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
async fn each_payment_is_one_call_with_a_reference_of_its_own() {
    let service = FakeService::open().await;
    let payments = pay(&mut service.merchant(MerchantProvider::Mpesa), 60).await;
    let asked = service.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 60);
    let references: std::collections::HashSet<_> = asked
        .iter()
        .map(|body| body["client_request_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(references.len(), 60);
    let kinds: std::collections::BTreeSet<_> = payments.iter().map(|p| p.kind).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["b2c", "stk_push"]);
    let usual = payments.iter().filter(|p| p.ending.is_none()).count();
    assert!((30..60).contains(&usual), "{usual}");
    for payment in &payments {
        let expected = match payment.msisdn.bytes().last() {
            Some(b'0') => ProviderAnswer::Unknown,
            Some(b'1') => ProviderAnswer::Refused("no funds".to_owned()),
            _ => ProviderAnswer::Accepted,
        };
        assert_eq!(payment.answer, expected, "{payment:?}");
    }
    let tanzania = pay(&mut service.merchant(MerchantProvider::ClickPesa), 20).await;
    let kinds: std::collections::BTreeSet<_> = tanzania.iter().map(|p| p.kind).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["payout", "ussd_push"]
    );
    assert!(tanzania.iter().all(|p| p.msisdn.starts_with("2557")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_makes_the_same_payments() {
    let service = FakeService::open().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        let payments = pay(&mut service.merchant(MerchantProvider::Mpesa), 10).await;
        let drawn: Vec<_> = payments
            .into_iter()
            .map(|p| (p.msisdn, p.amount, p.kind, p.answer))
            .collect();
        runs.push(drawn);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_service_is_an_error() {
    let service = FakeService::open().await;
    let mut merchant = Merchant::new(MerchantSettings {
        api_key: "ussd_2".to_owned(),
        ..service.settings(MerchantProvider::Mpesa)
    })
    .unwrap();
    let error = merchant.pay_one().await.unwrap_err();
    assert!(matches!(error, MerchantError::Service { status: 401, .. }));
}
