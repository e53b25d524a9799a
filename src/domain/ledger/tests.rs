//! The rules, told as stories: a book stands in for the store, a batch of commands is one `run`.

mod answers;
mod any_order;
mod balances;
mod c2b;
mod early;
mod events;
mod import;
mod matching;
mod moves;
mod read_again;
mod register;
mod reversals;

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
