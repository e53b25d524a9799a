//! Callbacks that come before the ids they name.

use super::*;

#[test]
fn an_early_callback_is_applied_by_the_register_that_brings_its_id() {
    for in_one_batch in [false, true] {
        let mut book = Book::new();
        let early = book.arrival(CallbackKind::Stk, success("a"));
        let id = early.id;
        let commands = [
            callback(early),
            register(with_conversation(payment(book.partner, "a"), "a")),
        ];
        if in_one_batch {
            book.run(commands);
        } else {
            for command in commands {
                book.one(command);
            }
        }
        assert_eq!(book.only().status, Status::Success);
        assert_eq!(book.callbacks[&id], CallbackState::Applied);
        assert!(book.waiting.is_empty());
        assert_eq!(book.sequences(), [1, 2]);
    }
}

#[test]
fn an_early_callback_is_applied_by_the_attachment_that_brings_its_id() {
    for (in_one_batch, callback_first) in
        [(false, true), (false, false), (true, true), (true, false)]
    {
        let mut book = Book::new();
        let id = book.register(payment(book.partner, "a"));
        let mut commands = vec![
            callback(book.arrival(CallbackKind::Stk, success("a"))),
            attach(book.partner, id, conversation("a")),
        ];
        if !callback_first {
            commands.reverse();
        }
        if in_one_batch {
            book.run(commands);
        } else {
            for command in commands {
                book.one(command);
            }
        }
        assert_eq!(book.get(id).status, Status::Success);
        assert_eq!(
            book.events(id),
            [
                "transaction.registered",
                "transaction.accepted",
                "transaction.success"
            ]
        );
        assert!(book.waiting.is_empty());
    }
}

#[test]
fn the_answer_to_a_register_tells_what_the_kept_callback_did() {
    let mut book = Book::new();
    book.tell(success("a"));
    let outcome = book.one(register(with_conversation(payment(book.partner, "a"), "a")));
    assert!(
        matches!(outcome, Outcome::Registered { transaction, created: true } if transaction.status == Status::Success)
    );
}

#[test]
fn kept_callbacks_are_applied_oldest_first() {
    let mut book = Book::new();
    book.tell(failure("a", ResultClass::Unconfirmed, "1037"));
    book.tell(success("a"));
    let id = book.accepted("a");
    assert_eq!(
        book.timeline(id),
        [
            TimelineKind::Registered,
            TimelineKind::StatusChanged,
            TimelineKind::LateSuccess
        ]
    );
}

#[test]
fn a_kept_callback_may_bring_the_id_that_another_waits_for() {
    let mut book = Book::new();
    book.tell(success("conversation"));
    let mut both = failure("conversation", ResultClass::Pending, "p");
    both.correlation.originator_conversation_id = Some("originator".to_owned());
    book.tell(both);
    assert_eq!(book.waiting.len(), 2);
    book.register(Registration {
        ids: ProviderIds {
            originator_conversation_id: Some("originator".to_owned()),
            ..ProviderIds::default()
        },
        ..payment(book.partner, "a")
    });
    assert_eq!(book.only().status, Status::Success);
    assert!(book.waiting.is_empty());
}

#[test]
fn an_early_timeout_asks_as_soon_as_its_id_is_known() {
    let mut book = Book::new();
    let early = arrival(
        book.partner,
        CallbackKind::B2cTimeout,
        News::Timeout(by_conversation("a")),
        book.now,
    );
    assert_eq!(book.receive(early), CallbackState::Waiting);
    let id = book.accepted("a");
    assert_eq!(book.get(id).status, Status::Accepted);
    assert_eq!(book.ask_at[&id], Some(book.now));
}

#[test]
fn a_register_adopts_a_payment_its_provider_told_of_first() {
    let mut book = Book::new();
    let told = clickpesa("ORD1", "pay1", ResultClass::Success, "SUCCESS");
    let first = book.arrival(CallbackKind::Clickpesa, told);
    assert_eq!(book.receive(first), CallbackState::Applied);
    let id = book.only().id;
    assert_eq!(book.only().status, Status::Success);
    assert_eq!(book.only().client_request_id, None);
    let registration = Registration {
        provider: Provider::Clickpesa,
        kind: Kind::UssdPush,
        currency: Currency::tzs(),
        amount: Amount(500_000),
        ids: order("ORD1"),
        ..payment(book.partner, "a")
    };
    assert_eq!(book.register(registration.clone()), id);
    let row = book.only();
    assert_eq!(row.status, Status::Success);
    assert_eq!(row.client_request_id.as_deref(), Some("a"));
    assert_eq!(row.ids.conversation_id.as_deref(), Some("pay1"));
    assert_eq!(book.sequences(), [1, 2], "adopting is no event");
    assert!(matches!(
        book.one(register(registration)),
        Outcome::Registered { created: false, .. }
    ));
}

