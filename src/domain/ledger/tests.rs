//! The rules, told as stories: a book stands in for the store, a batch of commands is one `run`.

mod answers;
mod import;
mod read_again;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::Duration;
use proptest::prelude::*;

use super::*;
use crate::domain::enquiry::Told;
use crate::domain::identity::EnquiryId;
use crate::domain::status::Status;
use crate::domain::status_update::{
    Api, Correlation, Payer, ResultClass, StatusUpdate, Unregistered,
};
use crate::domain::timeline::TimelineKind;

/// What a store would keep.
struct Book {
    now: Instant,
    partner: PartnerId,
    transactions: HashMap<(PartnerId, TransactionId), Transaction>,
    ask_at: HashMap<TransactionId, Option<Instant>>,
    waiting: Vec<Waiting>,
    endpoints: Vec<EndpointFacts>,
    last_sequences: HashMap<PartnerId, i64>,
    lines: Vec<Line>,
    deliveries: Vec<NewDelivery>,
    callbacks: HashMap<CallbackId, CallbackState>,
    balances: Vec<BalanceReport>,
    payments: Vec<PaymentRecord>,
    answers: Vec<(TransactionId, CallAnswer)>,
    stuck: HashSet<TransactionId>,
    mismatches: u64,
}

impl Book {
    fn new() -> Self {
        let now = "2026-03-14T15:09:26.535Z".parse().unwrap();
        Self {
            now,
            partner: PartnerId::new(now),
            transactions: HashMap::new(),
            ask_at: HashMap::new(),
            waiting: Vec::new(),
            endpoints: Vec::new(),
            last_sequences: HashMap::new(),
            lines: Vec::new(),
            deliveries: Vec::new(),
            callbacks: HashMap::new(),
            balances: Vec::new(),
            payments: Vec::new(),
            answers: Vec::new(),
            stuck: HashSet::new(),
            mismatches: 0,
        }
    }

    /// One batch, a second after the last.
    fn run(&mut self, commands: impl IntoIterator<Item = Command>) -> Vec<Outcome> {
        self.now += Duration::seconds(1);
        let loaded = WorkingSet {
            transactions: self.transactions.values().cloned().collect(),
            waiting: self.waiting.clone(),
            endpoints: self.endpoints.clone(),
            last_sequences: self.last_sequences.clone(),
            unnamed: HashSet::new(),
        };
        let mut ledger = Ledger::new(self.now, Duration::seconds(60), loaded);
        let outcomes = commands
            .into_iter()
            .map(|command| ledger.carry_out(command))
            .collect();
        self.keep(ledger.into_changes());
        outcomes
    }

    fn keep(&mut self, changes: Changes) {
        for changed in changes.transactions {
            let key = (changed.after.partner_id, changed.after.id);
            assert_eq!(self.transactions.get(&key), changed.before.as_ref());
            self.ask_at.insert(changed.after.id, changed.ask_at);
            self.stuck.remove(&changed.after.id);
            if changed.stuck_at.is_some() {
                self.stuck.insert(changed.after.id);
            }
            self.transactions.insert(key, changed.after);
        }
        self.lines.extend(changes.lines);
        self.deliveries.extend(changes.deliveries);
        self.last_sequences.extend(changes.last_sequences);
        for record in changes.callbacks.into_iter().chain(changes.read_again) {
            self.callbacks.insert(record.arrival.id, record.state);
            if record.state == CallbackState::Waiting {
                self.waiting.push(Waiting {
                    id: record.arrival.id,
                    partner_id: record.arrival.partner_id.unwrap(),
                    provider: record.arrival.provider,
                    kind: record.arrival.kind,
                    news: record.arrival.news,
                });
            }
        }
        for settled in changes.settled {
            self.callbacks.insert(settled.id, settled.state);
            self.waiting.retain(|kept| kept.id != settled.id);
        }
        self.balances.extend(changes.balances);
        self.payments.extend(changes.payments);
        let answers = changes.answers.into_iter();
        self.answers
            .extend(answers.map(|(_, id, answer)| (id, answer)));
        self.mismatches += changes.amount_mismatches;
    }

    fn one(&mut self, command: Command) -> Outcome {
        self.run([command]).remove(0)
    }

