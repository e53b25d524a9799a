//! Random orders of every kind, by every route, with and without an idempotency key; and how their client behaves.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use ussd_status::simulator::ENDINGS;

use crate::support::paying::PAYMENTS;

/// How a client sends an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Once.
    Once,
    /// Once more after the answer.
    Again,
    /// Hangs up after so many milliseconds, and repeats until it has an answer.
    Impatient(u64),
    /// Twice at the same time.
    Twice,
}

/// One order as its client sends it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where to.
    pub path: &'static str,
    /// What.
    pub body: Value,
    /// The idempotency key, if it stands in the header.
    pub header: Option<String>,
    /// Whether it has an idempotency key at all.
    pub has_key: bool,
    /// How.
    pub manner: Manner,
}

/// The maker of orders.
pub struct Orders {
    random: StdRng,
    made: u64,
}

impl Orders {
    /// The same seed makes the same orders.
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            made: 0,
        }
    }

    /// A payment from nothing: each has a number of its own.
    pub fn payment(&mut self) -> Order {
        let kind = ["stk_push", "b2c", "ussd_push", "payout"]
            .choose(&mut self.random)
            .unwrap();
        let is_mpesa = matches!(*kind, "stk_push" | "b2c");
        let msisdn = self.number(if is_mpesa { "254" } else { "255" });
        let amount = self.random.random_range(10..5_000_u32);
        let by_one_call = self.random.random_bool(0.5);
        let key = format!("{}{:08x}", kind[..1].to_uppercase(), self.made);
        let mut order = match (*kind, by_one_call) {
            (_, true) => self.order(
                PAYMENTS,
                json!({
                    "provider": if is_mpesa { "mpesa" } else { "clickpesa" }, "kind": kind,
                    "msisdn": msisdn, "amount": amount,
                }),
            ),
            ("stk_push", _) => self.order(
                "/api/v1/mpesa/stk-push",
                json!({"phoneNumber": msisdn, "amount": amount, "accountReference": "RENT",
                    "transactionDesc": "Rent", "leaseId": "lease-1"}),
            ),
            ("b2c", _) => self.order(
                "/api/v1/mpesa/b2c",
                json!({"phoneNumber": msisdn, "amount": amount, "purpose": "refund",
                    "remarks": "Refund"}),
            ),
            ("ussd_push", _) if self.random.random_bool(0.5) => self.order(
                "/api/v1/clickpesa/initiate-ussd-push",
                json!({"msisdn": msisdn, "amount": amount, "currency": "TZS",
                    "reference": format!("Rent {}", self.made), "provider": "TIGO"}),
            ),
            ("ussd_push", _) => {
                let path = "/api/v1/clickpesa/payments/initiate-ussd-push-request";
                return self.native(path, &key, &msisdn, amount);
            }
            _ => {
                let path = "/api/v1/clickpesa/payouts/create-mobile-money-payout";
                return self.native(path, &key, &msisdn, amount);
            }
        };
        let is_prompt = matches!(*kind, "stk_push" | "ussd_push");
        if !is_prompt || self.random.random_bool(0.7) {
            self.give_key(&mut order, key);
        }
        order
    }

    /// A payment taken back, whole.
    pub fn reversal(&mut self, of: &str, amount: &str) -> Order {
        self.made += 1;
        let amount: Value = serde_json::from_str(amount).unwrap();
        let mut order = if self.random.random_bool(0.5) {
            self.order(
                PAYMENTS,
                json!({"provider": "mpesa", "kind": "reversal", "amount": amount,
                    "original_transaction_id": of, "remarks": "Wrong customer"}),
            )
        } else {
            self.order(
                "/api/v1/mpesa/reverse",
                json!({"transactionId": of, "amount": amount, "remarks": "Wrong customer"}),
            )
        };
        let key = format!("R{:08x}", self.made);
        self.give_key(&mut order, key);
        order
    }

    /// Whether something that happens so often happens now.
    pub fn chance(&mut self, share: f64) -> bool {
        self.random.random_bool(share)
    }

    fn order(&mut self, path: &'static str, body: Value) -> Order {
        let manner = match self.random.random_range(0..10) {
            0..5 => Manner::Once,
            5..7 => Manner::Again,
            7..9 => Manner::Impatient(self.random.random_range(0..60)),
            _ => Manner::Twice,
        };
        Order {
            path,
            body,
            header: None,
            has_key: false,
            manner,
        }
    }

    /// ClickPesa's own shape: the order reference is the key.
    fn native(&mut self, path: &'static str, key: &str, msisdn: &str, amount: u32) -> Order {
        let amount = match path.contains("payout") {
            true => json!(amount),
            false => json!(amount.to_string()),
        };
        let body = json!({"amount": amount, "currency": "TZS", "orderReference": key,
            "phoneNumber": msisdn});
        let mut order = self.order(path, body);
        order.has_key = true;
        order
    }

    fn give_key(&mut self, order: &mut Order, key: String) {
        order.has_key = true;
        if self.random.random_bool(0.5) {
            order.header = Some(key);
        } else {
            order.body["client_request_id"] = json!(key);
        }
    }

    /// One in three has a documented ending.
    fn number(&mut self, country: &str) -> String {
        self.made += 1;
        let is_documented = |ending: &str| ENDINGS.iter().any(|one| one.code == ending);
        let ending = if self.random.random_bool(0.33) {
            ENDINGS.choose(&mut self.random).unwrap().code.to_owned()
        } else {
            loop {
                let ending = format!("{:04}", self.random.random_range(0..10_000));
                if !is_documented(&ending) {
                    break ending;
                }
            }
        };
        format!("{country}7{:04}{ending}", self.made % 10_000)
    }
}
