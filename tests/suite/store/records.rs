//! Partners, keys, accounts, balances and the inbox: what goes in comes out.

use chrono::Duration;
use futures_util::future::join_all;
use ussd_status::domain::ledger::{Arrival, Command};
use ussd_status::domain::money::{Amount, Currency};
use ussd_status::domain::partner::Scope;
use ussd_status::domain::status_update::{
    Api, Balance, CallbackKind, News, Payer, ResultClass, StatusUpdate,
};
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds};
use ussd_status::store::StoreError;

use crate::support::TestStore;
use crate::support::build::{
    account, arrival, audit, everything, key, msisdn, partner, registration, registration_with,
    stk, update,
};

on_both_databases!(
    a_partner_and_its_keys_are_found_again,
    a_taken_digest_or_token_is_a_conflict,
    accounts_are_found_by_token_partner_and_provider,
    the_newest_balances_of_an_account_are_kept,
    a_callback_is_kept_as_it_came,
    a_kept_callback_is_read_back_whole,
    every_column_of_a_transaction_is_read_back,
    acts_leave_a_line_in_the_audit_log,
    the_database_answers,
    a_bad_command_does_not_spoil_its_neighbours,
);

async fn a_partner_and_its_keys_are_found_again(db: TestStore) {
    let mut partner = partner(db.now());
    partner.currency = Currency::tzs();
    let mut first = key(partner.id, db.now());
    first.scopes = Scope::ALL.to_vec();
    first.expires_at = Some(db.now() + Duration::days(1));
    let store = &db.store;
    store
        .insert_partner(partner.clone(), first.clone(), audit())
        .await
        .unwrap();
    assert_eq!(store.list_partners().await.unwrap(), [partner.clone()]);
    let holder = store.find_key(first.digest.clone()).await.unwrap().unwrap();
    assert_eq!(
        (holder.key, holder.partner),
        (first.clone(), partner.clone())
    );
    assert!(
        store
            .find_key("unknown".to_owned())
            .await
            .unwrap()
            .is_none()
    );

    let second = key(partner.id, db.now());
    store.insert_key(second.clone(), audit()).await.unwrap();
    let listed = store.list_keys(partner.id).await.unwrap();
    assert_eq!(listed, [first.clone(), second.clone()]);
    let stranger = db.partner().await;
    assert_eq!(store.list_keys(stranger).await.unwrap().len(), 1);

    let revoked_at = db.now();
    assert!(
        store
            .revoke_key(second.id, revoked_at, audit())
            .await
            .unwrap()
    );
    db.advance(Duration::hours(1));
    store
        .revoke_key(second.id, db.now(), audit())
        .await
        .unwrap();
    let holder = store.find_key(second.digest).await.unwrap().unwrap();
    assert_eq!(
        holder.key.revoked_at,
        Some(revoked_at),
        "the first date stands"
    );
    let unknown = ussd_status::domain::identity::KeyId::new(db.now());
    assert!(!store.revoke_key(unknown, db.now(), audit()).await.unwrap());

    for at in [Some(db.now()), None] {
        assert!(
            store
                .set_partner_suspended(partner.id, at, audit())
                .await
                .unwrap()
        );
        let holder = store.find_key(first.digest.clone()).await.unwrap().unwrap();
        assert_eq!(holder.partner.suspended, at.is_some());
    }
    let nobody = ussd_status::domain::identity::PartnerId::new(db.now());
    assert!(
        !store
            .set_partner_suspended(nobody, None, audit())
            .await
            .unwrap()
    );
}

async fn a_taken_digest_or_token_is_a_conflict(db: TestStore) {
    let owner = db.partner().await;
    let first = key(owner, db.now());
    db.store.insert_key(first.clone(), audit()).await.unwrap();
    let mut same = key(owner, db.now());
    same.digest = first.digest;
    let refused = db.store.insert_key(same, audit()).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict(_))),
        "{refused:?}"
    );

    let known = db.account(owner).await;
    let mut same = account(owner, Provider::Clickpesa, db.now());
    same.callback_token.clone_from(&known.callback_token);
    let refused = db.store.insert_account(same, audit()).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict(_))),
        "{refused:?}"
    );

    // All or nothing: a partner whose key is refused is not there.
    let taken = db.store.list_keys(owner).await.unwrap().remove(0);
    let newcomer = partner(db.now());
    let mut its_key = key(newcomer.id, db.now());
    its_key.digest = taken.digest;
    assert!(
        db.store
            .insert_partner(newcomer, its_key, audit())
            .await
            .is_err()
    );
    assert_eq!(db.store.list_partners().await.unwrap().len(), 1);
}

