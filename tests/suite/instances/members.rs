//! Who lives, who is the eldest, who is alone.

use std::sync::Arc;

use ussd_status::domain::clock::{Clock, CorrectedClock, ManualClock};
use ussd_status::instances::{LOOKS_TO_BE_ALONE, set_time};
use ussd_status::vault::new_master_key;

use super::several;
use crate::support::TestStore;
use crate::support::app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_eldest_does_what_is_done_once_and_each_has_its_part() {
    let all = several(3, &[]).await;
    let eldest = all.iter().map(|app| app.instances.is_eldest());
    assert_eq!(eldest.collect::<Vec<_>>(), [true, false, false]);
    for (total, most) in [(8, 3), (1, 1), (3, 1)] {
        let parts = all
            .iter()
            .map(|app| app.instances.part().share_of(total, 7));
        let parts: Vec<usize> = parts.collect();
        assert_eq!(parts.iter().sum::<usize>(), total, "{parts:?}");
        assert!(parts.iter().all(|part| *part <= most), "{parts:?}");
    }
    assert!(all.iter().all(|app| !app.instances.is_alone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_is_replaced_at_once_and_one_that_dies_when_its_time_is_over() {
    let mut all = several(3, &[]).await;
    let first = all.remove(0);
    first.end().await;
    all[0].instances.beat().await.unwrap();
    assert!(all[0].instances.is_eldest());
    assert_eq!(all[0].instances.count(), 2);
    // The other one is killed: it says nothing any more.
    let second = all.remove(0);
    second.end().await;
    let db = &second.db;
    db.execute(
        "INSERT INTO instances VALUES ('00000000-0000-7000-8000-000000000000', now() - interval '9 s')",
    )
    .await;
    let third = &all[0];
    third.instances.beat().await.unwrap();
    assert!(!third.instances.is_eldest());
    db.execute("UPDATE instances SET seen_at = now() - interval '11 s' WHERE id = '00000000-0000-7000-8000-000000000000'")
        .await;
    third.instances.beat().await.unwrap();
    assert!(third.instances.is_eldest());
    assert_eq!(db.count("FROM instances").await, 1, "it is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_alone_who_has_not_looked_for_long_enough() {
    let app = TestApp::start(TestStore::postgres().await).await;
    for _ in 1..LOOKS_TO_BE_ALONE {
        app.instances.beat().await.unwrap();
    }
    let other = app.beside(&[]).await;
    other.instances.beat().await.unwrap();
    app.instances.beat().await.unwrap();
    assert!(!app.instances.is_alone(), "somebody was seen");
    other.end().await;
    app.instances.beat().await.unwrap();
    assert!(!app.instances.is_alone(), "one look is not enough");
    for _ in 1..LOOKS_TO_BE_ALONE {
        app.instances.beat().await.unwrap();
    }
    assert!(app.instances.is_alone());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_database_one_is_always_alone() {
    let app = TestApp::start(TestStore::sqlite().await).await;
    assert!(app.instances.is_alone() && app.instances.is_eldest());
    app.instances.beat().await.unwrap();
    assert_eq!(app.instances.count(), 1);
}

/// Old rows are removed by the eldest only: here by one that is not there, and then by the next.
#[tokio::test(flavor = "multi_thread")]
async fn housekeeping_is_done_by_one() {
    let db = TestStore::postgres().await;
    db.execute(
        "CREATE TABLE sweeps (n BIGINT); \
         CREATE FUNCTION swept() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO sweeps VALUES (1); RETURN NULL; END $$; \
         CREATE TRIGGER swept AFTER DELETE ON counters FOR EACH STATEMENT EXECUTE FUNCTION swept(); \
         INSERT INTO instances VALUES ('00000000-0000-7000-8000-000000000000', now() + interval '1 h')",
    )
    .await;
    let first = TestApp::start(db).await;
    let db = first.db.clone();
    for app in [first.beside(&[]).await, first.beside(&[]).await, first] {
        app.instances.known().await;
        assert!(!app.instances.is_eldest());
        // Whatever it does at once it has done when it has ended.
        app.end().await;
    }
    assert_eq!(db.count("FROM sweeps").await, 0);
    db.execute("DELETE FROM instances").await;
    let last = TestApp::start_under(&new_master_key().unwrap(), db.clone(), &[]).await;
    let mut looks = 0;
    while db.count("FROM sweeps").await == 0 {
        looks += 1;
        assert!(looks < 2_000, "nobody keeps house");
    }
    last.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_go_by_the_clock_of_the_database_they_share() {
    let long_ago = || Arc::new(ManualClock::at("2020-02-29T12:00:00Z".parse().unwrap()));
    let db = TestStore::postgres().await;
    let clocks = [
        CorrectedClock::new(long_ago()),
        CorrectedClock::new(long_ago()),
    ];
    for clock in &clocks {
        set_time(db.store.as_ref(), clock).await.unwrap();
    }
    let theirs = db.store.read_clock().await.unwrap();
    for clock in &clocks {
        let apart = (clock.now() - theirs).abs();
        assert!(apart < chrono::Duration::seconds(5), "{apart}");
    }
    // Whoever shares a file shares the machine.
    let db = TestStore::sqlite().await;
    let clock = CorrectedClock::new(long_ago());
    set_time(db.store.as_ref(), &clock).await.unwrap();
    assert_eq!(clock.now(), clock.own());
}