    fn register(&mut self, registration: Registration) -> TransactionId {
        match self.one(register(registration)) {
            Outcome::Registered {
                transaction,
                created: true,
            } => transaction.id,
            other => panic!("not registered: {other:?}"),
        }
    }

    fn accepted(&mut self, name: &str) -> TransactionId {
        let registration = with_conversation(payment(self.partner, name), name);
        self.register(registration)
    }

    fn receive(&mut self, arrival: Arrival) -> CallbackState {
        match self.one(callback(arrival)) {
            Outcome::Recorded(state) => state,
            other => panic!("not recorded: {other:?}"),
        }
    }

    fn tell(&mut self, update: StatusUpdate) -> CallbackState {
        let arrival = self.arrival(CallbackKind::Stk, update);
        self.receive(arrival)
    }

    fn arrival(&self, kind: CallbackKind, update: StatusUpdate) -> Arrival {
        arrival(
            self.partner,
            kind,
            News::Payment(Box::new(update)),
            self.now,
        )
    }

    fn get(&self, id: TransactionId) -> &Transaction {
        &self.transactions[&(self.partner, id)]
    }

    fn only(&self) -> &Transaction {
        assert_eq!(self.transactions.len(), 1);
        self.transactions.values().next().unwrap()
    }

    fn timeline(&self, id: TransactionId) -> Vec<TimelineKind> {
        self.lines
            .iter()
            .filter(|line| line.transaction_id == id)
            .map(|line| line.entry.kind)
            .collect()
    }

    /// The events of a transaction, by type.
    fn events(&self, id: TransactionId) -> Vec<&'static str> {
        self.lines
            .iter()
            .filter(|line| line.transaction_id == id)
            .filter_map(|line| line.event.as_ref().map(StatusEvent::event_type))
            .collect()
    }

    fn sequences(&self) -> Vec<i64> {
        self.lines
            .iter()
            .filter_map(|line| line.event.as_ref().map(|event| event.sequence))
            .collect()
    }
}

fn register(registration: Registration) -> Command {
    Command::Register(Box::new(registration))
}

fn callback(arrival: Arrival) -> Command {
    Command::Callback(Box::new(arrival))
}

fn attach(partner_id: PartnerId, transaction_id: TransactionId, ids: ProviderIds) -> Command {
    Command::Attach(Attachment {
        partner_id,
        transaction_id,
        ids,
    })
}

fn payment(partner: PartnerId, client_request_id: &str) -> Registration {
    Registration {
        partner_id: partner,
        client_request_id: Some(client_request_id.to_owned()),
        provider: Provider::Mpesa,
        kind: Kind::StkPush,
        origin: "ussd".to_owned(),
        ids: ProviderIds::default(),
        msisdn: Some(Msisdn::from_international("254712345678").unwrap()),
        amount: Amount(120_000),
        currency: Currency::kes(),
        account_reference: None,
        tenant_id: None,
        customer_id: None,
        original_id: None,
        intent: None,
    }
}

fn with_conversation(registration: Registration, id: &str) -> Registration {
    Registration {
        ids: conversation(id),
        ..registration
    }
}

fn conversation(id: &str) -> ProviderIds {
    ProviderIds {
        conversation_id: Some(id.to_owned()),
        ..ProviderIds::default()
    }
}

fn order(reference: &str) -> ProviderIds {
    ProviderIds {
        order_reference: Some(reference.to_owned()),
        ..ProviderIds::default()
    }
}

fn by_conversation(id: &str) -> Correlation {
    Correlation {
        conversation_id: Some(id.to_owned()),
        ..Correlation::default()
    }
}

fn news(class: ResultClass, correlation: Correlation) -> StatusUpdate {
    StatusUpdate::new(Api::Stk, class, correlation)
}

fn success(id: &str) -> StatusUpdate {
    let mut update = news(ResultClass::Success, by_conversation(id));
    update.result_code = Some("0".to_owned());
    update.receipt = Some(format!("R{id}"));
    update.paid = Some(Amount(120_000));
    update
}

fn failure(id: &str, class: ResultClass, code: &str) -> StatusUpdate {
    let mut update = news(class, by_conversation(id));
    update.result_code = Some(code.to_owned());
    update
}

fn returned(id: &str) -> StatusUpdate {
    StatusUpdate {
        returned: true,
        provider_status: Some("REFUNDED".to_owned()),
        ..failure(id, ResultClass::Failed, "REFUNDED")
    }
}

