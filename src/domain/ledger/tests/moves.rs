//! How news moves a transaction, and what moves it no more.

use super::*;

#[test]
fn a_registration_is_queued_or_accepted_by_the_ids_it_has() {
    let mut book = Book::new();
    let queued = book.register(payment(book.partner, "a"));
    let accepted = book.accepted("b");
    assert_eq!(book.get(queued).status, Status::Queued);
    assert_eq!(book.get(accepted).status, Status::Accepted);
    assert_eq!(book.events(queued), ["transaction.registered"]);
    assert_eq!(book.events(accepted), ["transaction.registered"]);
    assert_eq!(book.ask_at[&queued], Some(book.now + Duration::seconds(59)));
}

#[test]
fn every_allowed_move_is_made() {
    for class in [
        ResultClass::Success,
        ResultClass::Failed,
        ResultClass::Unconfirmed,
    ] {
        for first_accepted in [false, true] {
            let mut book = Book::new();
            let id = book.register(payment(book.partner, "a"));
            if first_accepted {
                book.one(attach(book.partner, id, conversation("c")));
                assert_eq!(book.get(id).status, Status::Accepted);
            }
            let mut update = failure("c", class, "x");
            update.correlation.transaction_id = Some(id);
            assert_eq!(book.tell(update), CallbackState::Applied);
            let expected = match class {
                ResultClass::Success => Status::Success,
                _ => Status::Failed,
            };
            assert_eq!(book.get(id).status, expected);
            assert_eq!(book.get(id).unconfirmed, class == ResultClass::Unconfirmed);
            assert_eq!(book.events(id).len(), 2 + usize::from(first_accepted));
            assert_eq!(book.get(id).updated_at, book.now);
        }
    }
}

#[test]
fn a_path_with_our_id_brings_the_providers_id() {
    let mut book = Book::new();
    let id = book.register(payment(book.partner, "a"));
    let mut update = success("ws_CO_1");
    update.correlation.transaction_id = Some(id);
    update.correlation.merchant_request_id = Some("m".to_owned());
    book.tell(update);
    let paid = book.get(id);
    assert_eq!(paid.ids.conversation_id.as_deref(), Some("ws_CO_1"));
    assert_eq!(paid.merchant_request_id.as_deref(), Some("m"));
}

#[test]
fn a_success_overturns_an_unconfirmed_failure_only() {
    let mut book = Book::new();
    let id = book.accepted("a");
    book.tell(failure("a", ResultClass::Unconfirmed, "1037"));
    assert_eq!(
        book.ask_at[&id],
        Some(book.now),
        "it is asked about at once"
    );
    assert_eq!(book.tell(success("a")), CallbackState::Applied);
    let paid = book.get(id);
    assert_eq!((paid.status, paid.unconfirmed), (Status::Success, false));
    assert_eq!(paid.result_code.as_deref(), Some("0"));
    assert_eq!(book.timeline(id)[2], TimelineKind::LateSuccess);
    assert_eq!(book.ask_at[&id], None);

    let other = book.accepted("b");
    book.tell(failure("b", ResultClass::Failed, "1032"));
    assert_eq!(book.tell(success("b")), CallbackState::Conflict);
    assert_eq!(book.get(other).status, Status::Failed);
    assert_eq!(book.get(other).receipt, None);
    assert_eq!(book.timeline(other)[2], TimelineKind::Conflict);
}

#[test]
fn contradictions_are_noted_and_change_nothing() {
    let mut book = Book::new();
    let id = book.accepted("a");
    book.tell(success("a"));
    let paid = book.get(id).clone();
    let mut other_receipt = success("a");
    other_receipt.receipt = Some("other".to_owned());
    for update in [
        failure("a", ResultClass::Failed, "1"),
        failure("a", ResultClass::Unconfirmed, "1037"),
        other_receipt,
    ] {
        assert_eq!(book.tell(update), CallbackState::Conflict);
    }
    assert_eq!(*book.get(id), paid);
    assert_eq!(book.events(id).len(), 2);
    assert_eq!(book.timeline(id)[2..], [TimelineKind::Conflict; 3]);

    let failed = book.accepted("b");
    book.tell(failure("b", ResultClass::Failed, "1"));
    assert_eq!(
        book.tell(failure("b", ResultClass::Failed, "1032")),
        CallbackState::Conflict
    );
    assert_eq!(book.get(failed).result_code.as_deref(), Some("1"));
}

#[test]
fn duplicates_leave_no_trace_in_the_row_and_the_feed() {
    for update in [
        success("a"),
        failure("a", ResultClass::Failed, "1"),
        failure("a", ResultClass::Unconfirmed, "1037"),
        returned("a"),
    ] {
        let mut book = Book::new();
        let id = book.accepted("a");
        assert_eq!(book.tell(update.clone()), CallbackState::Applied);
        let (row, lines) = (book.get(id).clone(), book.lines.len());
        assert_eq!(book.tell(update.clone()), CallbackState::Duplicate);
        let twice = [
            callback(book.arrival(CallbackKind::Stk, update.clone())),
            callback(book.arrival(CallbackKind::Stk, update)),
        ];
        book.run(twice);
        assert_eq!((book.get(id), book.lines.len()), (&row, lines));
    }
}

