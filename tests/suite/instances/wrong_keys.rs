//! Wrong keys from one address are counted over all instances, and a flood of them does not reach the database.

use reqwest::Method;
use ussd_status::http::FAILED_KEYS_PER_MINUTE;
use ussd_status::instances::LOOKS_TO_BE_ALONE;
use ussd_status::store::Retention;

use super::several;
use crate::api::STATUS;
use crate::support::TestStore;
use crate::support::app::{Answer, TestApp};

const PROXY: [(&str, &str); 1] = [("TRUSTED_PROXIES", "127.0.0.1")];
const ROWS: &str = "FROM rate_limits WHERE bucket = 'wrong_key'";

async fn get(app: &TestApp, key: &str, source: &str) -> Answer {
    let headers = [("x-api-key", key), ("x-forwarded-for", source)];
    app.send(Method::GET, STATUS, &headers, None).await
}

/// Guesses at one instance after the other until one refuses to look; how many were looked at.
async fn guess(all: &[TestApp], source: &str) -> u32 {
    let mut looked_at = 0;
    loop {
        let app = &all[looked_at as usize % all.len()];
        let answer = get(app, &format!("us_wrong{looked_at}"), source).await;
        if answer.status == 429 {
            answer.refused(429, "RATE_1001");
            return looked_at;
        }
        answer.refused(401, "AUTH_1002");
        looked_at += 1;
        assert!(looked_at < 3 * FAILED_KEYS_PER_MINUTE);
    }
}

/// From now on the address is refused by every instance that asks, for an hour: nothing comes back while a test runs.
async fn use_up(app: &TestApp) {
    app.db
        .execute(
            "UPDATE rate_limits SET full_at = now() + interval '1 hour' WHERE bucket = 'wrong_key'",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_wrong_keys_from_an_address_over_all_instances_and_no_more() {
    let all = several(2, &PROXY).await;
    let begun = std::time::Instant::now();
    let looked_at = guess(&all, "192.0.2.1").await;
    let refilled = u32::try_from(begun.elapsed().as_secs() / 3).unwrap() + 1;
    let most = FAILED_KEYS_PER_MINUTE + refilled;
    assert!(
        (FAILED_KEYS_PER_MINUTE..=most).contains(&looked_at),
        "{looked_at} of {most}"
    );
    // Another address has its own; of IPv6 a whole network is one.
    get(&all[0], "us_wrong", "192.0.2.2")
        .await
        .refused(401, "AUTH_1002");
    for app in &all {
        get(app, "us_wrong", "2001:db8::1")
            .await
            .refused(401, "AUTH_1002");
        get(app, "us_wrong", "2001:db8::2")
            .await
            .refused(401, "AUTH_1002");
    }
    assert_eq!(all[0].db.count(ROWS).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_key_takes_no_place_and_an_unseen_one_waits_like_a_wrong_one() {
    let all = several(2, &PROXY).await;
    let (accepted, unseen) = (all[0].partner().await, all[0].partner().await);
    for app in &all {
        get(app, &accepted.key, "192.0.2.1").await.expect(200);
    }
    let is_whole = format!("{ROWS} AND full_at <= now()");
    assert_eq!(all[0].db.count(&is_whole).await, 1, "both gave theirs back");
    use_up(&all[0]).await;
    for app in &all {
        get(app, "us_wrong", "192.0.2.1")
            .await
            .refused(429, "RATE_1001");
        get(app, &accepted.key, "192.0.2.1").await.expect(200);
        let waiting = get(app, &unseen.key, "192.0.2.1").await;
        waiting.refused(429, "RATE_1001");
        let wait: u32 = waiting.header("retry-after").parse().unwrap();
        assert!((3_000..=3_600).contains(&wait), "{wait}");
        get(app, &unseen.key, "192.0.2.2").await.expect(200);
        get(app, &unseen.key, "192.0.2.1").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_keys_does_not_reach_the_database() {
    let all = several(2, &PROXY).await;
    get(&all[0], "us_wrong", "192.0.2.1")
        .await
        .refused(401, "AUTH_1002");
    use_up(&all[0]).await;
    for app in &all {
        get(app, "us_wrong", "192.0.2.1")
            .await
            .refused(429, "RATE_1001");
    }
    // Whoever asks from here on would find nothing: no count, and no key.
    for table in ["rate_limits", "api_keys"] {
        let sql = format!("ALTER TABLE {table} RENAME TO {table}_away");
        all[0].db.execute(&sql).await;
    }
    for guess in 0..300 {
        let (app, key) = (&all[guess % 2], format!("us_wrong{guess}"));
        get(app, &key, "192.0.2.1").await.refused(429, "RATE_1001");
    }
    for table in ["rate_limits", "api_keys"] {
        let sql = format!("ALTER TABLE {table}_away RENAME TO {table}");
        all[0].db.execute(&sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_shared_rows_each_instance_counts_for_itself() {
    let all = several(2, &PROXY).await;
    all[0]
        .db
        .execute("ALTER TABLE rate_limits RENAME TO away")
        .await;
    for app in &all {
        let looked_at = guess(std::slice::from_ref(app), "192.0.2.1").await;
        assert!(looked_at >= FAILED_KEYS_PER_MINUTE, "{looked_at}");
    }
    all[0]
        .db
        .execute("ALTER TABLE away RENAME TO rate_limits")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_alone_counts_in_memory() {
    let app = TestApp::start_with(TestStore::postgres().await, &PROXY).await;
    for _ in 0..LOOKS_TO_BE_ALONE {
        app.instances.beat().await.unwrap();
    }
    let looked_at = guess(std::slice::from_ref(&app), "192.0.2.1").await;
    assert!(looked_at >= FAILED_KEYS_PER_MINUTE, "{looked_at}");
    assert_eq!(app.db.count(ROWS).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_been_silent_for_an_hour_leaves_no_row() {
    let all = several(2, &PROXY).await;
    for source in ["192.0.2.1", "192.0.2.2"] {
        get(&all[0], "us_wrong", source)
            .await
            .refused(401, "AUTH_1002");
    }
    let one = format!("{ROWS} ORDER BY key_id LIMIT 1");
    let old = format!(
        "UPDATE rate_limits SET full_at = now() - interval '2 hours' WHERE key_id = (SELECT key_id {one})"
    );
    all[0].db.execute(&old).await;
    let long_ago = all[0].db.now() - chrono::Duration::days(9_999);
    let retention = Retention {
        callbacks_before: long_ago,
        deliveries_before: long_ago,
        events_before: long_ago,
        hours_before: long_ago,
        minutes_before: long_ago,
    };
    assert_eq!(all[0].db.store.remove_expired(retention).await.unwrap(), 1);
    assert_eq!(all[0].db.count(ROWS).await, 1);
}
