//! The sentences of a status that needs no result code: by what the transaction is and by how it stands.

use super::entry::{Sentence, say};
use crate::domain::transaction::{Kind, Provider};

/// What the customer has to do with the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Pays by a prompt on the phone.
    Prompted,
    /// Pays by own choice.
    Payer,
    /// Is paid.
    Receiver,
    /// Gets a payment back.
    Returned,
}

impl Part {
    /// The customer's part in a kind of transaction.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::StkPush | Kind::UssdPush => Self::Prompted,
            Kind::C2b => Self::Payer,
            Kind::B2c | Kind::Payout => Self::Receiver,
            Kind::Reversal => Self::Returned,
        }
    }
}

/// Known to us, not yet to the provider.
pub fn queued(part: Part) -> Sentence {
    match part {
        Part::Prompted => say(
            "Your payment of {amount} is being sent to your phone. Please wait.",
            "Malipo yako ya {amount} yanatumwa kwenye simu yako. Tafadhali subiri.",
        ),
        Part::Payer => WAITING_FOR_PAYER,
        Part::Receiver => say(
            "{amount} is being sent to you. Please wait.",
            "Unatumiwa {amount}. Tafadhali subiri.",
        ),
        Part::Returned => RETURNING,
    }
}

/// With the provider.
pub fn accepted(part: Part, provider: Provider) -> Sentence {
    match (part, provider) {
        (Part::Prompted, Provider::Mpesa) => ENTER_MPESA_PIN,
        (Part::Prompted, Provider::Clickpesa) => CONFIRM_WITH_PIN,
        (Part::Payer, _) => WAITING_FOR_PAYER,
        (Part::Receiver, Provider::Mpesa) => say(
            "M-Pesa is sending you {amount}. Please wait.",
            "M-Pesa inakutumia {amount}. Tafadhali subiri.",
        ),
        (Part::Receiver, Provider::Clickpesa) => ON_ITS_WAY,
        (Part::Returned, _) => RETURNING,
    }
}

/// Silent for longer than payments take.
pub fn overdue(part: Part) -> Sentence {
    match part {
        Part::Prompted | Part::Payer => UNKNOWN_PAYMENT,
        Part::Receiver => UNKNOWN_PAYOUT,
        Part::Returned => say(
            "We do not know yet whether {amount} was returned to you. We are checking; please wait.",
            "Bado hatujui kama umerudishiwa {amount}. Tunafuatilia; tafadhali subiri.",
        ),
    }
}

/// The provider was asked until the time for it was over.
pub fn stuck(part: Part) -> Sentence {
    match part {
        Part::Prompted | Part::Payer => say(
            "We could not find out about your payment of {amount}. Do not pay again; contact customer care.",
            "Hatujui matokeo ya malipo yako ya {amount}. Usilipe tena; wasiliana na huduma kwa wateja.",
        ),
        Part::Receiver => say(
            "We could not find out whether {amount} was sent to you. Please contact the sender.",
            "Hatujui kama ulitumiwa {amount}. Tafadhali wasiliana na mtumaji.",
        ),
        Part::Returned => say(
            "We could not find out whether {amount} was returned to you. Contact customer care.",
            "Hatujui kama ulirudishiwa {amount}. Wasiliana na huduma kwa wateja.",
        ),
    }
}

/// Paid. The receipt follows, if there is one.
pub fn success(part: Part) -> Sentence {
    match part {
        Part::Prompted | Part::Payer => PAID,
        Part::Receiver => SENT,
        Part::Returned => RETURNED,
    }
}

/// Paid, and given back.
pub fn reversed(part: Part) -> Sentence {
    match part {
        Part::Prompted | Part::Payer | Part::Returned => PAYMENT_RETURNED,
        Part::Receiver => WENT_BACK,
    }
}

