//! Payments that are started through us: committed first, then the provider's answer, whatever it is and whenever.

use super::*;
use crate::domain::payment::Intent;

fn intent(book: &Book, client_request_id: Option<&str>) -> Registration {
    Registration {
        client_request_id: client_request_id.map(str::to_owned),
        intent: Some(Box::new(Intent {
            transaction_id: TransactionId::new(book.now),
            account_id: AccountId::new(book.now),
            own_ids: ProviderIds {
                originator_conversation_id: Some(TransactionId::new(book.now).to_string()),
                ..ProviderIds::default()
            },
            digest: "d".repeat(64),
            reference: Some("INV-1".to_owned()),
        })),
        ..payment(book.partner, "unused")
    }
}

fn answered(book: &Book, transaction_id: TransactionId, word: Word) -> Command {
    Command::Answered(Box::new(ProviderAnswer {
        partner_id: book.partner,
        transaction_id,
        source: "call:stk_push".to_owned(),
        was_unconfirmed: book.get(transaction_id).unconfirmed,
        word,
    }))
}

fn stuck(book: &Book, id: TransactionId) -> Command {
    let last_news = book.get(id).updated_at;
    answered(book, id, Word::Stuck { last_news })
}

fn accepted(conversation_id: &str) -> Word {
    Word::Accepted {
        ids: conversation(conversation_id),
        merchant_request_id: Some("29115-34620561-1".to_owned()),
        answer: CallAnswer::Accepted {
            code: Some("0".to_owned()),
            description: Some("Success".to_owned()),
            customer_message: None,
        },
        update: None,
    }
}

fn refused() -> Word {
    Word::NotAccepted(CallAnswer::Refused {
        code: Some("500.001.1001".to_owned()),
        message: "Unable to lock subscriber".to_owned(),
        is_retryable: true,
    })
}

fn unknown() -> Word {
    Word::NotAccepted(CallAnswer::Unknown {
        reason: "no answer in time".to_owned(),
    })
}

fn said(class: ResultClass, book: &Book) -> Word {
    let mut update = StatusUpdate::new(Api::Stk, class, Correlation::default());
    update.result_code = Some("0".to_owned());
    Word::News {
        update: Box::new(update),
        ask_again_at: book.now + Duration::minutes(7),
    }
}

#[test]
fn a_payment_is_queued_with_our_own_ids_before_anybody_is_called() {
    let mut book = Book::new();
    let registration = intent(&book, Some("PAY-1"));
    let wanted = registration.intent.clone().unwrap();
    let id = book.register(registration);
    let known = book.get(id);
    assert_eq!(id, wanted.transaction_id);
    assert_eq!(known.status, Status::Queued);
    assert_eq!(known.account_id, Some(wanted.account_id));
    assert_eq!(known.ids, wanted.own_ids);
    assert_eq!(book.events(id), ["transaction.registered"]);
    assert_eq!(book.payments[0].digest, wanted.digest);
    assert_eq!(book.payments[0].reference.as_deref(), Some("INV-1"));
}

#[test]
fn the_same_key_again_is_the_same_payment_though_our_own_ids_would_differ() {
    let mut book = Book::new();
    let id = book.register(intent(&book, Some("PAY-1")));
    let again = intent(&book, Some("PAY-1"));
    let outcome = book.one(register(again));
    assert!(
        matches!(outcome, Outcome::Registered { transaction, created: false } if transaction.id == id)
    );
    assert_eq!(book.payments.len(), 1);
}

#[test]
fn an_acceptance_brings_the_ids_and_what_waited_for_them() {
    let mut book = Book::new();
    let id = book.register(intent(&book, Some("PAY-1")));
    assert_eq!(
        book.tell(success("ws_CO_1")),
        CallbackState::Waiting,
        "the callback came before the answer"
    );
    book.one(answered(&book, id, accepted("ws_CO_1")));
    let known = book.get(id);
    assert_eq!(known.status, Status::Success);
    assert_eq!(
        known.merchant_request_id.as_deref(),
        Some("29115-34620561-1")
    );
    assert_eq!(
        book.events(id),
        [
            "transaction.registered",
            "transaction.accepted",
            "transaction.success"
        ]
    );
    assert_eq!(book.answers[0].1.as_str(), "accepted");
}