fn arrival(partner: PartnerId, kind: CallbackKind, news: News, now: Instant) -> Arrival {
    Arrival {
        id: CallbackId::new(now),
        partner_id: Some(partner),
        account: Some(Arc::new(account(partner, kind.provider(), now))),
        provider: kind.provider(),
        kind,
        received_at: now,
        body: b"{}".to_vec(),
        content_type: None,
        source: None,
        digest: String::new(),
        news,
        enquiry_id: None,
        flagged: None,
    }
}

fn account(partner: PartnerId, provider: Provider, now: Instant) -> Account {
    Account {
        id: AccountId::new(now),
        partner_id: partner,
        provider,
        environment: "sandbox".to_owned(),
        shortcode: Some("600966".to_owned()),
        till_number: None,
        callback_token: "t".to_owned(),
        sealed_credentials: Vec::new(),
        created_at: now,
    }
}

fn c2b(trans_id: &str, shortcode: &str) -> StatusUpdate {
    let correlation = Correlation {
        receipt: Some(trans_id.to_owned()),
        ..Correlation::default()
    };
    StatusUpdate {
        api: Api::C2b,
        receipt: Some(trans_id.to_owned()),
        paid: Some(Amount(1_000)),
        payer: Some(Payer::Key("2547 ***** 126".to_owned())),
        account_reference: Some("INV-7".to_owned()),
        unregistered: Some(Unregistered {
            kind: Kind::C2b,
            amount: Amount(1_000),
            currency: Currency::kes(),
            shortcode: Some(shortcode.to_owned()),
        }),
        ..news(ResultClass::Success, correlation)
    }
}

fn clickpesa(order_reference: &str, id: &str, class: ResultClass, word: &str) -> StatusUpdate {
    let correlation = Correlation {
        order_reference: Some(order_reference.to_owned()),
        conversation_id: Some(id.to_owned()),
        ..Correlation::default()
    };
    StatusUpdate {
        api: Api::ClickpesaPayment,
        provider_status: Some(word.to_owned()),
        unregistered: Some(Unregistered {
            kind: Kind::UssdPush,
            amount: Amount(500_000),
            currency: Currency::tzs(),
            shortcode: None,
        }),
        ..news(class, correlation)
    }
}

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

/// A paid transaction "a" and a reversal "rev" of it.
fn reversal(book: &mut Book, linked: bool) -> (TransactionId, TransactionId) {
    let original = book.accepted("a");
    book.tell(success("a"));
    let reversal = book.register(Registration {
        kind: Kind::Reversal,
        original_id: linked.then_some(original),
        ..with_conversation(payment(book.partner, "rev"), "rev")
    });
    (original, reversal)
}

#[test]
fn a_reversal_takes_its_original_back_with_and_without_parameters() {
    for (linked, with_receipt) in [(true, false), (true, true), (false, true)] {
        let mut book = Book::new();
        let (original, reversal) = reversal(&mut book, linked);
        let mut update = success("rev");
        update.original_receipt = with_receipt.then(|| "Ra".to_owned());
        assert_eq!(book.tell(update.clone()), CallbackState::Applied);
        assert_eq!(book.get(reversal).status, Status::Success);
        assert_eq!(book.get(reversal).original_id, Some(original));
        let row = book.get(original).clone();
        assert_eq!(
            (row.status, row.reversed_at),
            (Status::Failed, Some(book.now))
        );
        assert_eq!(row.result_code, None, "0 would say that it stands");
        assert_eq!(
            book.events(original),
            [
                "transaction.registered",
                "transaction.success",
                "transaction.failed"
            ]
        );
        assert_eq!(book.tell(update), CallbackState::Duplicate);
        assert_eq!(*book.get(original), row);
    }
}

