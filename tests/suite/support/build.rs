//! Words to make partners, payments and callbacks with, and short ways to tell a store about them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ussd_status::domain::account::Account;
use ussd_status::domain::clock::Instant;
use ussd_status::domain::delivery::{ClaimedDelivery, Endpoint, Message, Pace};
use ussd_status::domain::identity::{
    AccountId, CallbackId, EndpointId, KeyId, PartnerId, TransactionId,
};
use ussd_status::domain::ledger::{
    Arrival, Attachment, CallbackState, Command, Outcome, Registration,
};
use ussd_status::domain::money::{Amount, Currency};
use ussd_status::domain::msisdn::Msisdn;
use ussd_status::domain::partner::{ApiKey, Partner, Scope};
use ussd_status::domain::search::{Filter, Position, Search};
use ussd_status::domain::status_update::{
    Api, CallbackKind, Correlation, News, ResultClass, StatusUpdate,
};
use ussd_status::domain::timeline::{StatusEvent, TimelineEntry};
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds, Transaction};
use ussd_status::store::{Actor, Audit, Listing};

use super::TestStore;

/// The event that a claimed delivery tells.
pub fn event_of(delivery: &ClaimedDelivery) -> &StatusEvent {
    match &delivery.message {
        Message::Event(event) => event,
        Message::Disabled(notice) => panic!("{notice:?}"),
    }
}

static NEXT: AtomicU32 = AtomicU32::new(1);

fn next() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A line for the audit log.
pub fn audit() -> Audit {
    Actor::new("test").audit("test", None, "test")
}

/// A partner.
pub fn partner(now: Instant) -> Partner {
    Partner {
        id: PartnerId::new(now),
        name: "Kilimo".to_owned(),
        currency: Currency::kes(),
        suspended: false,
        created_at: now,
    }
}

/// A key of a partner.
pub fn key(partner: PartnerId, now: Instant) -> ApiKey {
    ApiKey {
        id: KeyId::new(now),
        partner_id: partner,
        prefix: "usk_".to_owned(),
        digest: format!("digest {}", next()),
        scopes: Scope::DEFAULT.to_vec(),
        expires_at: None,
        revoked_at: None,
        created_at: now,
    }
}

/// An account of a partner, shortcode 600966.
pub fn account(partner: PartnerId, provider: Provider, now: Instant) -> Account {
    Account {
        id: AccountId::new(now),
        partner_id: partner,
        provider,
        environment: "sandbox".to_owned(),
        shortcode: Some("600966".to_owned()),
        till_number: None,
        callback_token: format!("token{}", next()),
        sealed_credentials: vec![0, 1, 254, 255],
        created_at: now,
    }
}

/// An endpoint that wants `events` (none named: all).
pub fn endpoint(partner: PartnerId, events: &[&str], now: Instant) -> Endpoint {
    Endpoint {
        id: EndpointId::new(now),
        partner_id: partner,
        url: "https://partner.example/hook".to_owned(),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        description: None,
        sealed_secret: vec![1, 2, 3],
        disabled_at: None,
        transaction_id: None,
        previous_secret: None,
        failing_since: None,
        pace: Pace::default(),
        public_key: None,
        created_at: now,
    }
}

/// A number by its last digits.
pub fn msisdn(number: u32) -> Msisdn {
    Msisdn::from_international(&format!("2547{number:08}")).unwrap()
}

/// An STK push of 1,200.00 KES without provider ids.
pub fn registration(partner: PartnerId, client_request_id: &str) -> Registration {
    Registration {
        partner_id: partner,
        client_request_id: Some(client_request_id.to_owned()),
        provider: Provider::Mpesa,
        kind: Kind::StkPush,
        origin: "ussd".to_owned(),
        ids: ProviderIds::default(),
        msisdn: Some(msisdn(12_345_678)),
        amount: Amount(120_000),
        currency: Currency::kes(),
        account_reference: None,
        tenant_id: None,
        customer_id: None,
        original_id: None,
        intent: None,
    }
}

/// The same with a CheckoutRequestID.
pub fn registration_with(
    partner: PartnerId,
    client_request_id: &str,
    conversation_id: &str,
) -> Registration {
    Registration {
        ids: conversation(conversation_id),
        ..registration(partner, client_request_id)
    }
}

/// Nothing but a conversation id.
pub fn conversation(id: &str) -> ProviderIds {
    ProviderIds {
        conversation_id: Some(id.to_owned()),
        ..ProviderIds::default()
    }
}

