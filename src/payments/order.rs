//! What a partner orders, checked already, and the digest by which the same order is known again.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::domain::delivery::Endpoint;
use crate::domain::identity::{AccountId, PartnerId, TransactionId, hex};
use crate::domain::ledger::Registration;
use crate::domain::money::{Amount, Currency};
use crate::domain::msisdn::Msisdn;
use crate::domain::payment::Intent;
use crate::domain::transaction::{Kind, Provider, ProviderIds};
use crate::providers::payment_provider::Purpose;

/// A payment to be started.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its id, chosen before anything is written.
    pub transaction_id: TransactionId,
    /// Whose.
    pub partner_id: PartnerId,
    /// At which provider.
    pub provider: Provider,
    /// What it is.
    pub kind: Kind,
    /// Through which account, if the partner has several.
    pub account_id: Option<AccountId>,
    /// The idempotency key.
    pub client_request_id: Option<String>,
    /// The customer; unknown only of a reversal.
    pub msisdn: Option<Msisdn>,
    /// How much, in minor units.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
    /// Where it started.
    pub origin: String,
    /// What the payer sees as reference.
    pub account_reference: Option<String>,
    /// The partner's own tenant.
    pub tenant_id: Option<String>,
    /// The partner's own customer.
    pub customer_id: Option<String>,
    /// The order reference, if the partner chose it (ClickPesa).
    pub order_reference: Option<String>,
    /// A word of the partner's that answers give back as written: the network in the ClickPesa guide's requests.
    pub reference: Option<String>,
    /// What the payer sees as description.
    pub description: Option<String>,
    /// M-Pesa's transaction type of a prompt.
    pub transaction_type: Option<String>,
    /// Why money is paid out.
    pub purpose: Purpose,
    /// A remark the provider keeps.
    pub remarks: Option<String>,
    /// The occasion.
    pub occasion: Option<String>,
    /// A reversal: what it takes back.
    pub original: Option<Original>,
    /// An endpoint that is told of this payment only.
    pub endpoint: Option<Endpoint>,
}

/// What a reversal takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// Its receipt.
    pub receipt: String,
}

impl Order {
    /// An order of the least: everything else is for the caller to add.
    pub fn new(
        (transaction_id, partner_id): (TransactionId, PartnerId),
        (provider, kind): (Provider, Kind),
        msisdn: Option<Msisdn>,
        amount: Amount,
    ) -> Self {
        Self {
            transaction_id,
            partner_id,
            provider,
            kind,
            account_id: None,
            client_request_id: None,
            msisdn,
            amount,
            currency: provider.default_currency(),
            origin: "ussd".to_owned(),
            account_reference: None,
            tenant_id: None,
            customer_id: None,
            order_reference: None,
            reference: None,
            description: None,
            transaction_type: None,
            purpose: Purpose::Payout,
            remarks: None,
            occasion: None,
            original: None,
            endpoint: None,
        }
    }

    /// SHA-256, lower-case hex, of everything that makes this order what it is: fields by name, in order. Our own id
    /// of it is no part, for every repeat has another.
    pub fn digest(&self, account_id: AccountId) -> String {
        let fields = BTreeMap::from([
            ("account_id", json!(account_id.to_string())),
            ("account_reference", json!(self.account_reference)),
            ("amount", json!(self.amount.to_string())),
            (
                "callback_url",
                json!(self.endpoint.as_ref().map(|endpoint| &endpoint.url)),
            ),
            ("currency", json!(self.currency.as_str())),
            ("customer_id", json!(self.customer_id)),
            ("description", json!(self.description)),
            ("kind", json!(self.kind.as_str())),
            ("msisdn", json!(self.msisdn.as_ref().map(Msisdn::as_str))),
            ("occasion", json!(self.occasion)),
            ("order_reference", json!(self.order_reference)),
            ("origin", json!(self.origin)),
            (
                "original",
                json!(
                    self.original
                        .as_ref()
                        .map(|original| original.transaction_id.to_string())
                ),
            ),
            ("provider", json!(self.provider.as_str())),
            ("purpose", json!(self.purpose.as_str())),
            ("reference", json!(self.reference)),
            ("remarks", json!(self.remarks)),
            ("tenant_id", json!(self.tenant_id)),
            ("transaction_type", json!(self.transaction_type)),
        ]);
        hex(&Sha256::digest(json!(fields).to_string()))
    }

    /// What is committed before the provider is called.
    pub(super) fn registration(
        &self,
        account_id: AccountId,
        own_ids: ProviderIds,
        digest: String,
    ) -> Registration {
        Registration {
            partner_id: self.partner_id,
            client_request_id: self.client_request_id.clone(),
            provider: self.provider,
            kind: self.kind,
            origin: self.origin.clone(),
            ids: ProviderIds::default(),
            msisdn: self.msisdn.clone(),
            amount: self.amount,
            currency: self.currency.clone(),
            account_reference: self.account_reference.clone(),
            tenant_id: self.tenant_id.clone(),
            customer_id: self.customer_id.clone(),
            original_id: self
                .original
                .as_ref()
                .map(|original| original.transaction_id),
            intent: Some(Box::new(Intent {
                transaction_id: self.transaction_id,
                account_id,
                own_ids,
                digest,
                reference: self.reference.clone(),
            })),
        }
    }
}