#[test]
fn a_reversal_of_a_receipt_that_two_rows_share_takes_the_prompt_back_and_tells_the_other() {
    // Hashing orders the rows anew in every book: one lucky pass would prove nothing.
    for _ in 0..16 {
        let mut book = Book::new();
        let confirmation = book.arrival(CallbackKind::C2bConfirmation, c2b("Ra", "600966"));
        assert_eq!(book.receive(confirmation), CallbackState::Applied);
        let twin = book.only().id;
        let prompt = book.accepted("a");
        assert_eq!(book.tell(success("a")), CallbackState::Applied);
        book.register(Registration {
            kind: Kind::Reversal,
            ..with_conversation(payment(book.partner, "r"), "AG_r")
        });
        let mut result = success("AG_r");
        result.original_receipt = Some("Ra".to_owned());
        assert_eq!(book.tell(result), CallbackState::Applied);
        assert_eq!(book.get(prompt).status, Status::Failed);
        assert_eq!(book.get(twin).status, Status::Success);
        let last = book.lines.iter().rfind(|line| line.transaction_id == twin);
        let note = last.unwrap().entry.note.clone().unwrap();
        assert!(note.contains("was reversed by"), "{note}");
    }
}

#[test]
fn a_status_query_answers_for_a_prompt_and_a_c2b_payment_though_its_ids_are_others() {
    let mut book = Book::new();
    let prompt = book.accepted("ws_CO_1");
    let answer = |by: Correlation, receipt: &str| StatusUpdate {
        api: Api::StatusQuery,
        receipt: Some(receipt.to_owned()),
        ..news(
            ResultClass::Success,
            Correlation {
                conversation_id: Some("AG_1".to_owned()),
                originator_conversation_id: Some("1234-5-1".to_owned()),
                receipt: Some(receipt.to_owned()),
                ..by
            },
        )
    };
    let by_path = Correlation {
        transaction_id: Some(prompt),
        ..Correlation::default()
    };
    assert_eq!(
        book.tell(answer(by_path, "RKT1")),
        CallbackState::Applied,
        "{:?}",
        book.lines
    );
    assert_eq!(book.get(prompt).status, Status::Success);
    assert_eq!(book.get(prompt).ids, conversation("ws_CO_1"));
    let confirmation = book.arrival(CallbackKind::C2bConfirmation, c2b("RKT2", "600966"));
    book.receive(confirmation);
    let state = book.tell(answer(Correlation::default(), "RKT2"));
    assert_eq!(state, CallbackState::Duplicate);
    let learned = |row: &Transaction| row.ids.originator_conversation_id.is_some();
    assert!(!book.transactions.values().any(learned));
    // A payout's ids are M-Pesa's own: there another id is another payment.
    let payout = book.register(Registration {
        kind: Kind::B2c,
        ..with_conversation(payment(book.partner, "b"), "AG_2")
    });
    let by_path = Correlation {
        transaction_id: Some(payout),
        ..Correlation::default()
    };
    assert_eq!(book.tell(answer(by_path, "RKT3")), CallbackState::Conflict);
}

#[test]
fn a_reversal_that_failed_or_names_nothing_moves_nothing_else() {
    let mut book = Book::new();
    let (original, _) = reversal(&mut book, true);
    book.tell(failure("rev", ResultClass::Failed, "R000001"));
    assert_eq!(book.get(original).status, Status::Success);

    let mut book = Book::new();
    let (original, reversal) = reversal(&mut book, false);
    book.tell(success("rev"));
    assert_eq!(book.get(original).status, Status::Success);
    assert_eq!(book.get(reversal).status, Status::Success);
    assert_eq!(
        book.timeline(reversal).last(),
        Some(&TimelineKind::Conflict)
    );
}

#[test]
fn a_reversal_of_a_confirmed_failure_is_a_conflict_on_it() {
    let mut book = Book::new();
    let original = book.accepted("a");
    book.tell(failure("a", ResultClass::Failed, "1"));
    book.register(Registration {
        kind: Kind::Reversal,
        original_id: Some(original),
        ..with_conversation(payment(book.partner, "rev"), "rev")
    });
    book.tell(success("rev"));
    assert_eq!(book.get(original).reversed_at, None);
    assert_eq!(
        book.timeline(original).last(),
        Some(&TimelineKind::Conflict)
    );
}