async fn accounts_are_found_by_token_partner_and_provider(db: TestStore) {
    let (one, two) = (db.partner().await, db.partner().await);
    let mut first = account(one, Provider::Mpesa, db.now());
    first.till_number = Some("123".to_owned());
    let second = account(two, Provider::Mpesa, db.now());
    let third = account(two, Provider::Clickpesa, db.now());
    let store = &db.store;
    for account in [&first, &second, &third] {
        store
            .insert_account(account.clone(), audit())
            .await
            .unwrap();
    }
    let by_token = async |token: &str| store.find_account_by_token(token.to_owned()).await.unwrap();
    assert_eq!(by_token(&first.callback_token).await, Some(first.clone()));
    assert_eq!(by_token("unknown").await, None);
    assert_eq!(
        store.list_accounts(None).await.unwrap(),
        [first.clone(), second.clone(), third.clone()]
    );
    assert_eq!(
        store.list_accounts(Some(two)).await.unwrap(),
        [second.clone(), third.clone()]
    );
    let of_mpesa = store
        .list_provider_accounts(Provider::Mpesa, 2)
        .await
        .unwrap();
    assert_eq!(of_mpesa, [first.clone(), second.clone()]);
    let one_only = store
        .list_provider_accounts(Provider::Mpesa, 1)
        .await
        .unwrap();
    assert_eq!(one_only.len(), 1);

    let changed = ussd_status::domain::account::Account {
        environment: "production".to_owned(),
        shortcode: None,
        sealed_credentials: vec![9],
        ..first.clone()
    };
    assert!(
        store
            .update_account(changed.clone(), audit())
            .await
            .unwrap()
    );
    assert_eq!(by_token(&first.callback_token).await, Some(changed.clone()));
    assert!(store.remove_account(first.id, audit()).await.unwrap());
    assert!(!store.remove_account(first.id, audit()).await.unwrap());
    assert!(!store.update_account(changed, audit()).await.unwrap());
    assert_eq!(by_token(&first.callback_token).await, None);
    assert!(store.list_accounts(Some(one)).await.unwrap().is_empty());
}

async fn the_newest_balances_of_an_account_are_kept(db: TestStore) {
    let owner = db.partner().await;
    let account = db.account(owner).await;
    let told = async |minor: i64, checked_at| {
        let accounts = ["Utility Account", "Working Account"]
            .map(|name| Balance {
                name: name.to_owned(),
                currency: "KES".to_owned(),
                current: Some(Amount(minor)),
                available: None,
                reserved: Some(Amount(-1)),
                uncleared: None,
            })
            .to_vec();
        let news = News::Balances {
            accounts,
            checked_at: Some(checked_at),
        };
        db.receive(Arrival {
            account: Some(account.clone()),
            ..arrival(owner, CallbackKind::BalanceResult, news, db.now())
        })
        .await
    };
    let now = db.now();
    told(100, now).await;
    told(300, now + Duration::minutes(2)).await;
    told(200, now + Duration::minutes(1)).await;
    let balances = db.store.list_balances(owner, account.id).await.unwrap();
    let names: Vec<&str> = balances.iter().map(|(one, _)| one.name.as_str()).collect();
    assert_eq!(names, ["Utility Account", "Working Account"]);
    for (balance, checked_at) in &balances {
        assert_eq!(balance.current, Some(Amount(300)));
        assert_eq!(
            (balance.available, balance.reserved),
            (None, Some(Amount(-1)))
        );
        assert_eq!(*checked_at, now + Duration::minutes(2));
    }
    let stranger = db.partner().await;
    let none = db.store.list_balances(stranger, account.id).await.unwrap();
    assert!(none.is_empty());
}

async fn a_callback_is_kept_as_it_came(db: TestStore) {
    let owner = db.partner().await;
    let account = db.account(owner).await;
    let body: Vec<u8> = (0..=255).collect();
    let told = Arrival {
        account: Some(account.clone()),
        body: body.clone(),
        ..arrival(
            owner,
            CallbackKind::Stk,
            News::Unreadable("not \"JSON\"".to_owned()),
            db.now(),
        )
    };
    let nobodys = Arrival {
        partner_id: None,
        ..arrival(
            owner,
            CallbackKind::Clickpesa,
            News::Unreadable("empty".to_owned()),
            db.now(),
        )
    };
    db.receive(told.clone()).await;
    db.receive(nobodys).await;
    let hex = if db.is_sqlite() {
        "lower(hex(body))"
    } else {
        "encode(body, 'hex')"
    };
    let received_at = db.micros("received_at");
    let rows = db
        .rows(
            &[
                "id",
                "partner_id",
                "account_id",
                "kind",
                "state",
                "note",
                "content_type",
                "source",
                hex,
                &received_at,
            ],
            "FROM callbacks ORDER BY id",
        )
        .await;
    let body_hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: [serde_json::Value; 10] = [
        told.id.to_string().into(),
        owner.to_string().into(),
        account.id.to_string().into(),
        "stk".into(),
        "unreadable".into(),
        "not \"JSON\"".into(),
        "application/json".into(),
        "196.201.214.200".into(),
        body_hex.into(),
        db.now().timestamp_micros().into(),
    ];
    assert_eq!(rows[0], expected);
    assert!(rows[1][1].is_null() && rows[1][2].is_null());
}

