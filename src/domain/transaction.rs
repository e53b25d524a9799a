//! A payment, payout or reversal as the table holds it.

use std::fmt;
use std::str::FromStr;

use super::clock::Instant;
use super::identity::{AccountId, PartnerId, TransactionId};
use super::money::{Amount, Currency};
use super::msisdn::{Country, Msisdn};
use super::status::Status;

/// A payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// Safaricom M-Pesa (Daraja), Kenya.
    Mpesa,
    /// ClickPesa, Tanzania.
    Clickpesa,
}

impl Provider {
    /// All providers.
    pub const ALL: [Self; 2] = [Self::Mpesa, Self::Clickpesa];

    /// The word in requests, answers and the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mpesa => "mpesa",
            Self::Clickpesa => "clickpesa",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mpesa => "M-Pesa",
            Self::Clickpesa => "ClickPesa",
        }
    }

    /// Where its customers live: a national phone number takes this country.
    pub fn country(self) -> Country {
        match self {
            Self::Mpesa => Country::Kenya,
            Self::Clickpesa => Country::Tanzania,
        }
    }

    /// The currency unless told otherwise.
    pub fn default_currency(self) -> Currency {
        match self {
            Self::Mpesa => Currency::kes(),
            Self::Clickpesa => Currency::tzs(),
        }
    }

    /// What can be started at it.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Mpesa => &[Kind::StkPush, Kind::B2c, Kind::Reversal],
            Self::Clickpesa => &[Kind::UssdPush, Kind::Payout],
        }
    }

    /// The kind of a transaction unless told otherwise.
    pub fn default_kind(self) -> Kind {
        match self {
            Self::Mpesa => Kind::B2c,
            Self::Clickpesa => Kind::UssdPush,
        }
    }
}

/// What a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// M-Pesa Express: a prompt on the customer's phone.
    StkPush,
    /// M-Pesa business to customer.
    B2c,
    /// M-Pesa customer to business.
    C2b,
    /// Taking a payment back; a row of its own, outside the statistics.
    Reversal,
    /// ClickPesa collection.
    UssdPush,
    /// ClickPesa payout.
    Payout,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::StkPush,
        Self::B2c,
        Self::C2b,
        Self::Reversal,
        Self::UssdPush,
        Self::Payout,
    ];

    /// The word in requests, answers and the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StkPush => "stk_push",
            Self::B2c => "b2c",
            Self::C2b => "c2b",
            Self::Reversal => "reversal",
            Self::UssdPush => "ussd_push",
            Self::Payout => "payout",
        }
    }
}

/// Not one of the accepted words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not one of {0}")]
pub struct WordError(pub &'static str);

impl Kind {
    /// Its name for people: what a provider that has it not is said to lack.
    pub fn name(self) -> &'static str {
        match self {
            Self::StkPush => "STK push",
            Self::B2c => "B2C",
            Self::C2b => "starting a C2B payment",
            Self::Reversal => "reversal",
            Self::UssdPush => "USSD push",
            Self::Payout => "payout",
        }
    }

    /// Whether it is a prompt that the customer must confirm: sent twice it is seen, and nothing leaves the account.
    pub fn is_prompt(self) -> bool {
        matches!(self, Self::StkPush | Self::UssdPush)
    }
}

impl FromStr for Provider {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or(WordError("mpesa, clickpesa"))
    }
}

impl FromStr for Kind {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(WordError("stk_push, b2c, c2b, reversal, ussd_push, payout"))
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A provider's id that may point at a transaction, and the column that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdField {
    /// M-Pesa's ConversationID, for STK the CheckoutRequestID, for ClickPesa the payment's id.
    Conversation,
    /// M-Pesa's OriginatorConversationID.
    OriginatorConversation,
    /// ClickPesa's order reference.
    OrderReference,
    /// The receipt the payer sees (MpesaReceiptNumber, TransID).
    Receipt,
}

impl IdField {
    /// The three a caller may give, in the order their names are checked.
    pub const GIVEN: [Self; 3] = [
        Self::Conversation,
        Self::OriginatorConversation,
        Self::OrderReference,
    ];

    /// The field's name in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conversation => "conversation_id",
            Self::OriginatorConversation => "originator_conversation_id",
            Self::OrderReference => "order_reference",
            Self::Receipt => "transaction_receipt",
        }
    }
}