#[test]
fn a_reversal_of_a_stranger_is_refused() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let stranger = PartnerId::new(book.now);
    let outcome = book.one(register(Registration {
        kind: Kind::Reversal,
        original_id: Some(id),
        ..payment(stranger, "rev")
    }));
    assert_eq!(outcome, Outcome::Refused(Refusal::OriginalUnknown));
}

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
fn the_same_registration_again_is_the_same_transaction() {
    let mut book = Book::new();
    let first = Registration {
        ids: ProviderIds {
            conversation_id: Some("c".to_owned()),
            originator_conversation_id: Some("o".to_owned()),
            order_reference: None,
        },
        account_reference: Some("INV".to_owned()),
        tenant_id: Some("t".to_owned()),
        customer_id: Some("k".to_owned()),
        ..payment(book.partner, "a")
    };
    let id = book.register(first.clone());
    book.tell(success("c"));
    let (row, lines) = (book.get(id).clone(), book.lines.len());
    let again = book.one(register(first));
    assert_eq!(
        again,
        Outcome::Registered {
            transaction: Box::new(row),
            created: false
        }
    );
    assert_eq!(book.lines.len(), lines);
}

#[test]
fn ids_attached_later_do_not_make_the_same_registration_another() {
    let mut book = Book::new();
    let id = book.register(payment(book.partner, "a"));
    book.one(attach(book.partner, id, conversation("c")));
    let again = book.one(register(payment(book.partner, "a")));
    assert!(matches!(again, Outcome::Registered { created: false, .. }));
    let with_id = book.one(register(with_conversation(payment(book.partner, "a"), "c")));
    assert!(
        matches!(
            with_id,
            Outcome::Refused(Refusal::Reused {
                field: "conversation_id",
                ..
            })
        ),
        "the first did not carry it"
    );
}

#[test]
fn a_difference_in_any_field_is_named() {
    let mut book = Book::new();
    let original = book.accepted("original");
    let base = Registration {
        ids: ProviderIds {
            conversation_id: Some("c".to_owned()),
            originator_conversation_id: Some("o".to_owned()),
            order_reference: Some("r".to_owned()),
        },
        ..payment(book.partner, "a")
    };
    let id = book.register(base.clone());
    let change = |change: &dyn Fn(&mut Registration)| {
        let mut other = base.clone();
        change(&mut other);
        other
    };
    let text = || Some("other".to_owned());
    let others: [(&str, Registration); 13] = [
        ("provider", change(&|r| r.provider = Provider::Clickpesa)),
        ("kind", change(&|r| r.kind = Kind::B2c)),
        (
            "msisdn",
            change(&|r| r.msisdn = Msisdn::from_international("255712345678").ok()),
        ),
        ("amount", change(&|r| r.amount = Amount(1))),
        ("currency", change(&|r| r.currency = Currency::tzs())),
        ("origin", change(&|r| r.origin = "web".to_owned())),
        ("tenant_id", change(&|r| r.tenant_id = text())),
        ("customer_id", change(&|r| r.customer_id = text())),
        (
            "account_reference",
            change(&|r| r.account_reference = text()),
        ),
        (
            "original_transaction_id",
            change(&|r| r.original_id = Some(original)),
        ),
        ("conversation_id", change(&|r| r.ids.conversation_id = None)),
        (
            "originator_conversation_id",
            change(&|r| r.ids.originator_conversation_id = text()),
        ),
        ("order_reference", change(&|r| r.ids.order_reference = None)),
    ];
    for (field, other) in others {
        assert_eq!(
            book.one(register(other)),
            Outcome::Refused(Refusal::Reused {
                field,
                transaction_id: id
            })
        );
    }
    assert_eq!(book.sequences(), [1, 2]);
}

#[test]
fn an_id_that_another_transaction_holds_is_refused() {
    let mut book = Book::new();
    let (a, b) = (
        book.accepted("a"),
        book.register(payment(book.partner, "b")),
    );
    let held = Outcome::Refused(Refusal::Held {
        field: IdField::Conversation,
        transaction_id: a,
    });
    assert_eq!(
        book.one(register(with_conversation(payment(book.partner, "c"), "a"))),
        held
    );
    assert_eq!(book.one(attach(book.partner, b, conversation("a"))), held);
    assert_eq!(
        book.one(attach(book.partner, a, conversation("other"))),
        Outcome::Refused(Refusal::Fixed {
            field: IdField::Conversation
        })
    );
    let stranger = PartnerId::new(book.now);
    assert_eq!(
        book.one(attach(stranger, a, conversation("a"))),
        Outcome::Refused(Refusal::NotFound)
    );
    // In another field, or of another provider, the same text is another id.
    assert!(matches!(
        book.one(attach(book.partner, b, order("a"))),
        Outcome::Attached(_)
    ));
}

