//! What the console asks of the store: operators and sessions, figures, and a transaction's inbox and outbox.

use chrono::Duration;
use ussd_status::domain::identity::{OperatorId, TransactionId};
use ussd_status::domain::money::Amount;
use ussd_status::domain::operator::{
    Operator, SESSION_ABSOLUTE, SESSION_IDLE, Session, SessionOwner,
};
use ussd_status::domain::overview::{Group, SAMPLE, Span};
use ussd_status::domain::status::Status;
use ussd_status::domain::status_update::ResultClass;
use ussd_status::domain::transaction::{Kind, Provider};
use ussd_status::store::SessionHolder;

use crate::support::TestStore;
use crate::support::build::{audit, registration, registration_with, stk};

on_both_databases!(
    an_operators_name_is_taken_once,
    a_session_is_found_with_its_holder_and_goes_with_it,
    sessions_that_are_over_are_removed_and_no_others,
    figures_count_each_step_of_the_span,
    figures_tell_providers_and_reasons_apart,
    what_is_open_is_counted_by_age,
    a_transactions_callbacks_and_deliveries_are_its_own,
);

fn operator(db: &TestStore, name: &str) -> Operator {
    Operator {
        id: OperatorId::new(db.now()),
        name: name.to_owned(),
        password_hash: "$argon2id$".to_owned(),
        created_at: db.now(),
    }
}

async fn an_operators_name_is_taken_once(db: TestStore) {
    let first = operator(&db, "asha");
    let insert = |operator: Operator| db.store.insert_operator(operator, audit());
    assert!(insert(first.clone()).await.unwrap());
    assert!(!insert(operator(&db, "asha")).await.unwrap());
    assert!(insert(operator(&db, "juma")).await.unwrap());
    let find = |name: &str| db.store.find_operator(name.to_owned());
    assert_eq!(find("asha").await.unwrap(), Some(first));
    assert_eq!(find("Asha").await.unwrap(), None);
    let names = db.store.list_operators().await.unwrap();
    let names: Vec<&str> = names.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["asha", "juma"]);
    // Who did what not is not in the log.
    assert_eq!(db.count("FROM audit_log").await, 2);
    let remove = |name: &str| db.store.remove_operator(name.to_owned(), db.now(), audit());
    assert!(remove("asha").await.unwrap());
    assert!(!remove("asha").await.unwrap());
}

fn session(db: &TestStore, digest: &str, owner: SessionOwner) -> Session {
    Session {
        digest: digest.to_owned(),
        owner,
        partner_id: None,
        source: Some("192.0.2.1".to_owned()),
        created_at: db.now(),
        seen_at: db.now(),
    }
}

async fn a_session_is_found_with_its_holder_and_goes_with_it(db: TestStore) {
    let partner = db.partner().await;
    let key = db.store.list_keys(partner).await.unwrap().remove(0);
    let asha = operator(&db, "asha");
    db.store
        .insert_operator(asha.clone(), audit())
        .await
        .unwrap();
    let of_operator = session(&db, "a", SessionOwner::Operator(asha.id));
    let of_key = session(&db, "b", SessionOwner::Key(key.id));
    for session in [&of_operator, &of_key] {
        let kept = db.store.insert_session(session.clone(), audit());
        kept.await.unwrap();
    }
    let find = |digest: &str| db.store.find_session(digest.to_owned());
    let (found, holder) = find("a").await.unwrap().unwrap();
    assert_eq!(found, of_operator);
    assert_eq!(holder, SessionHolder::Operator(asha));
    let (found, holder) = find("b").await.unwrap().unwrap();
    assert_eq!(found, of_key);
    assert!(matches!(holder, SessionHolder::Key(holder) if holder.partner.id == partner));
    assert_eq!(find("c").await.unwrap(), None);

    let later = db.now() + Duration::minutes(5);
    db.store.touch_session("a".to_owned(), later).await.unwrap();
    let chosen = db.store.set_session_partner("a".to_owned(), Some(partner));
    chosen.await.unwrap();
    let (found, _) = find("a").await.unwrap().unwrap();
    assert_eq!((found.seen_at, found.partner_id), (later, Some(partner)));
    let removed = db.store.remove_operator("asha".to_owned(), later, audit());
    assert!(removed.await.unwrap());
    assert_eq!(find("a").await.unwrap(), None);
    let removed = db.store.remove_session("b".to_owned(), later, audit());
    removed.await.unwrap();
    assert_eq!(find("b").await.unwrap(), None);
}

