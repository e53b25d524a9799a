//! Which transaction news is about, and whose.

use super::*;

#[test]
fn ids_that_point_at_different_transactions_move_neither() {
    let mut book = Book::new();
    let (a, b) = (book.accepted("a"), book.accepted("b"));
    let mut update = success("a");
    update.correlation.transaction_id = Some(b);
    assert_eq!(book.tell(update), CallbackState::Conflict);
    for id in [a, b] {
        assert_eq!(book.get(id).status, Status::Accepted);
        assert_eq!(book.timeline(id)[1], TimelineKind::Conflict);
    }
}

#[test]
fn an_id_that_contradicts_the_transactions_own_moves_nothing() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let mut update = success("somebody else's");
    update.correlation.transaction_id = Some(id);
    assert_eq!(book.tell(update), CallbackState::Conflict);
    assert_eq!(book.get(id).status, Status::Accepted);
    assert_eq!(book.get(id).ids, conversation("a"));
}

#[test]
fn another_partners_transaction_is_not_moved_and_says_so() {
    for by_path in [false, true] {
        let mut book = Book::new();
        let id = book.accepted("a");
        let stranger = PartnerId::new(book.now);
        let mut update = success("a");
        if by_path {
            update.correlation = Correlation {
                transaction_id: Some(id),
                ..Correlation::default()
            };
        }
        let foreign = arrival(
            stranger,
            CallbackKind::Stk,
            News::Payment(Box::new(update)),
            book.now,
        );
        let state = if by_path {
            CallbackState::Conflict
        } else {
            CallbackState::Waiting
        };
        assert_eq!(book.receive(foreign), state);
        assert_eq!(book.get(id).status, Status::Accepted);
        assert_eq!(book.timeline(id)[1], TimelineKind::Conflict);
    }
}

#[test]
fn an_early_callback_waits_for_its_own_partner_though_another_has_the_same_id() {
    let mut book = Book::new();
    let shop = |partner, name| Registration {
        provider: Provider::Clickpesa,
        kind: Kind::UssdPush,
        currency: Currency::tzs(),
        ..payment(partner, name)
    };
    let other = PartnerId::new(book.now);
    let theirs = Registration {
        ids: order("1001"),
        ..shop(other, "theirs")
    };
    let Outcome::Registered { transaction, .. } = book.one(register(theirs)) else {
        panic!("not registered")
    };
    // Our own payment is on its way: its ids are not known yet.
    let own = book.register(shop(book.partner, "own"));
    let success = clickpesa("1001", "p", ResultClass::Success, "SUCCESS");
    let early = book.arrival(CallbackKind::Clickpesa, success);
    assert_eq!(book.receive(early.clone()), CallbackState::Waiting);
    book.one(attach(book.partner, own, conversation("unrelated")));
    assert_eq!(book.get(own).status, Status::Accepted);
    let second = book.register(Registration {
        ids: order("1001"),
        ..shop(book.partner, "second")
    });
    assert_eq!(book.callbacks[&early.id], CallbackState::Applied);
    assert_eq!(book.get(second).status, Status::Success);
    let stands = &book.transactions[&(other, transaction.id)];
    assert_eq!(stands.status, Status::Accepted);
    let told = [TimelineKind::Registered, TimelineKind::Conflict];
    assert_eq!(book.timeline(transaction.id), told, "once");
}

#[test]
fn a_payment_nobody_registered_makes_its_transaction_though_another_has_the_same_id() {
    let mut book = Book::new();
    let other = PartnerId::new(book.now);
    book.one(register(Registration {
        provider: Provider::Clickpesa,
        ids: order("1001"),
        ..payment(other, "theirs")
    }));
    let success = clickpesa("1001", "p", ResultClass::Success, "SUCCESS");
    let news = book.arrival(CallbackKind::Clickpesa, success);
    assert_eq!(book.receive(news), CallbackState::Applied);
    let status_of = |partner| {
        let mut rows = book.transactions.values();
        rows.find(|row| row.partner_id == partner).unwrap().status
    };
    assert_eq!(status_of(book.partner), Status::Success);
    assert_eq!(status_of(other), Status::Accepted);
}

#[test]
fn an_id_that_two_partners_hold_moves_the_tokens_own() {
    let mut book = Book::new();
    let own = book.accepted("a");
    let stranger = PartnerId::new(book.now);
    book.one(register(with_conversation(payment(stranger, "x"), "a")));
    assert_eq!(book.tell(success("a")), CallbackState::Applied);
    assert_eq!(book.get(own).status, Status::Success);
    let others = book
        .transactions
        .values()
        .filter(|row| row.partner_id == stranger);
    assert!(others.into_iter().all(|row| row.status == Status::Accepted));
}

#[test]
fn another_provider_with_the_same_id_moves_nothing() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let update = StatusUpdate {
        unregistered: None,
        ..clickpesa("o", "a", ResultClass::Success, "SUCCESS")
    };
    let other = book.arrival(CallbackKind::Clickpesa, update);
    assert_eq!(book.receive(other), CallbackState::Waiting);
    assert_eq!(book.get(id).status, Status::Accepted);
}

#[test]
fn what_nobody_can_be_found_for_is_kept_and_moves_nothing() {
    let mut book = Book::new();
    book.accepted("a");
    let lines = book.lines.len();
    let told = News::Payment(Box::new(success("a")));
    let nobody = Arrival {
        partner_id: None,
        ..arrival(book.partner, CallbackKind::Stk, told.clone(), book.now)
    };
    let flagged = Arrival {
        flagged: Some("two accounts match".to_owned()),
        ..arrival(book.partner, CallbackKind::Stk, told, book.now)
    };
    let unreadable = arrival(
        book.partner,
        CallbackKind::Stk,
        News::Unreadable("not JSON".to_owned()),
        book.now,
    );
    let without_ids = book.arrival(
        CallbackKind::Stk,
        news(ResultClass::Success, Correlation::default()),
    );
    assert_eq!(book.receive(nobody), CallbackState::Unmatched);
    assert_eq!(book.receive(flagged), CallbackState::Unmatched);
    assert_eq!(book.receive(unreadable), CallbackState::Unreadable);
    assert_eq!(book.receive(without_ids), CallbackState::Unmatched);
    assert_eq!((book.lines.len(), book.callbacks.len()), (lines, 4));
}

#[test]
fn a_merchant_request_id_is_never_matched_on() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let mut pending = failure("a", ResultClass::Pending, "p");
    pending.correlation.merchant_request_id = Some("m".to_owned());
    book.tell(pending);
    let correlation = Correlation {
        merchant_request_id: Some("m".to_owned()),
        ..Correlation::default()
    };
    assert_eq!(
        book.tell(news(ResultClass::Success, correlation)),
        CallbackState::Unmatched
    );
    assert_eq!(book.get(id).status, Status::Accepted);
}
