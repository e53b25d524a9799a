//! What any news from a provider means, in our own words. Providers' parsers make these; the ledger applies them.

use std::fmt;
use std::str::FromStr;

use super::clock::Instant;
use super::identity::TransactionId;
use super::money::{Amount, Currency};
use super::msisdn::Msisdn;
use super::transaction::{IdField, Kind, Provider};

/// Which of a provider's result-code tables a code belongs to: the same number means different things per API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Api {
    /// M-Pesa Express (STK push).
    Stk,
    /// Business to customer.
    B2c,
    /// Business to business.
    B2b,
    /// Reversal.
    Reversal,
    /// Account balance.
    Balance,
    /// Transaction status query.
    StatusQuery,
    /// Customer to business.
    C2b,
    /// A ClickPesa collection.
    ClickpesaPayment,
    /// A ClickPesa payout.
    ClickpesaPayout,
}

impl Api {
    /// Whose words the result of a transaction of this kind is in.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::StkPush => Self::Stk,
            Kind::B2c => Self::B2c,
            Kind::C2b => Self::C2b,
            Kind::Reversal => Self::Reversal,
            Kind::UssdPush => Self::ClickpesaPayment,
            Kind::Payout => Self::ClickpesaPayout,
        }
    }
}

/// The five classes of PROVIDERS 1.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultClass {
    /// Paid.
    Success,
    /// Not paid, for good.
    Failed,
    /// Not paid as it seems; a query or a callback may overturn it.
    Unconfirmed,
    /// Still in work.
    Pending,
    /// We do not know; never guessed.
    Unknown,
}

impl ResultClass {
    /// All five.
    pub const ALL: [Self; 5] = [
        Self::Success,
        Self::Failed,
        Self::Unconfirmed,
        Self::Pending,
        Self::Unknown,
    ];

    /// The class's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Unconfirmed => "unconfirmed",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for ResultClass {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or(())
    }
}

/// The ids by which news finds its transaction, strongest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Correlation {
    /// From the callback's path: our own id.
    pub transaction_id: Option<TransactionId>,
    /// ClickPesa's order reference.
    pub order_reference: Option<String>,
    /// M-Pesa's OriginatorConversationID.
    pub originator_conversation_id: Option<String>,
    /// M-Pesa's ConversationID or CheckoutRequestID, ClickPesa's payment id.
    pub conversation_id: Option<String>,
    /// A receipt that identifies the payment (status query, C2B); matched last.
    pub receipt: Option<String>,
    /// Kept, never matched on: Safaricom reuses it.
    pub merchant_request_id: Option<String>,
}

impl Correlation {
    /// The provider's ids in matching order.
    pub fn ids(&self) -> impl Iterator<Item = (IdField, &str)> {
        [
            (IdField::OrderReference, &self.order_reference),
            (
                IdField::OriginatorConversation,
                &self.originator_conversation_id,
            ),
            (IdField::Conversation, &self.conversation_id),
            (IdField::Receipt, &self.receipt),
        ]
        .into_iter()
        .filter_map(|(field, value)| value.as_deref().map(|value| (field, value)))
    }
}

/// Who paid, as far as the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payer {
    /// A clear number.
    Msisdn(Msisdn),
    /// A masked number or a hash (PROVIDERS 1.10): an opaque key, never a phone number.
    Key(String),
}

/// News that may bring its own transaction when nobody registered one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unregistered {
    /// What kind of transaction it would be.
    pub kind: Kind,
    /// The amount, which is then also the amount paid.
    pub amount: Amount,
    /// Its currency.
    pub currency: Currency,
    /// The shortcode the money went to; must be the account's own (C2B).
    pub shortcode: Option<String>,
}

/// What a provider says of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusUpdate {
    /// Whose table the code belongs to.
    pub api: Api,
    /// What it means.
    pub class: ResultClass,
    /// The provider gave the money back (REVERSED, REFUNDED): a failure that may follow a success.
    pub returned: bool,
    /// The result code as text, exactly as sent.
    pub result_code: Option<String>,
    /// The provider's own sentence.
    pub result_description: Option<String>,
    /// The provider's own word for the state (ClickPesa's status, M-Pesa's TransactionStatus).
    pub provider_status: Option<String>,
    /// The receipt; only ever of a success.
    pub receipt: Option<String>,
    /// What was really paid.
    pub paid: Option<Amount>,
    /// Who paid.
    pub payer: Option<Payer>,
    /// What the payer typed or the merchant named (BillRefNumber).
    pub account_reference: Option<String>,
    /// When the provider says it happened.
    pub occurred_at: Option<Instant>,
    /// How to find the transaction.
    pub correlation: Correlation,
    /// A reversal's result: the receipt of the payment it reversed.
    pub original_receipt: Option<String>,
    /// Set if the news creates its transaction when none is known.
    pub unregistered: Option<Unregistered>,
}