async fn sessions_that_are_over_are_removed_and_no_others(db: TestStore) {
    let asha = operator(&db, "asha");
    db.store
        .insert_operator(asha.clone(), audit())
        .await
        .unwrap();
    let now = db.now();
    for (digest, begun, seen) in [
        ("idle", SESSION_IDLE, SESSION_IDLE),
        ("old", SESSION_ABSOLUTE, Duration::zero()),
        ("busy", SESSION_ABSOLUTE / 2, Duration::zero()),
        ("quiet", SESSION_IDLE, SESSION_IDLE - Duration::seconds(1)),
    ] {
        let session = Session {
            created_at: now - begun,
            seen_at: now - seen,
            ..session(&db, digest, SessionOwner::Operator(asha.id))
        };
        db.store.insert_session(session, audit()).await.unwrap();
    }
    assert_eq!(db.store.remove_ended_sessions(now).await.unwrap(), 2);
    assert_eq!(db.store.remove_ended_sessions(now).await.unwrap(), 0);
    for digest in ["busy", "quiet"] {
        let found = db.store.find_session(digest.to_owned()).await.unwrap();
        assert!(found.is_some(), "{digest}");
    }
}

async fn figures_count_each_step_of_the_span(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    for (index, hours) in [0_i64, 0, 1, 30].into_iter().enumerate() {
        db.clock.advance(Duration::hours(hours));
        let id = format!("C{index}");
        db.register(registration_with(partner, &id, &id)).await;
        db.register(registration_with(other, &id, &id)).await;
        let class = if index == 1 {
            ResultClass::Failed
        } else {
            ResultClass::Success
        };
        db.receive(stk(partner, &id, class, db.now())).await;
    }
    let reversal = db.register({
        let mut reversal = registration(partner, "back");
        reversal.kind = Kind::Reversal;
        reversal
    });
    reversal.await;
    let read = |partner, span| db.store.read_figures(partner, span, db.now());
    let day = read(Some(partner), Span::Day).await.unwrap();
    assert_eq!(day.steps.len(), 24);
    let last = day.steps.last().unwrap();
    assert_eq!((last.success, last.failed, last.pending), (1, 0, 0));
    assert!(last.ends_at > db.now() && last.ends_at - db.now() <= Duration::hours(1));
    assert_eq!(day.steps.iter().map(|step| step.total()).sum::<i64>(), 1);
    let week = read(Some(partner), Span::Week).await.unwrap();
    assert_eq!(week.steps.len(), 7);
    let sums = week.statistics.by_currency.values().next().unwrap();
    assert_eq!((sums.total, sums.successful, sums.failed), (4, 3, 1));
    assert_eq!(sums.successful_amount, Amount(3 * 120_000));
    let all: i64 = week.steps.iter().map(|step| step.success).sum();
    assert_eq!(all, 3);
    let month = read(None, Span::Month).await.unwrap();
    assert_eq!(month.steps.len(), 30);
    let counts = month.statistics.counts();
    assert_eq!((counts.total, counts.pending), (8, 4));
}

async fn figures_tell_providers_and_reasons_apart(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    for index in 0..5 {
        let id = format!("C{index}");
        db.register(registration_with(partner, &id, &id)).await;
        let class = if index < 2 {
            ResultClass::Failed
        } else {
            ResultClass::Success
        };
        db.receive(stk(partner, &id, class, db.now())).await;
    }
    db.register({
        let mut clickpesa = registration(other, "T1");
        (clickpesa.provider, clickpesa.kind) = (Provider::Clickpesa, Kind::UssdPush);
        clickpesa
    })
    .await;
    let read = async |partner| {
        let figures = db.store.read_figures(partner, Span::Day, db.now());
        let figures = figures.await.unwrap();
        assert!(!figures.is_sample);
        let groups = figures.groups.into_iter();
        groups
            .map(
                |Group {
                     provider,
                     status,
                     result_code,
                     count,
                     ..
                 }| { (provider, status, result_code, count) },
            )
            .collect::<Vec<_>>()
    };
    let failed = (Provider::Mpesa, Status::Failed, Some("1032".to_owned()), 2);
    let paid = (Provider::Mpesa, Status::Success, Some("0".to_owned()), 3);
    let open = (Provider::Clickpesa, Status::Queued, None, 1);
    assert_eq!(read(Some(partner)).await, [paid.clone(), failed.clone()]);
    assert_eq!(read(Some(other)).await, std::slice::from_ref(&open));
    assert_eq!(read(None).await, [paid, failed, open]);
    // As if there were more of them than are looked at: of each partner its share of the newest.
    let more = format!("UPDATE counters SET n = n * {SAMPLE} WHERE period = 'hour'");
    db.execute(&more).await;
    let figures = db.store.read_figures(None, Span::Day, db.now());
    let figures = figures.await.unwrap();
    assert!(figures.is_sample);
    assert_eq!(
        figures.groups.iter().map(|group| group.count).sum::<i64>(),
        6
    );
}

