//! What the simulator did, so that a test can hold it against what the service believes: every payment that
//! was made or turned away, how often it was asked for, what was posted about it, and the truth.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::faults::Fault;
use super::world::{Recent, locked};

/// How many payments the ledger shows; the oldest are forgotten, and counted as such.
pub const LEDGER_PAYMENTS: usize = 100_000;

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// In the order of arrival.
    pub payments: Vec<LedgerPayment>,
    /// How many older payments are no longer shown.
    pub forgotten: u64,
    /// Requests by method and path.
    pub requests: BTreeMap<String, LedgerRequests>,
    /// Token requests by account (consumer key or client id).
    pub token_requests: BTreeMap<String, u64>,
}

/// How often a path was asked, and with what success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRequests {
    /// Requests that arrived.
    pub received: u64,
    /// Answers by status code; a connection that was cut counts under the code it would have had.
    pub answered: BTreeMap<u16, u64>,
}

/// One payment, made or turned away.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct LedgerPayment {
    /// 1, 2, 3 …
    pub number: u64,
    /// `mpesa` or `clickpesa`.
    pub provider: Cow<'static, str>,
    /// The consumer key or client id.
    pub account: String,
    /// `stk_push`, `b2c`, `c2b`, `reversal`, `ussd_push` or `payout`.
    pub kind: Cow<'static, str>,
    /// The payer's or the receiver's number, whole; of a reversal, that of the payment taken back.
    pub msisdn: String,
    /// What was asked for, as a decimal number.
    pub amount_asked: String,
    /// What was paid, if it was.
    pub amount_paid: Option<String>,
    /// True if money was or will be asked for: false if the request was turned away.
    pub made: bool,
    /// What became of it in truth, whatever was told.
    pub truth: Truth,
    /// The provider's names for it.
    #[serde(flatten)]
    pub ids: LedgerIds,
    /// The path of the URL that its callback goes to, where the request names one.
    pub callback_path: Option<String>,
    /// How many requests came with the same idempotency id, this one among them; 0 without such an id.
    pub received_with_same_id: u64,
    /// How many requests came with the same callback path, this one among them; 0 without such a path.
    pub received_with_same_callback_path: u64,
    /// The answers to the callbacks posted about it, in order; `null` where none came.
    pub callbacks: Vec<Option<u16>>,
    /// The faults that were done to it.
    pub faults: Vec<Fault>,
}

/// What a payment is called.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerIds {
    /// STK push.
    pub checkout_request_id: Option<String>,
    /// STK push.
    pub merchant_request_id: Option<String>,
    /// B2C (the caller's own in v3) and reversal.
    pub originator_conversation_id: Option<String>,
    /// B2C and reversal.
    pub conversation_id: Option<String>,
    /// ClickPesa.
    pub order_reference: Option<String>,
    /// ClickPesa's own id.
    pub provider_id: Option<String>,
    /// M-Pesa's receipt, or ClickPesa's payment reference.
    pub receipt: Option<String>,
}

/// What became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// Turned away: nothing was made.
    #[default]
    NotMade,
    /// Under way.
    Pending,
    /// Paid.
    Success,
    /// Not paid, for good.
    Failed,
    /// Paid and taken back.
    Reversed,
    /// Not even the provider knows.
    Unknown,
}

impl fmt::Debug for LedgerPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Number and ids are left out: a checkout request id has the number in it.
        f.debug_struct("LedgerPayment")
            .field("number", &self.number)
            .field("kind", &self.kind)
            .field("amount_asked", &self.amount_asked)
            .field("truth", &self.truth)
            .field("callbacks", &self.callbacks)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl LedgerPayment {
    /// The id that the caller chose and that a repeat would carry.
    fn idempotency_id(&self) -> Option<&str> {
        match self.kind.as_ref() {
            "b2c" => self.ids.originator_conversation_id.as_deref(),
            _ => self.ids.order_reference.as_deref(),
        }
    }
}

impl Ledger {
    /// Callback paths and idempotency ids under which more than one payment was made: each is somebody who
    /// paid twice, if the service has a path of its own for every payment.
    pub fn made_more_than_once(&self) -> Vec<String> {
        let mut made: BTreeMap<String, u64> = BTreeMap::new();
        for payment in self.payments.iter().filter(|payment| payment.made) {
            let path = payment.callback_path.as_deref();
            for name in [path, payment.idempotency_id()].into_iter().flatten() {
                let key = format!("{} {} {name}", payment.account, payment.kind);
                *made.entry(key).or_default() += 1;
            }
        }
        made.retain(|_, count| *count > 1);
        made.into_keys().collect()
    }
}