/// The provider's ids a caller may know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct ProviderIds {
    /// M-Pesa's ConversationID, for STK the CheckoutRequestID, for ClickPesa the payment's id.
    pub conversation_id: Option<String>,
    /// M-Pesa's OriginatorConversationID.
    pub originator_conversation_id: Option<String>,
    /// ClickPesa's order reference.
    pub order_reference: Option<String>,
}

impl ProviderIds {
    /// The id in `field`; receipts are no part of this.
    pub fn value(&self, field: IdField) -> Option<&str> {
        match field {
            IdField::Conversation => self.conversation_id.as_deref(),
            IdField::OriginatorConversation => self.originator_conversation_id.as_deref(),
            IdField::OrderReference => self.order_reference.as_deref(),
            IdField::Receipt => None,
        }
    }

    /// Sets the id in `field`.
    pub fn set(&mut self, field: IdField, value: String) {
        match field {
            IdField::Conversation => self.conversation_id = Some(value),
            IdField::OriginatorConversation => self.originator_conversation_id = Some(value),
            IdField::OrderReference => self.order_reference = Some(value),
            IdField::Receipt => {}
        }
    }

    /// The ids that are known.
    pub fn known(&self) -> impl Iterator<Item = (IdField, &str)> {
        IdField::GIVEN
            .into_iter()
            .filter_map(|field| self.value(field).map(|value| (field, value)))
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.known().next().is_none()
    }
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Whose it is.
    pub partner_id: PartnerId,
    /// Our id.
    pub id: TransactionId,
    /// The account it went through, where known.
    pub account_id: Option<AccountId>,
    /// The provider.
    pub provider: Provider,
    /// What it is.
    pub kind: Kind,
    /// Where it started: `ussd` unless told.
    pub origin: String,
    /// The partner's own id.
    pub client_request_id: Option<String>,
    /// The provider's ids.
    pub ids: ProviderIds,
    /// Which of `ids` came with the registration (the rest were attached later).
    pub registered_ids: RegisteredIds,
    /// STK's MerchantRequestID: kept, never matched on.
    pub merchant_request_id: Option<String>,
    /// The customer's number, if known in clear.
    pub msisdn: Option<Msisdn>,
    /// The customer's opaque key, if that is all the provider says.
    pub payer_key: Option<String>,
    /// Its currency.
    pub currency: Currency,
    /// The amount asked for.
    pub amount: Amount,
    /// The amount the provider says was paid.
    pub paid: Option<Amount>,
    /// What the merchant named or the payer typed.
    pub account_reference: Option<String>,
    /// The partner's own tenant.
    pub tenant_id: Option<String>,
    /// The partner's own customer.
    pub customer_id: Option<String>,
    /// A reversal: the transaction it takes back.
    pub original_id: Option<TransactionId>,
    /// Where it stands.
    pub status: Status,
    /// A failure that later news may overturn.
    pub unconfirmed: bool,
    /// The final result's code, text as the provider sent it.
    pub result_code: Option<String>,
    /// The final result's sentence.
    pub result_description: Option<String>,
    /// The provider's own last word for the state.
    pub provider_status: Option<String>,
    /// The receipt of a success.
    pub receipt: Option<String>,
    /// When the money went back.
    pub reversed_at: Option<Instant>,
    /// When we first knew of it.
    pub created_at: Instant,
    /// When anything in this row last changed.
    pub updated_at: Instant,
}

impl Transaction {
    /// Reversals stand outside the statistics.
    pub fn is_reversal(&self) -> bool {
        self.kind == Kind::Reversal
    }
}

/// Which provider ids a registration carried, so that the same request again can be recognised after a PATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RegisteredIds(pub i32);

impl RegisteredIds {
    /// The ids that `ids` has.
    pub fn of(ids: &ProviderIds) -> Self {
        Self(
            ids.known()
                .map(|(field, _)| Self::bit(field))
                .fold(0, |bits, bit| bits | bit),
        )
    }

    /// Whether `field` was among them.
    pub fn contains(self, field: IdField) -> bool {
        self.0 & Self::bit(field) != 0
    }

    fn bit(field: IdField) -> i32 {
        match field {
            IdField::Conversation => 1,
            IdField::OriginatorConversation => 2,
            IdField::OrderReference => 4,
            IdField::Receipt => 0,
        }
    }
}