async fn what_is_open_is_counted_by_age(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    db.endpoint(partner, &[]).await;
    let start = db.now();
    for (index, minutes) in [0_i64, 1_440, 60, 40, 4, 1].into_iter().enumerate() {
        db.clock.advance(Duration::minutes(minutes));
        let id = format!("C{index}");
        db.register(registration_with(partner, &id, &id)).await;
    }
    db.register(registration(other, "theirs")).await;
    let waiting = db
        .store
        .read_waiting(Some(partner), db.now())
        .await
        .unwrap();
    assert_eq!(waiting.by_age, [1, 2, 1, 1, 1]);
    assert_eq!((waiting.stuck, waiting.dead, waiting.deliveries), (0, 0, 6));
    assert_eq!(waiting.oldest_due_at, Some(start));
    assert!(waiting.newest_callbacks.is_empty());
    db.receive(stk(partner, "C0", ResultClass::Success, db.now()))
        .await;
    for whose in [Some(partner), None] {
        let waiting = db.store.read_waiting(whose, db.now()).await.unwrap();
        assert_eq!(waiting.newest_callbacks, [(Provider::Mpesa, db.now())]);
        assert_eq!(waiting.by_age[4], 0);
    }
    let everybody = db.store.read_waiting(None, db.now()).await.unwrap();
    assert_eq!(everybody.by_age[0], 2);
    let theirs = db.store.read_waiting(Some(other), db.now()).await.unwrap();
    assert!(theirs.newest_callbacks.is_empty() && theirs.deliveries == 0);
}

async fn a_transactions_callbacks_and_deliveries_are_its_own(db: TestStore) {
    let (partner, other) = (db.partner().await, db.partner().await);
    let endpoint = db.endpoint(partner, &[]).await;
    let row = db.register(registration_with(partner, "a", "a")).await;
    let neighbour = db.register(registration_with(partner, "b", "b")).await;
    for id in ["a", "a", "b"] {
        db.receive(stk(partner, id, ResultClass::Success, db.now()))
            .await;
    }
    let callbacks = async |partner, id| {
        let listed = db.store.list_callbacks_of(partner, id, 10).await.unwrap();
        listed.into_iter().map(|one| one.state).collect::<Vec<_>>()
    };
    assert_eq!(callbacks(partner, row.id).await, ["duplicate", "applied"]);
    assert_eq!(callbacks(partner, neighbour.id).await, ["applied"]);
    assert!(callbacks(other, row.id).await.is_empty());
    let one = db
        .store
        .list_callbacks_of(partner, row.id, 1)
        .await
        .unwrap();
    assert_eq!((one.len(), one[0].body.is_empty()), (1, false));
    let deliveries = async |partner, id: TransactionId| {
        let listed = db.store.list_deliveries_of(partner, id).await.unwrap();
        listed
            .into_iter()
            .map(|(record, url)| (record.event_type.unwrap(), url))
            .collect::<Vec<_>>()
    };
    let url = "https://partner.example/hook".to_owned();
    let told = [
        ("transaction.registered".to_owned(), url.clone()),
        ("transaction.success".to_owned(), url),
    ];
    assert_eq!(deliveries(partner, row.id).await, told);
    assert!(deliveries(other, row.id).await.is_empty());
    let removed = db.store.remove_endpoint(endpoint, db.now(), audit());
    removed.await.unwrap();
    assert!(deliveries(partner, row.id).await.is_empty());
}