/// Refused by the provider when it was asked to make the payment: nothing was sent.
pub fn refused(part: Part) -> Sentence {
    match part {
        Part::Prompted | Part::Payer => say(
            "Your payment of {amount} could not be started. You have paid nothing. Please try again.",
            "Malipo yako ya {amount} hayakuweza kuanza. Hujalipa chochote. Tafadhali jaribu tena.",
        ),
        Part::Receiver => NOT_SENT,
        Part::Returned => NOT_RETURNED,
    }
}

/// Not made, for a reason that nobody has a sentence for.
pub fn failed(part: Part) -> Sentence {
    match part {
        Part::Prompted | Part::Payer => say(
            "Your payment of {amount} was not completed. Contact customer care before you pay again.",
            "Malipo yako ya {amount} hayakukamilika. Wasiliana na huduma kwa wateja kabla ya kulipa tena.",
        ),
        Part::Receiver => NOT_SENT,
        Part::Returned => NOT_RETURNED,
    }
}

/// A failure that later news may overturn.
pub fn unconfirmed(part: Part) -> Sentence {
    match part {
        Part::Prompted | Part::Payer => NOT_CONFIRMED,
        Part::Receiver | Part::Returned => overdue(part),
    }
}

/// "Receipt" before a receipt.
pub const RECEIPT: Sentence = say(" Receipt ", " Risiti ");

pub const PAID: Sentence = say(
    "Payment of {amount} received.",
    "Malipo ya {amount} yamepokelewa.",
);
pub const SENT: Sentence = say("{amount} has been sent to you.", "Umetumiwa {amount}.");
pub const RETURNED: Sentence = say(
    "{amount} has been returned to you.",
    "Umerudishiwa {amount}.",
);
pub const ENTER_MPESA_PIN: Sentence = say(
    "Enter your M-Pesa PIN on your phone to pay {amount}.",
    "Weka PIN yako ya M-Pesa kwenye simu yako kulipa {amount}.",
);
pub const CONFIRM_WITH_PIN: Sentence = say(
    "Confirm the payment of {amount} on your phone with your PIN.",
    "Thibitisha malipo ya {amount} kwenye simu yako kwa namba yako ya siri.",
);
pub const ON_ITS_WAY: Sentence = say(
    "{amount} is on its way to you. Please wait.",
    "{amount} ziko njiani kukufikia. Tafadhali subiri.",
);
pub const NOT_CONFIRMED: Sentence = say(
    "Your payment of {amount} is not confirmed. We are checking; do not pay again yet.",
    "Malipo yako ya {amount} hayajathibitishwa. Tunafuatilia; usilipe tena kwa sasa.",
);
pub const UNKNOWN_PAYMENT: Sentence = say(
    "We do not know yet if your payment of {amount} went through. Do not pay again; check later.",
    "Bado hatujui kama malipo yako ya {amount} yamefanikiwa. Usilipe tena; angalia baadaye.",
);
pub const UNKNOWN_PAYOUT: Sentence = say(
    "We do not know yet whether {amount} was sent to you. We are checking; please wait.",
    "Bado hatujui kama umetumiwa {amount}. Tunafuatilia; tafadhali subiri.",
);
pub const PAYMENT_RETURNED: Sentence = say(
    "Your payment of {amount} was returned to you.",
    "Malipo yako ya {amount} yamerejeshwa kwako.",
);
pub const WENT_BACK: Sentence = say(
    "{amount} went back to the sender.",
    "{amount} zimerejeshwa kwa mtumaji.",
);
pub const NOT_SENT: Sentence = say(
    "{amount} could not be sent to you. Please contact the sender.",
    "Imeshindikana kukutumia {amount}. Tafadhali wasiliana na mtumaji.",
);
pub const NOT_RETURNED: Sentence = say(
    "{amount} could not be returned to you. Please contact the seller.",
    "Imeshindikana kukurudishia {amount}. Tafadhali wasiliana na muuzaji.",
);
const RETURNING: Sentence = say(
    "{amount} is being returned to you. Please wait.",
    "Unarudishiwa {amount}. Tafadhali subiri.",
);
const WAITING_FOR_PAYER: Sentence = say(
    "We are waiting for your payment of {amount}.",
    "Tunasubiri malipo yako ya {amount}.",
);