/// The ledger as it is written.
pub(super) struct Book {
    pages: Mutex<Pages>,
    limit: usize,
}

#[derive(Default)]
struct Pages {
    payments: VecDeque<LedgerPayment>,
    count: u64,
    received: Recent<u64>,
    requests: HashMap<String, LedgerRequests>,
    token_requests: Recent<u64>,
}

/// What a request for money says about itself.
pub(super) struct Order<'a> {
    pub(super) provider: &'static str,
    pub(super) kind: &'static str,
    pub(super) account: &'a str,
    pub(super) msisdn: &'a str,
    pub(super) amount: String,
    /// The idempotency id, if the caller chose one.
    pub(super) id: Option<&'a str>,
    pub(super) callback_url: Option<&'a str>,
}

impl Order<'_> {
    fn path(&self) -> Option<String> {
        let url: reqwest::Url = self.callback_url?.parse().ok()?;
        Some(url.path().to_owned())
    }

    fn id_key(&self) -> Option<String> {
        Some(format!("{}/{}/id/{}", self.account, self.kind, self.id?))
    }
}

impl Book {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            pages: Mutex::default(),
            limit,
        }
    }

    /// Counts a request, whatever becomes of it.
    pub(super) fn received(&self, order: &Order<'_>) {
        let path = order
            .path()
            .map(|path| path_key(order.account, order.kind, &path));
        let mut pages = locked(&self.pages);
        for key in [order.id_key(), path].into_iter().flatten() {
            let count = pages.received.find(&key).copied().unwrap_or(0);
            pages.received.insert(key, count.saturating_add(1));
        }
    }

    /// Opens an entry, as not made, and returns its number.
    pub(super) fn open(&self, order: &Order<'_>) -> u64 {
        let mut pages = locked(&self.pages);
        pages.count += 1;
        let mut ids = LedgerIds::default();
        match order.provider {
            "mpesa" => ids.originator_conversation_id = order.id.map(str::to_owned),
            _ => ids.order_reference = order.id.map(str::to_owned),
        }
        let payment = LedgerPayment {
            number: pages.count,
            provider: Cow::Borrowed(order.provider),
            account: order.account.to_owned(),
            kind: Cow::Borrowed(order.kind),
            msisdn: order.msisdn.to_owned(),
            amount_asked: order.amount.clone(),
            callback_path: order.path(),
            ids,
            ..LedgerPayment::default()
        };
        pages.payments.push_back(payment);
        if pages.payments.len() > self.limit {
            pages.payments.pop_front();
        }
        pages.count
    }

    /// The payment was made, under these names.
    pub(super) fn made(&self, number: u64, ids: LedgerIds) {
        self.change(number, |payment| {
            payment.made = true;
            payment.truth = Truth::Pending;
            payment.ids = ids;
        });
    }

    /// What became of it, and what was paid if it succeeded.
    pub(super) fn settle(&self, number: u64, truth: Truth, paid: &str) {
        self.change(number, |payment| {
            payment.truth = truth;
            payment.amount_paid = (truth == Truth::Success).then(|| paid.to_owned());
        });
    }

    pub(super) fn posted(&self, number: u64, answer: Option<u16>) {
        self.change(number, |payment| payment.callbacks.push(answer));
    }

    pub(super) fn struck(&self, number: u64, fault: Fault) {
        self.change(number, |payment| {
            if !payment.faults.contains(&fault) {
                payment.faults.push(fault);
            }
        });
    }

    pub(super) fn token_requested(&self, account: &str) {
        let mut pages = locked(&self.pages);
        let count = pages.token_requests.find(account).copied().unwrap_or(0);
        pages
            .token_requests
            .insert(account.to_owned(), count.saturating_add(1));
    }

    /// A request arrived; `path` is a pattern, so that there are only so many.
    pub(super) fn arrived(&self, path: &str) {
        let mut pages = locked(&self.pages);
        pages.requests.entry(path.to_owned()).or_default().received += 1;
    }

    pub(super) fn answered(&self, path: &str, status: u16) {
        let mut pages = locked(&self.pages);
        let requests = pages.requests.entry(path.to_owned()).or_default();
        *requests.answered.entry(status).or_default() += 1;
    }

    /// Everything after payment number `after`, at most `limit` payments, of one account if it is named.
    pub(super) fn read(&self, account: Option<&str>, after: u64, limit: usize) -> Ledger {
        let pages = locked(&self.pages);
        let payments = pages
            .payments
            .iter()
            .filter(|payment| payment.number > after)
            .filter(|payment| account.is_none_or(|account| account == payment.account))
            .take(limit)
            .map(|payment| pages.counted(payment.clone()))
            .collect();
        let shown = u64::try_from(pages.payments.len()).unwrap_or(u64::MAX);
        Ledger {
            payments,
            forgotten: pages.count.saturating_sub(shown),
            requests: pages.requests.clone().into_iter().collect(),
            token_requests: pages
                .token_requests
                .iter()
                .map(|(account, count)| (account.to_owned(), *count))
                .collect(),
        }
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut LedgerPayment)) {
        let mut pages = locked(&self.pages);
        let first = pages.payments.front().map_or(0, |first| first.number);
        let at = number
            .checked_sub(first)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(payment) = at.and_then(|at| pages.payments.get_mut(at)) {
            change(payment);
        }
    }
}