impl StatusUpdate {
    /// An update that says nothing but its api, class and ids.
    pub fn new(api: Api, class: ResultClass, correlation: Correlation) -> Self {
        Self {
            api,
            class,
            returned: false,
            result_code: None,
            result_description: None,
            provider_status: None,
            receipt: None,
            paid: None,
            payer: None,
            account_reference: None,
            occurred_at: None,
            correlation,
            original_receipt: None,
            unregistered: None,
        }
    }
}

/// One account's money at M-Pesa.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// "Working Account", "Utility Account", …: names are data.
    pub name: String,
    /// Its currency.
    pub currency: String,
    /// Available + reserved.
    pub current: Option<Amount>,
    /// What can be spent.
    pub available: Option<Amount>,
    /// Held back.
    pub reserved: Option<Amount>,
    /// Not yet cleared.
    pub uncleared: Option<Amount>,
}

/// What a callback's body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// About one payment.
    Payment(Box<StatusUpdate>),
    /// The provider gave up waiting: changes nothing, asks for a query soon.
    Timeout(Correlation),
    /// The account's balances.
    Balances {
        /// By account name.
        accounts: Vec<Balance>,
        /// When the provider counted.
        checked_at: Option<Instant>,
    },
    /// Understood, and nothing of ours changes by it (a validation request, a deposit). Says what it is.
    Information(String),
    /// Not understood. Says why, without quoting the body.
    Unreadable(String),
}

impl News {
    /// The ids by which it finds its transaction; `None` if it is not about one.
    pub fn correlation(&self) -> Option<&Correlation> {
        match self {
            Self::Payment(update) => Some(&update.correlation),
            Self::Timeout(correlation) => Some(correlation),
            Self::Balances { .. } | Self::Information(_) | Self::Unreadable(_) => None,
        }
    }
}

/// The kinds of callback, as they stand in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallbackKind {
    /// STK push result.
    Stk,
    /// B2C result.
    B2cResult,
    /// B2C queue timeout.
    B2cTimeout,
    /// Reversal result.
    ReversalResult,
    /// Reversal queue timeout.
    ReversalTimeout,
    /// Balance result.
    BalanceResult,
    /// Balance queue timeout.
    BalanceTimeout,
    /// Transaction-status result.
    StatusResult,
    /// Transaction-status queue timeout.
    StatusTimeout,
    /// C2B validation request.
    C2bValidation,
    /// C2B confirmation.
    C2bConfirmation,
    /// Every ClickPesa webhook.
    Clickpesa,
}

impl CallbackKind {
    /// All, in the order of the contract.
    pub const ALL: [Self; 12] = [
        Self::Stk,
        Self::B2cResult,
        Self::B2cTimeout,
        Self::ReversalResult,
        Self::ReversalTimeout,
        Self::BalanceResult,
        Self::BalanceTimeout,
        Self::StatusResult,
        Self::StatusTimeout,
        Self::C2bValidation,
        Self::C2bConfirmation,
        Self::Clickpesa,
    ];

    /// The word in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stk => "stk",
            Self::B2cResult => "b2c-result",
            Self::B2cTimeout => "b2c-timeout",
            Self::ReversalResult => "reversal-result",
            Self::ReversalTimeout => "reversal-timeout",
            Self::BalanceResult => "balance-result",
            Self::BalanceTimeout => "balance-timeout",
            Self::StatusResult => "status-result",
            Self::StatusTimeout => "status-timeout",
            Self::C2bValidation => "c2b-validation",
            Self::C2bConfirmation => "c2b-confirmation",
            Self::Clickpesa => "clickpesa",
        }
    }

    /// Who posts it.
    pub fn provider(self) -> Provider {
        match self {
            Self::Clickpesa => Provider::Clickpesa,
            _ => Provider::Mpesa,
        }
    }
}

impl FromStr for CallbackKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

impl fmt::Display for CallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
