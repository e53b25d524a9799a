//! The quotas of a key hold over all instances together, with the numbers they have on one.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use ussd_status::instances::LOOKS_TO_BE_ALONE;

use super::{acquaint, several};
use crate::api::{STATUS, TRANSACTIONS};
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp, TestPartner};

/// Refilled so slowly that nothing comes back while a test runs: three requests a minute.
const FEW: [(&str, &str); 3] = [
    ("RATE_LIMIT_GET", "3"),
    ("RATE_LIMIT_POST", "3"),
    ("RATE_LIMIT_WRITE", "3"),
];

/// What a caller is told: status, both headers, how long to wait.
fn told(answer: &Answer) -> (u16, String, String, Option<u32>) {
    (
        answer.status.as_u16(),
        answer.header("ratelimit-policy").to_owned(),
        answer.header("ratelimit").to_owned(),
        answer.header("retry-after").parse().ok(),
    )
}

/// Five requests to each quota, to one instance after the other.
async fn numbers(
    all: &[TestApp],
    partner: &TestPartner,
) -> Vec<(u16, String, String, Option<u32>)> {
    let mut told_all = Vec::new();
    let register = json!({"client_request_id": "R", "msisdn": "254712345678", "amount": 1});
    for turn in 0..5 {
        let app = &all[turn % all.len()];
        told_all.push(told(&app.get(partner, STATUS).await));
        let bulk = json!({"client_request_ids": ["C"]});
        told_all.push(told(&app.post(partner, STATUS, &bulk).await));
        told_all.push(told(&app.post(partner, TRANSACTIONS, &register).await));
    }
    told_all
}

async fn alone(settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::start_with(TestStore::postgres().await, settings).await;
    for _ in 0..LOOKS_TO_BE_ALONE {
        app.instances.beat().await.unwrap();
    }
    assert!(app.instances.is_alone());
    app
}

/// The seconds of a wait may differ by what the test itself took.
fn same_numbers(
    one: &[(u16, String, String, Option<u32>)],
    other: &[(u16, String, String, Option<u32>)],
) {
    for (one, other) in one.iter().zip(other) {
        assert_eq!((one.0, &one.1), (other.0, &other.1));
        let remaining = |text: &str| text.split(";t=").next().map(str::to_owned);
        assert_eq!(remaining(&one.2), remaining(&other.2));
        assert_eq!(one.3.is_some(), other.3.is_some());
        let (wait, other) = (one.3.unwrap_or_default(), other.3.unwrap_or_default());
        assert!(wait.abs_diff(other) <= 3, "{wait} {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_and_three_instances_give_the_same_numbers() {
    let one = alone(&FEW).await;
    let partner = one.partner().await;
    let by_one = numbers(std::slice::from_ref(&one), &partner).await;
    assert_eq!(
        one.db.count("FROM rate_limits").await,
        0,
        "counted in memory"
    );
    assert_eq!(by_one.iter().filter(|told| told.0 == 429).count(), 6);
    let three = several(3, &FEW).await;
    let partner = three[0].partner().await;
    let by_three = numbers(&three, &partner).await;
    let of_keys = "FROM rate_limits WHERE bucket <> 'wrong_key'";
    assert_eq!(three[0].db.count(of_keys).await, 3);
    same_numbers(&by_one, &by_three);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_to_three_instances_the_quota_passes_and_no_more() {
    let all = several(3, &[]).await;
    let partner = all[0].partner().await;
    let path = format!("{STATUS}?stats=none&limit=1");
    let begun = std::time::Instant::now();
    let calls = (0..240).map(|turn| all[turn % 3].get(&partner, &path));
    let answers = join_all(calls).await;
    let passed = answers.iter().filter(|answer| answer.status == 200);
    let refilled = begun.elapsed().as_millis() / 600 + 1;
    let (passed, most) = (passed.count(), 100 + usize::try_from(refilled).unwrap());
    assert!((100..=most).contains(&passed), "{passed} of {most}");
    for answer in answers {
        if answer.status != 200 {
            answer.refused(429, "RATE_1001");
        }
    }
}

/// Counts every statement on the shared rows of keys.
async fn count_statements(app: &TestApp) {
    app.db
        .execute(
            "CREATE SEQUENCE asked; \
             CREATE FUNCTION asked() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM nextval('asked'); RETURN NEW; END $$; \
             CREATE TRIGGER asked BEFORE INSERT ON rate_limits FOR EACH ROW \
             WHEN (NEW.bucket <> 'wrong_key') EXECUTE FUNCTION asked()",
        )
        .await;
}

async fn statements(app: &TestApp) -> i64 {
    let rows = app
        .db
        .rows(
            &["last_value", "CASE WHEN is_called THEN 1 ELSE 0 END"],
            "FROM asked",
        )
        .await;
    rows[0][0].as_i64().unwrap() * rows[0][1].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_does_not_reach_the_database() {
    let all = several(3, &FEW).await;
    let partner = all[0].partner().await;
    count_statements(&all[0]).await;
    for app in &all {
        app.get(&partner, STATUS).await.expect(200);
    }
    assert_eq!(statements(&all[0]).await, 3);
    let mut refused = 0;
    for turn in 0..300 {
        let answer = all[turn % 3].get(&partner, STATUS).await;
        refused += usize::from(answer.status == 429);
    }
    assert_eq!(refused, 300);
    // The instance that let the last one through knew; the two others asked once each.
    assert_eq!(statements(&all[0]).await, 5);
    // Neither does one by a key that nobody knows.
    for app in &all {
        for _ in 0..3 {
            app.send(Method::GET, STATUS, &[("x-api-key", "us_wrong")], None)
                .await
                .refused(401, "AUTH_1002");
        }
    }
    assert_eq!(statements(&all[0]).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_comes_lets_no_more_than_one_quota_more_through() {
    let first = alone(&FEW).await;
    let partner = first.partner().await;
    let mut passed = 0;
    let mut all = vec![first];
    // Some of the quota is used before another instance comes, which the first does not know yet.
    passed += usize::from(all[0].get(&partner, STATUS).await.status == 200);
    all.push(all[0].beside(&FEW).await);
    all.push(all[0].beside(&FEW).await);
    for app in &all[1..] {
        app.instances.beat().await.unwrap();
    }
    assert!(!all[1].instances.is_alone() && !all[2].instances.is_alone());
    for turn in 0..12 {
        let answer = all[turn % 3].get(&partner, STATUS).await;
        passed += usize::from(answer.status == 200);
    }
    acquaint(&all).await;
    for turn in 0..12 {
        let answer = all[turn % 3].get(&partner, STATUS).await;
        passed += usize::from(answer.status == 200);
    }
    assert!(
        (3..=6).contains(&passed),
        "{passed} of three, or twice three"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_shared_rows_each_instance_gives_its_part() {
    let all = several(3, &[("RATE_LIMIT_GET", "9")]).await;
    let partner = all[0].partner().await;
    for app in &all {
        app.get(&partner, &format!("{TRANSACTIONS}/x"))
            .await
            .refused(404, "NOT_FOUND_1001");
    }
    all[0]
        .db
        .execute("ALTER TABLE rate_limits RENAME TO away")
        .await;
    for app in &all {
        for _ in 0..3 {
            app.get(&partner, STATUS).await.expect(200);
        }
        app.get(&partner, STATUS).await.refused(429, "RATE_1001");
    }
    all[0]
        .db
        .execute("ALTER TABLE away RENAME TO rate_limits")
        .await;
    // The shared quota is whole: it was not asked. The part stays refused until a request of it would pass.
    all[0].get(&partner, STATUS).await.refused(429, "RATE_1001");
}