#[test]
fn attaching_the_same_again_changes_nothing() {
    let mut book = Book::new();
    let id = book.register(payment(book.partner, "a"));
    book.one(attach(book.partner, id, conversation("c")));
    let (row, lines) = (book.get(id).clone(), book.lines.len());
    let again = book.one(attach(book.partner, id, conversation("c")));
    assert_eq!(again, Outcome::Attached(Box::new(row)));
    assert_eq!(book.lines.len(), lines);
    book.one(attach(book.partner, id, order("r")));
    assert_eq!(book.timeline(id).last(), Some(&TimelineKind::IdsAttached));
    assert_eq!(book.events(id).len(), 2);
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
fn a_c2b_confirmation_makes_its_transaction_once() {
    let mut book = Book::new();
    for state in [CallbackState::Applied, CallbackState::Duplicate] {
        let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"));
        assert_eq!(book.receive(told), state);
    }
    let row = book.only().clone();
    assert_eq!((row.kind, row.status), (Kind::C2b, Status::Success));
    assert_eq!(row.receipt.as_deref(), Some("TX1"));
    assert_eq!((row.amount, row.paid), (Amount(1_000), Some(Amount(1_000))));
    assert_eq!(row.msisdn, None);
    assert_eq!(row.payer_key.as_deref(), Some("2547 ***** 126"));
    assert_eq!(row.account_reference.as_deref(), Some("INV-7"));
    assert_eq!(row.origin, PROVIDER_ORIGIN);
    assert_eq!(
        book.events(row.id),
        ["transaction.registered", "transaction.success"]
    );

    let mut book = Book::new();
    let twice =
        [0, 1].map(|_| callback(book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"))));
    book.run(twice);
    assert_eq!(book.only().status, Status::Success);
}

#[test]
fn a_c2b_confirmation_to_another_shortcode_makes_nothing() {
    let mut book = Book::new();
    let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "123456"));
    assert_eq!(book.receive(told), CallbackState::Unmatched);
    assert!(book.transactions.is_empty() && book.lines.is_empty());
}

#[test]
fn a_c2b_confirmation_of_a_known_receipt_is_a_duplicate_of_the_prompt() {
    let mut book = Book::new();
    let id = book.accepted("a");
    let mut paid = success("a");
    paid.receipt = Some("TX1".to_owned());
    book.tell(paid);
    let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"));
    assert_eq!(book.receive(told), CallbackState::Duplicate);
    assert_eq!(book.only().id, id);
}

#[test]
fn a_prompt_whose_receipt_came_first_as_c2b_stays_a_row_of_its_own_and_both_say_so() {
    let mut book = Book::new();
    let prompt = book.accepted("a");
    let told = book.arrival(CallbackKind::C2bConfirmation, c2b("TX1", "600966"));
    book.receive(told);
    let mut paid = success("a");
    paid.receipt = Some("TX1".to_owned());
    assert_eq!(book.tell(paid), CallbackState::Applied);
    assert_eq!(book.transactions.len(), 2);
    for id in book.transactions.keys().map(|(_, id)| *id) {
        assert_eq!(book.timeline(id).last(), Some(&TimelineKind::Conflict));
    }
    assert_eq!(book.get(prompt).status, Status::Success);
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

#[test]
fn events_are_numbered_without_a_gap_for_each_partner() {
    let mut book = Book::new();
    let stranger = PartnerId::new(book.now);
    book.run([
        register(payment(book.partner, "a")),
        register(payment(stranger, "a")),
        register(payment(book.partner, "a")),
        register(with_conversation(payment(book.partner, "b"), "b")),
        callback(book.arrival(CallbackKind::Stk, success("b"))),
    ]);
    book.tell(failure("b", ResultClass::Failed, "1"));
    book.accepted("c");
    for partner in [book.partner, stranger] {
        let sequences: Vec<i64> = book
            .lines
            .iter()
            .filter_map(|line| line.event.as_ref())
            .filter(|event| event.partner_id == partner)
            .map(|event| event.sequence)
            .collect();
        let last = book.last_sequences[&partner];
        assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    }
    assert_eq!(book.last_sequences[&stranger], 1);
}

#[test]
fn each_endpoint_gets_one_delivery_for_each_event_it_wants() {
    let mut book = Book::new();
    let stranger = PartnerId::new(book.now);
    let now = book.now;
    let endpoint = |partner_id, events: &[&str]| EndpointFacts {
        id: crate::domain::identity::EndpointId::new(now),
        partner_id,
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        transaction_id: None,
    };
    book.endpoints = vec![
        endpoint(book.partner, &[]),
        endpoint(book.partner, &["transaction.success", "transaction.failed"]),
        endpoint(stranger, &[]),
    ];
    book.accepted("a");
    book.tell(success("a"));
    book.tell(success("a"));
    let told = |index: usize| -> Vec<i64> {
        book.deliveries
            .iter()
            .filter(|delivery| delivery.endpoint_id == book.endpoints[index].id)
            .map(|delivery| delivery.sequence)
            .collect()
    };
    assert_eq!(told(0), [1, 2]);
    assert_eq!(told(1), [2]);
    assert!(told(2).is_empty());
}

#[test]
fn an_event_is_frozen_at_the_moment_of_the_change() {
    let mut book = Book::new();
    let id = book.accepted("a");
    book.tell(success("a"));
    book.tell(returned("a"));
    let events: Vec<&StatusEvent> = book
        .lines
        .iter()
        .filter_map(|line| line.event.as_ref())
        .collect();
    assert_eq!(events[0].receipt, None);
    assert_eq!(events[1].receipt.as_deref(), Some("Ra"));
    assert_eq!(
        (events[1].status, events[1].reversed_at),
        (Status::Success, None)
    );
    assert_eq!(events[2].reversed_at, book.get(id).reversed_at);
    assert!(events.iter().all(|event| event.amount == Amount(120_000)));
}

/// Callbacks that do not contradict one another, by number.
fn consistent(number: usize) -> StatusUpdate {
    let mut update = match number {
        0 => failure("a", ResultClass::Pending, "4999"),
        1 => failure("a", ResultClass::Unknown, "77"),
        2 => failure("a", ResultClass::Unconfirmed, "1037"),
        3 => success("a"),
        _ => StatusUpdate {
            receipt: None,
            paid: None,
            ..success("a")
        },
    };
    update.correlation.originator_conversation_id = Some("o".to_owned());
    update
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever arrives in whatever order, however often, before or after the registration, in batches of any size:
    /// the row ends the same, and nobody is told twice.
    #[test]
    fn any_order_of_consistent_callbacks_ends_the_same(
        order in proptest::collection::vec(0_usize..5, 0..12),
        register_at in 0_usize..12,
        batch in 1_usize..5,
        with_timeouts in any::<bool>(),
    ) {
        let mut book = Book::new();
        let mut commands: Vec<Command> = order
            .iter()
            // The success is always among them, so that all orders have the same end.
            .chain(&[3])
            .map(|number| callback(book.arrival(CallbackKind::Stk, consistent(*number))))
            .collect();
        if with_timeouts {
            let timeout = News::Timeout(by_conversation("a"));
            commands.push(callback(arrival(book.partner, CallbackKind::B2cTimeout, timeout, book.now)));
        }
        let place = register_at.min(commands.len());
        commands.insert(place, register(with_conversation(payment(book.partner, "a"), "a")));
        for chunk in commands.chunks(batch) {
            book.run(chunk.to_vec());
        }
        let row = book.only();
        prop_assert_eq!(row.status, Status::Success);
        prop_assert_eq!(row.result_code.as_deref(), Some("0"));
        prop_assert_eq!(row.receipt.as_deref(), Some("Ra"));
        prop_assert_eq!(row.paid, Some(Amount(120_000)));
        prop_assert!(!row.unconfirmed && row.reversed_at.is_none());
        prop_assert_eq!(book.ask_at[&row.id], None);
        prop_assert!(book.waiting.is_empty());
        // Registered and success; in between at most the unconfirmed failure.
        let late = order.iter().take_while(|number| **number < 3).any(|number| *number == 2);
        let events = book.events(row.id);
        prop_assert_eq!(events.len(), if late { 3 } else { 2 });
        prop_assert_eq!(book.sequences(), (1..).take(events.len()).collect::<Vec<i64>>());
    }
}