/// News that names a payment by its conversation id.
pub fn update(conversation_id: &str, class: ResultClass) -> StatusUpdate {
    let correlation = Correlation {
        conversation_id: Some(conversation_id.to_owned()),
        ..Correlation::default()
    };
    let mut update = StatusUpdate::new(Api::Stk, class, correlation);
    match class {
        ResultClass::Success => {
            update.result_code = Some("0".to_owned());
            update.result_description = Some("The service request is processed.".to_owned());
            update.receipt = Some(format!("R{conversation_id}"));
        }
        ResultClass::Failed => update.result_code = Some("1032".to_owned()),
        ResultClass::Unconfirmed => update.result_code = Some("1037".to_owned()),
        ResultClass::Pending => update.result_code = Some("4999".to_owned()),
        ResultClass::Unknown => update.result_code = Some("77".to_owned()),
    }
    update
}

/// A callback to a partner's own token.
pub fn arrival(partner: PartnerId, kind: CallbackKind, news: News, now: Instant) -> Arrival {
    Arrival {
        id: CallbackId::new(now),
        partner_id: Some(partner),
        account: None,
        provider: kind.provider(),
        kind,
        received_at: now,
        body: b"{\"Body\":\"\xf0\x9f\x92\xb0\"}".to_vec(),
        content_type: Some("application/json".to_owned()),
        source: Some("196.201.214.200".to_owned()),
        digest: "00".repeat(32),
        news,
        enquiry_id: None,
        flagged: None,
    }
}

/// An STK result for a CheckoutRequestID.
pub fn stk(partner: PartnerId, conversation_id: &str, class: ResultClass, now: Instant) -> Arrival {
    arrival(
        partner,
        CallbackKind::Stk,
        News::Payment(Box::new(update(conversation_id, class))),
        now,
    )
}

/// The first page of everything, with statistics.
pub fn everything() -> Search {
    search(Filter::default())
}

/// The first page of what a filter matches, with statistics.
pub fn search(filter: Filter) -> Search {
    Search {
        filter,
        limit: 50,
        position: Position::Offset(0),
        with_statistics: true,
    }
}

impl TestStore {
    /// A new partner with a key.
    pub async fn partner(&self) -> PartnerId {
        let partner = partner(self.now());
        let id = partner.id;
        self.store
            .insert_partner(partner, key(id, self.now()), audit())
            .await
            .unwrap();
        id
    }

    /// A new M-Pesa account.
    pub async fn account(&self, partner: PartnerId) -> Arc<Account> {
        let account = account(partner, Provider::Mpesa, self.now());
        self.store
            .insert_account(account.clone(), audit())
            .await
            .unwrap();
        Arc::new(account)
    }

    /// A new endpoint that wants `events` (none named: all).
    pub async fn endpoint(&self, partner: PartnerId, events: &[&str]) -> EndpointId {
        let endpoint = endpoint(partner, events, self.now());
        let id = endpoint.id;
        self.store.insert_endpoint(endpoint, audit()).await.unwrap();
        id
    }

    /// Carries out a command.
    pub async fn record(&self, command: Command) -> Outcome {
        self.store.record(command).await.unwrap()
    }

    /// Registers what must be new.
    pub async fn register(&self, registration: Registration) -> Transaction {
        match self.try_register(registration).await {
            Outcome::Registered {
                transaction,
                created: true,
            } => *transaction,
            other => panic!("not registered: {other:?}"),
        }
    }

    /// Registers, whatever comes of it.
    pub async fn try_register(&self, registration: Registration) -> Outcome {
        self.record(Command::Register(Box::new(registration))).await
    }

    /// Attaches provider ids.
    pub async fn attach(&self, of: &Transaction, ids: ProviderIds) -> Outcome {
        self.record(Command::Attach(Attachment {
            partner_id: of.partner_id,
            transaction_id: of.id,
            ids,
        }))
        .await
    }

    /// Receives a callback.
    pub async fn receive(&self, arrival: Arrival) -> CallbackState {
        match self.record(Command::Callback(Box::new(arrival))).await {
            Outcome::Recorded(state) => state,
            other => panic!("not recorded: {other:?}"),
        }
    }

    /// A transaction and its timeline as they stand.
    pub async fn find(&self, of: &Transaction) -> (Transaction, Vec<TimelineEntry>) {
        self.find_id(of.partner_id, of.id).await.unwrap()
    }

    /// A transaction and its timeline, if there is one.
    pub async fn find_id(
        &self,
        partner: PartnerId,
        id: TransactionId,
    ) -> Option<(Transaction, Vec<TimelineEntry>)> {
        self.store.find_transaction(partner, id).await.unwrap()
    }

    /// A page.
    pub async fn list(&self, partner: PartnerId, search: Search) -> Listing {
        self.store
            .list_transactions(partner, search, self.now())
            .await
            .unwrap()
    }
}