#[test]
fn an_acceptance_after_the_result_moves_nothing_any_more() {
    let mut book = Book::new();
    let id = book.register(intent(&book, Some("PAY-1")));
    let mut early = success("ws_CO_1");
    early.correlation.transaction_id = Some(id);
    assert_eq!(book.tell(early), CallbackState::Applied);
    book.one(answered(&book, id, accepted("ws_CO_1")));
    assert_eq!(book.get(id).status, Status::Success);
    assert_eq!(
        book.events(id),
        ["transaction.registered", "transaction.success"]
    );
    assert!(!book.timeline(id).contains(&TimelineKind::Conflict));
}

#[test]
fn a_refusal_fails_the_payment_with_the_providers_words() {
    let mut book = Book::new();
    let id = book.register(intent(&book, Some("PAY-1")));
    book.one(answered(&book, id, refused()));
    let known = book.get(id);
    assert_eq!(known.status, Status::Failed);
    assert!(!known.unconfirmed);
    assert_eq!(known.result_code.as_deref(), Some("500.001.1001"));
    assert_eq!(book.ask_at[&id], None);
}

#[test]
fn a_refusal_after_the_success_is_a_conflict() {
    let mut book = Book::new();
    let id = book.register(intent(&book, Some("PAY-1")));
    let mut early = success("ws_CO_1");
    early.correlation.transaction_id = Some(id);
    book.tell(early);
    book.one(answered(&book, id, refused()));
    assert_eq!(book.get(id).status, Status::Success);
    assert!(book.timeline(id).contains(&TimelineKind::Conflict));
}

#[test]
fn no_answer_leaves_the_payment_queued_and_to_be_asked_about() {
    let mut book = Book::new();
    let id = book.register(intent(&book, Some("PAY-1")));
    book.one(answered(&book, id, unknown()));
    assert_eq!(book.get(id).status, Status::Queued);
    assert!(book.ask_at[&id].is_some());
    assert_eq!(book.events(id), ["transaction.registered"]);
    assert_eq!(book.answers[0].1.as_str(), "unknown");
}

#[test]
fn an_identical_prompt_without_a_key_is_refused_for_two_minutes() {
    let mut book = Book::new();
    let first = book.register(intent(&book, None));
    let twin = book.one(register(intent(&book, None)));
    assert_eq!(
        twin,
        Outcome::Refused(Refusal::Twin {
            transaction_id: first
        })
    );
    let mut other = intent(&book, None);
    other.account_reference = Some("another".to_owned());
    book.register(other);
    let mut other = intent(&book, None);
    other.amount = Amount(100);
    book.register(other);
    book.register(intent(&book, Some("with a key")));
    book.now += TWIN_SPAN;
    book.register(intent(&book, None));
}

#[test]
fn a_prompt_that_was_refused_may_be_sent_again_at_once() {
    let mut book = Book::new();
    let first = book.register(intent(&book, None));
    book.one(answered(&book, first, refused()));
    book.register(intent(&book, None));
}

#[test]
fn a_question_that_brings_nothing_is_asked_again_when_its_time_comes() {
    let mut book = Book::new();
    let id = book.accepted("ws_CO_1");
    let at = book.now + Duration::minutes(4);
    let word = Word::NoNews {
        ask_again_at: at,
        was_heard: true,
    };
    book.one(answered(&book, id, word));
    assert_eq!(book.ask_at[&id], Some(at));
    let word = said(ResultClass::Unknown, &book);
    let Word::News { ask_again_at, .. } = word else {
        unreachable!()
    };
    book.one(answered(&book, id, word));
    assert_eq!(
        book.ask_at[&id],
        Some(ask_again_at),
        "an unknown answer must not be asked about at once for ever"
    );
}