#[test]
fn pending_and_unknown_news_are_noted_until_the_end() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let mut pending = failure("a", ResultClass::Pending, "4999");
    pending.provider_status = Some("PROCESSING".to_owned());
    assert_eq!(book.tell(pending.clone()), CallbackState::Noted);
    assert_eq!(book.ask_at[&id], Some(book.now + Duration::seconds(60)));
    assert_eq!(
        book.tell(failure("a", ResultClass::Unknown, "77")),
        CallbackState::Noted
    );
    assert_eq!(
        book.ask_at[&id],
        Some(book.now),
        "an unknown code is asked about"
    );
    let known = book.get(id);
    assert_eq!(known.status, Status::Accepted);
    assert_eq!(known.result_code, None, "set by a final result only");
    assert_eq!(known.provider_status.as_deref(), Some("PROCESSING"));
    book.tell(success("a"));
    assert_eq!(book.tell(pending), CallbackState::Duplicate);
    assert_eq!(book.events(id).len(), 2);
}

#[test]
fn money_given_back_turns_a_success_into_a_failure() {
    let mut book = Book::new();
    let id = book.accepted("a");
    book.tell(success("a"));
    assert_eq!(book.tell(returned("a")), CallbackState::Applied);
    let row = book.get(id).clone();
    assert_eq!(row.status, Status::Failed);
    assert_eq!(row.reversed_at, Some(book.now));
    assert_eq!(row.receipt.as_deref(), Some("Ra"), "the receipt stays");
    assert_eq!(book.timeline(id)[2], TimelineKind::Reversed);
    assert_eq!(
        book.events(id),
        [
            "transaction.registered",
            "transaction.success",
            "transaction.failed"
        ]
    );
    // The success told once more does not undo it.
    assert_eq!(book.tell(success("a")), CallbackState::Duplicate);
    assert_eq!(*book.get(id), row);
}

#[test]
fn money_given_back_before_or_after_a_failure_is_marked() {
    let mut book = Book::new();
    let open = book.accepted("a");
    book.tell(returned("a"));
    assert_eq!(book.get(open).status, Status::Failed);
    assert!(book.get(open).reversed_at.is_some());

    let failed = book.accepted("b");
    book.tell(failure("b", ResultClass::Unconfirmed, "1037"));
    assert_eq!(book.tell(returned("b")), CallbackState::Applied);
    let row = book.get(failed);
    assert!(row.reversed_at.is_some() && !row.unconfirmed);
    assert_eq!(book.events(failed).len(), 2, "no second failure is told");
    assert_eq!(book.tell(success("b")), CallbackState::Duplicate);
}

#[test]
fn a_timeout_changes_nothing_but_asks() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let before = book.get(id).clone();
    let timeout = |book: &Book| {
        arrival(
            book.partner,
            CallbackKind::B2cTimeout,
            News::Timeout(by_conversation("a")),
            book.now,
        )
    };
    let first = timeout(&book);
    assert_eq!(book.receive(first), CallbackState::Noted);
    assert_eq!(*book.get(id), before);
    assert_eq!(book.ask_at[&id], Some(book.now));
    assert_eq!(book.timeline(id)[1], TimelineKind::Timeout);
    book.tell(success("a"));
    let (paid, lines) = (book.get(id).clone(), book.lines.len());
    let late = timeout(&book);
    assert_eq!(book.receive(late), CallbackState::Noted);
    assert_eq!((book.get(id), book.lines.len()), (&paid, lines));
    assert_eq!(book.ask_at[&id], None);
}

#[test]
fn settled_follows_success_and_is_not_undone() {
    let mut book = Book::new();
    for (word, state) in [
        ("SUCCESS", CallbackState::Applied),
        ("SETTLED", CallbackState::Applied),
        ("SETTLED", CallbackState::Duplicate),
        ("SUCCESS", CallbackState::Duplicate),
    ] {
        let told = clickpesa("ORD1", "pay1", ResultClass::Success, word);
        let told = book.arrival(CallbackKind::Clickpesa, told);
        assert_eq!(book.receive(told), state, "{word}");
    }
    let row = book.only();
    assert_eq!(row.provider_status.as_deref(), Some("SETTLED"));
    assert_eq!(row.status, Status::Success);
    assert_eq!(book.sequences(), [1, 2], "settlement is no event");
}

#[test]
fn another_amount_paid_is_said_and_counted() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let mut update = success("a");
    update.paid = Some(Amount(100_000));
    book.tell(update);
    let row = book.get(id);
    assert_eq!((row.status, row.amount), (Status::Success, Amount(120_000)));
    assert_eq!(row.paid, Some(Amount(100_000)));
    assert_eq!(book.timeline(id)[2], TimelineKind::AmountMismatch);
    assert_eq!(book.mismatches, 1);
}

#[test]
fn a_receipt_that_comes_late_completes_the_success() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let mut bare = success("a");
    (bare.receipt, bare.paid) = (None, None);
    book.tell(bare.clone());
    let mut late = success("a");
    late.paid = Some(Amount(1));
    assert_eq!(book.tell(late.clone()), CallbackState::Applied);
    let row = book.get(id).clone();
    assert_eq!(row.receipt.as_deref(), Some("Ra"));
    assert_eq!(
        book.timeline(id)[2..],
        [TimelineKind::Completed, TimelineKind::AmountMismatch]
    );
    assert_eq!(book.events(id).len(), 2);
    for again in [late, bare] {
        assert_eq!(book.tell(again), CallbackState::Duplicate);
    }
    assert_eq!(*book.get(id), row);
}
