//! Balances, and the questions about them.

use super::*;

#[test]
fn balances_are_kept_for_their_account() {
    let mut book = Book::new();
    let told = arrival(
        book.partner,
        CallbackKind::BalanceResult,
        News::Balances {
            accounts: Vec::new(),
            checked_at: None,
        },
        book.now,
    );
    let received_at = told.received_at;
    assert_eq!(book.receive(told), CallbackState::Noted);
    assert_eq!(book.balances[0].checked_at, received_at);
}

#[test]
fn a_question_about_balances_is_answered_by_whatever_comes_to_its_address() {
    for (kind, news, state, told) in [
        (
            CallbackKind::BalanceResult,
            News::Balances {
                accounts: Vec::new(),
                checked_at: None,
            },
            CallbackState::Noted,
            Told::Balances(Vec::new()),
        ),
        (
            CallbackKind::BalanceResult,
            News::Information("refused (15)".to_owned()),
            CallbackState::Noted,
            Told::Nothing("refused (15)".to_owned()),
        ),
        (
            CallbackKind::BalanceTimeout,
            News::Timeout(Correlation::default()),
            CallbackState::Noted,
            Told::Nothing("the provider gave up waiting for its own answer".to_owned()),
        ),
        (
            CallbackKind::BalanceResult,
            News::Unreadable("no JSON".to_owned()),
            CallbackState::Unreadable,
            Told::Nothing("the answer could not be understood: no JSON".to_owned()),
        ),
    ] {
        let mut book = Book::new();
        let enquiry_id = Some(EnquiryId::new(book.now));
        let arrival = Arrival {
            enquiry_id,
            ..arrival(book.partner, kind, news.clone(), book.now)
        };
        assert_eq!(book.receive(arrival), state, "{news:?}");
        assert_eq!(book.balances[0].enquiry_id, enquiry_id);
        assert_eq!(book.balances[0].told, told);
    }
}