#[test]
fn a_question_may_end_a_payment_and_a_later_callback_completes_it() {
    let mut book = Book::new();
    let id = book.accepted("ws_CO_1");
    let word = said(ResultClass::Success, &book);
    book.one(answered(&book, id, word));
    assert_eq!(book.get(id).status, Status::Success);
    assert_eq!(book.get(id).receipt, None);
    assert_eq!(book.ask_at[&id], None);
    book.tell(success("ws_CO_1"));
    assert_eq!(book.get(id).receipt.as_deref(), Some("Rws_CO_1"));
    assert_eq!(
        book.events(id),
        ["transaction.registered", "transaction.success"]
    );
}

#[test]
fn an_unconfirmed_failure_is_asked_about_once() {
    let mut book = Book::new();
    let id = book.accepted("ws_CO_1");
    book.tell(failure("ws_CO_1", ResultClass::Unconfirmed, "1037"));
    assert!(book.ask_at[&id].is_some());
    let not_heard = Word::NoNews {
        ask_again_at: book.now + Duration::minutes(1),
        was_heard: false,
    };
    book.one(answered(&book, id, not_heard));
    assert!(book.ask_at[&id].is_some(), "nobody heard the question");
    let heard = Word::NoNews {
        ask_again_at: book.now + Duration::minutes(1),
        was_heard: true,
    };
    book.one(answered(&book, id, heard));
    assert_eq!(book.ask_at[&id], None);
    assert_eq!(book.tell(success("ws_CO_1")), CallbackState::Applied);
    assert_eq!(book.get(id).status, Status::Success, "late truth wins");
}

#[test]
fn a_question_asked_before_an_unconfirmed_failure_is_not_the_one_about_it() {
    let mut book = Book::new();
    let id = book.accepted("ws_CO_1");
    let heard = Word::NoNews {
        ask_again_at: book.now + Duration::minutes(1),
        was_heard: true,
    };
    let before = answered(&book, id, heard.clone());
    book.tell(failure("ws_CO_1", ResultClass::Unconfirmed, "1037"));
    book.one(before);
    assert!(book.ask_at[&id].is_some(), "it was asked of the prompt");
    book.one(answered(&book, id, heard));
    assert_eq!(book.ask_at[&id], None);
}

#[test]
fn what_has_news_meanwhile_is_not_stuck() {
    let mut book = Book::new();
    let queued = |book: &mut Book, name| book.register(payment(book.partner, name));
    // The news is written first.
    let id = queued(&mut book, "a");
    let late = stuck(&book, id);
    book.now += Duration::hours(48);
    book.one(attach(book.partner, id, conversation("a")));
    book.one(late);
    assert!(!book.stuck.contains(&id));
    assert!(!book.timeline(id).contains(&TimelineKind::Stuck));
    // Both are written together.
    let id = queued(&mut book, "b");
    book.now += Duration::hours(48);
    let both = [
        stuck(&book, id),
        attach(book.partner, id, conversation("b")),
    ];
    book.run(both);
    assert!(!book.stuck.contains(&id));
    assert_eq!(book.get(id).status, Status::Accepted);
}

#[test]
fn what_is_stuck_says_so_once_and_news_still_ends_it() {
    let mut book = Book::new();
    let id = book.accepted("ws_CO_1");
    book.one(stuck(&book, id));
    assert!(book.stuck.contains(&id));
    assert_eq!(book.get(id).status, Status::Accepted, "never guessed");
    assert!(book.timeline(id).contains(&TimelineKind::Stuck));
    book.tell(success("ws_CO_1"));
    assert_eq!(book.get(id).status, Status::Success);
    assert!(!book.stuck.contains(&id));
}

#[test]
fn an_endpoint_of_one_payment_hears_of_no_other() {
    let mut book = Book::new();
    let registration = intent(&book, Some("PAY-1"));
    let only = registration.intent.as_ref().unwrap().transaction_id;
    book.endpoints = vec![EndpointFacts {
        id: crate::domain::identity::EndpointId::new(book.now),
        partner_id: book.partner,
        events: Vec::new(),
        transaction_id: Some(only),
    }];
    book.register(registration);
    book.register(intent(&book, Some("PAY-2")));
    assert_eq!(book.deliveries.len(), 1);
    assert_eq!(book.deliveries[0].transaction_id, only);
}