#[test]
fn news_of_an_unknown_payment_waits_while_a_registered_one_has_no_ids_yet() {
    let mut book = Book::new();
    let id = book.register(Registration {
        provider: Provider::Clickpesa,
        kind: Kind::UssdPush,
        currency: Currency::tzs(),
        ..payment(book.partner, "a")
    });
    let told = clickpesa("ORD1", "pay1", ResultClass::Success, "SUCCESS");
    let early = book.arrival(CallbackKind::Clickpesa, told);
    assert_eq!(book.receive(early), CallbackState::Waiting);
    book.one(attach(book.partner, id, order("ORD1")));
    assert_eq!(book.only().status, Status::Success);
    assert_eq!(
        book.events(id),
        [
            "transaction.registered",
            "transaction.accepted",
            "transaction.success"
        ]
    );
}

#[test]
fn a_payment_nobody_claims_makes_its_transaction_once() {
    let mut book = Book::new();
    book.register(Registration {
        provider: Provider::Clickpesa,
        kind: Kind::UssdPush,
        currency: Currency::tzs(),
        ..payment(book.partner, "another")
    });
    let told = clickpesa("ORD1", "pay1", ResultClass::Success, "SUCCESS");
    let early = book.arrival(CallbackKind::Clickpesa, told);
    let callback_id = early.id;
    book.receive(early);
    let unclaimed = Command::Unclaimed(Box::new(Unclaimed {
        kept: book.waiting[0].clone(),
        account_id: None,
    }));
    let outcomes = book.run([unclaimed.clone(), unclaimed]);
    assert_eq!(outcomes[0], Outcome::Recorded(CallbackState::Applied));
    assert_eq!(outcomes[1], Outcome::Recorded(CallbackState::Duplicate));
    assert_eq!(book.callbacks[&callback_id], CallbackState::Applied);
    assert_eq!(book.transactions.len(), 2);
    assert!(book.waiting.is_empty());
}

#[test]
fn an_id_attached_too_late_names_the_transaction_that_its_provider_made() {
    let mut book = Book::new();
    let success = clickpesa("o", "p", ResultClass::Success, "SUCCESS");
    let news = book.arrival(CallbackKind::Clickpesa, success);
    assert_eq!(book.receive(news), CallbackState::Applied);
    let told = book.only().id;
    let late = book.register(Registration {
        provider: Provider::Clickpesa,
        ..payment(book.partner, "late")
    });
    let lines = book.lines.len();
    let outcome = book.one(attach(book.partner, late, order("o")));
    let refusal = Refusal::ToldBefore {
        field: IdField::OrderReference,
        transaction_id: told,
    };
    assert_eq!(outcome, Outcome::Refused(refusal));
    assert_eq!(book.get(told).status, Status::Success, "no event is lost");
    assert_eq!(book.get(late).status, Status::Queued);
    assert_eq!(book.lines.len(), lines);
}

#[test]
fn an_adoption_with_another_amount_is_a_mismatch() {
    let mut book = Book::new();
    let mut told = clickpesa("ORD1", "pay1", ResultClass::Success, "SUCCESS");
    told.paid = Some(Amount(500_000));
    let first = book.arrival(CallbackKind::Clickpesa, told);
    book.receive(first);
    let id = book.register(Registration {
        provider: Provider::Clickpesa,
        kind: Kind::UssdPush,
        currency: Currency::tzs(),
        amount: Amount(600_000),
        ids: order("ORD1"),
        ..payment(book.partner, "a")
    });
    assert_eq!(
        book.timeline(id).last(),
        Some(&TimelineKind::AmountMismatch)
    );
    assert_eq!(book.mismatches, 1);
}

#[test]
fn a_second_attempt_of_an_order_has_another_payment_id() {
    let mut book = Book::new();
    for (id, class, word) in [
        ("pay1", ResultClass::Pending, "PROCESSING"),
        ("pay2", ResultClass::Success, "SUCCESS"),
    ] {
        let told = book.arrival(CallbackKind::Clickpesa, clickpesa("ORD1", id, class, word));
        book.receive(told);
    }
    assert_eq!(book.only().status, Status::Success);
}