async fn a_kept_callback_is_read_back_whole(db: TestStore) {
    let owner = db.partner().await;
    let mut early = update("c", ResultClass::Success);
    early.correlation.merchant_request_id = Some("m".to_owned());
    early.paid = Some(Amount(99_99));
    early.payer = Some(Payer::Key("2547 ***** 126".to_owned()));
    early.provider_status = Some("Completed".to_owned());
    early.result_description = Some("Imefanikiwa – \"sawa\"\u{1f4b0}".to_owned());
    db.receive(arrival(
        owner,
        CallbackKind::Stk,
        News::Payment(Box::new(early.clone())),
        db.now(),
    ))
    .await;
    db.advance(Duration::days(2));
    let row = db.register(registration_with(owner, "a", "c")).await;
    assert_eq!(row.result_description, early.result_description);
    assert_eq!(row.paid, Some(Amount(99_99)));
    assert_eq!(row.payer_key.as_deref(), Some("2547 ***** 126"));
    assert_eq!(row.merchant_request_id.as_deref(), Some("m"));
    assert_eq!(row.provider_status.as_deref(), Some("Completed"));
    assert_eq!(row, db.find(&row).await.0);
}

async fn every_column_of_a_transaction_is_read_back(db: TestStore) {
    let owner = db.partner().await;
    let text = |text: &str| Some(text.to_owned());
    let original = db
        .register(registration_with(owner, "original", "orig"))
        .await;
    db.receive(stk(owner, "orig", ResultClass::Success, db.now()))
        .await;
    let mut full = registration(owner, "it's \"quoted\" \\ and 123");
    full.kind = Kind::Reversal;
    full.origin = "menu – 1*2#".to_owned();
    full.ids = ProviderIds {
        conversation_id: text("123"),
        originator_conversation_id: text("00123"),
        order_reference: text("1e5"),
    };
    full.amount = Amount(99_999_999_999_999);
    full.account_reference = text("null");
    full.tenant_id = text("true");
    full.customer_id = text("0.10");
    full.original_id = Some(original.id);
    let row = db.register(full.clone()).await;
    assert_eq!(row, db.find(&row).await.0);
    assert_eq!(row.msisdn, Some(msisdn(12_345_678)));
    assert_eq!(db.list(owner, everything()).await.transactions[0], row);
    let again = db.try_register(full).await;
    assert!(matches!(
        again,
        ussd_status::domain::ledger::Outcome::Registered { created: false, .. }
    ));

    let account = db.account(owner).await;
    let mut paid = StatusUpdate::new(Api::C2b, ResultClass::Success, Default::default());
    paid.correlation.receipt = text("TX1");
    paid.receipt = text("TX1");
    paid.unregistered = Some(ussd_status::domain::status_update::Unregistered {
        kind: Kind::C2b,
        amount: Amount(5),
        currency: Currency::kes(),
        shortcode: text("600966"),
    });
    db.receive(Arrival {
        account: Some(account.clone()),
        ..arrival(
            owner,
            CallbackKind::C2bConfirmation,
            News::Payment(Box::new(paid)),
            db.now(),
        )
    })
    .await;
    let c2b = db.list(owner, everything()).await.transactions.remove(0);
    assert_eq!((c2b.kind, c2b.account_id), (Kind::C2b, Some(account.id)));
    assert_eq!((c2b.client_request_id, c2b.msisdn), (None, None));
}

async fn acts_leave_a_line_in_the_audit_log(db: TestStore) {
    let owner = db.partner().await;
    let account = db.account(owner).await;
    let endpoint = db.endpoint(owner, &[]).await;
    db.store
        .remove_endpoint(endpoint, db.now(), audit())
        .await
        .unwrap();
    db.store
        .remove_endpoint(endpoint, db.now(), audit())
        .await
        .unwrap();
    db.store.remove_account(account.id, audit()).await.unwrap();
    let lines = db
        .rows(&["actor", "action", "subject"], "FROM audit_log")
        .await;
    assert_eq!(lines, vec![["test", "test", "test"]; 5]);
    let whose = format!("FROM audit_log WHERE partner_id = '{owner}'");
    assert_eq!(db.count(&whose).await, 2, "what is removed is somebody's");
}

async fn the_database_answers(db: TestStore) {
    db.store.ping().await.unwrap();
    assert_eq!(
        db.store.list_pending_migrations().await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(db.store.count_backlog().await.unwrap(), Default::default());
}

/// A partner that is not there has no feed: its command fails alone.
async fn a_bad_command_does_not_spoil_its_neighbours(db: TestStore) {
    let owner = db.partner().await;
    let nobody = ussd_status::domain::identity::PartnerId::new(db.now());
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let outcomes = join_all(names.iter().enumerate().map(|(number, name)| {
        let whose = if number == 7 { nobody } else { owner };
        db.store
            .record(Command::Register(Box::new(registration(whose, name))))
    }))
    .await;
    let failed: Vec<usize> = (0..20)
        .filter(|number| outcomes[*number].is_err())
        .collect();
    assert_eq!(failed, [7]);
    assert_eq!(db.count("FROM transactions").await, 19);
    assert_eq!(db.list(owner, everything()).await.total, 19);
}