impl Pages {
    fn counted(&self, mut payment: LedgerPayment) -> LedgerPayment {
        let (account, kind) = (&payment.account, payment.kind.as_ref());
        let count = |key: String| self.received.find(&key).copied().unwrap_or(0);
        payment.received_with_same_id = payment
            .idempotency_id()
            .map_or(0, |id| count(format!("{account}/{kind}/id/{id}")));
        payment.received_with_same_callback_path = payment
            .callback_path
            .as_deref()
            .map_or(0, |path| count(path_key(account, kind, path)));
        payment
    }
}

fn path_key(account: &str, kind: &str, path: &str) -> String {
    format!("{account}/{kind}/path/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order<'a>(id: &'a str, url: &'a str) -> Order<'a> {
        Order {
            provider: "mpesa",
            kind: "b2c",
            account: "key",
            msisdn: "254712345678",
            amount: "120".to_owned(),
            id: Some(id),
            callback_url: Some(url),
        }
    }

    #[test]
    fn a_ledger_forgets_its_oldest_payments_and_says_so() {
        let book = Book::new(3);
        for id in ["a", "b", "c", "d", "e"] {
            let number = book.open(&order(id, "http://localhost/x"));
            book.made(number, LedgerIds::default());
            book.settle(number, Truth::Success, "120");
        }
        book.settle(1, Truth::Failed, "");
        let ledger = book.read(None, 0, 10);
        let numbers: Vec<u64> = ledger
            .payments
            .iter()
            .map(|payment| payment.number)
            .collect();
        assert_eq!((numbers, ledger.forgotten), (vec![3, 4, 5], 2));
        assert!(ledger.payments.iter().all(|p| p.truth == Truth::Success));
        assert_eq!(book.read(None, 4, 10).payments.len(), 1);
        assert_eq!(book.read(None, 0, 1).payments.len(), 1);
        assert_eq!(book.read(Some("other"), 0, 10).payments.len(), 0);
    }

    #[test]
    fn two_payments_with_one_callback_path_are_found() {
        let book = Book::new(10);
        for (id, url) in [("a", "http://localhost/1"), ("b", "http://localhost/2")] {
            let order = order(id, url);
            book.received(&order);
            let number = book.open(&order);
            book.made(number, LedgerIds::default());
        }
        assert_eq!(book.read(None, 0, 10).made_more_than_once(), [""; 0]);
        let again = order("c", "http://elsewhere/2?x=1");
        book.received(&again);
        let number = book.open(&again);
        assert_eq!(book.read(None, 0, 10).made_more_than_once(), [""; 0]);
        book.made(number, LedgerIds::default());
        let ledger = book.read(None, 0, 10);
        assert_eq!(ledger.made_more_than_once(), ["key b2c /2"]);
        assert_eq!(ledger.payments[1].received_with_same_callback_path, 2);
    }

    #[test]
    fn a_ledger_never_prints_a_number() {
        let book = Book::new(10);
        book.open(&order("a", "http://localhost/1"));
        assert!(!format!("{:?}", book.read(None, 0, 10)).contains("2547"));
    }
}
