//! What becomes of a payment: the last four digits of the phone number decide. The table is data, so that
//! the documentation, the simulator's own page and its behaviour cannot disagree. What a behaviour means
//! in each provider's words is said in `daraja` and `clickpesa`.

use std::fmt::Write as _;

/// One line of the table.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Ending {
    /// The last four digits of the number.
    pub code: &'static str,
    /// A short name.
    pub name: &'static str,
    /// What it is good for.
    pub description: &'static str,
    /// What an STK push does.
    pub stk: &'static str,
    /// What a B2C payment does.
    pub b2c: &'static str,
    /// What a ClickPesa payment does.
    pub clickpesa: &'static str,
    #[serde(skip)]
    pub(super) behaviour: Behaviour,
}

/// What a number does to its payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Pays,
    Fails(Failure),
    Doubled,
    LateSuccess,
    Early,
    OtherAmount,
    UnknownResult,
    Refused,
    Settles,
    Reversed,
    Lost,
    AnswerLost,
    Throttled,
}

/// Why a payment fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    InsufficientFunds,
    RuleLimited,
    Expired,
    Cancelled,
    NoAnswer,
    WrongPin,
    Internal,
}

/// What the caller of a money call is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    AcceptedAfterTheCallback,
    Lost,
    Refused,
    Throttled,
}

/// The documented endings. Every other number pays, and is called back.
pub const ENDINGS: &[Ending] = &[
    Ending {
        code: "0001",
        name: "insufficient funds",
        description: "the payer's (B2C: the shortcode's) account is too low",
        stk: "result 1",
        b2c: "result 1",
        clickpesa: "FAILED, Insufficient balance",
        behaviour: Behaviour::Fails(Failure::InsufficientFunds),
    },
    Ending {
        code: "0002",
        name: "doubled",
        description: "the callback is posted twice",
        stk: "result 0, twice",
        b2c: "result 0, twice",
        clickpesa: "SUCCESS, twice",
        behaviour: Behaviour::Doubled,
    },
    Ending {
        code: "0003",
        name: "late success",
        description: "it looks lost, then it succeeds after all",
        stk: "result 1037, later result 0",
        b2c: "queue timeout, later result 0",
        clickpesa: "PROCESSING for twice as long, then SUCCESS",
        behaviour: Behaviour::LateSuccess,
    },
    Ending {
        code: "0004",
        name: "early",
        description: "the callback arrives before the answer to the call",
        stk: "result 0, then the answer",
        b2c: "result 0, then the answer",
        clickpesa: "SUCCESS, then the answer",
        behaviour: Behaviour::Early,
    },
    Ending {
        code: "0005",
        name: "other amount",
        description: "one unit less than asked is paid (two, if one was asked)",
        stk: "result 0, other Amount",
        b2c: "result 0, other TransactionAmount",
        clickpesa: "SUCCESS, other collectedAmount",
        behaviour: Behaviour::OtherAmount,
    },
    Ending {
        code: "0006",
        name: "unknown result",
        description: "a result that no documentation explains, for ever",
        stk: "result 100000100",
        b2c: "result 100000100",
        clickpesa: "event and status UNDER REVIEW",
        behaviour: Behaviour::UnknownResult,
    },
    Ending {
        code: "0007",
        name: "refused",
        description: "refused at once, nothing is sent, no callback",
        stk: "500.001.1001 Unable to lock subscriber",
        b2c: "400.002.02 Invalid PartyB",
        clickpesa: "400 Invalid / unsupported phone number",
        behaviour: Behaviour::Refused,
    },
    Ending {
        code: "0008",
        name: "settled",
        description: "the success is settled a little later",
        stk: "result 0",
        b2c: "result 0",
        clickpesa: "SUCCESS, later SETTLED",
        behaviour: Behaviour::Settles,
    },
    Ending {
        code: "0009",
        name: "reversed",
        description: "the success is taken back a little later",
        stk: "result 0",
        b2c: "result 0",
        clickpesa: "SUCCESS, later REVERSED",
        behaviour: Behaviour::Reversed,
    },
    Ending {
        code: "0017",
        name: "rule limited",
        description: "the provider's own limits forbid it",
        stk: "result 17",
        b2c: "result 17",
        clickpesa: "FAILED, Transaction limit exceeded",
        behaviour: Behaviour::Fails(Failure::RuleLimited),
    },
    Ending {
        code: "0404",
        name: "lost callback",
        description: "it succeeds and nobody is told: only a query finds out",
        stk: "no callback",
        b2c: "no callback",
        clickpesa: "no webhook",
        behaviour: Behaviour::Lost,
    },
    Ending {
        code: "0408",
        name: "expired",
        description: "not taken up in time, nothing is paid",
        stk: "result 1019",
        b2c: "queue timeout, no result",
        clickpesa: "FAILED, Request timed out",
        behaviour: Behaviour::Fails(Failure::Expired),
    },
    Ending {
        code: "0500",
        name: "lost answer",
        description: "it succeeds, but the answer to the call is an HTML page",
        stk: "HTTP 504, then result 0",
        b2c: "HTTP 504, then result 0",
        clickpesa: "HTTP 504, then SUCCESS",
        behaviour: Behaviour::AnswerLost,
    },
    Ending {
        code: "0503",
        name: "throttled",
        description: "refused at once, may be tried again",
        stk: "500.003.02 System is busy",
        b2c: "500.003.02 System is busy",
        clickpesa: "429 Too many requests",
        behaviour: Behaviour::Throttled,
    },
    Ending {
        code: "1032",
        name: "cancelled",
        description: "the payer dismisses the prompt (B2C: is not registered)",
        stk: "result 1032",
        b2c: "result 2040",
        clickpesa: "FAILED, Request cancelled by user",
        behaviour: Behaviour::Fails(Failure::Cancelled),
    },
    Ending {
        code: "1037",
        name: "no answer",
        description: "the phone cannot be reached, and it stays so",
        stk: "result 1037",
        b2c: "result SFC_IC0003",
        clickpesa: "FAILED, No response from user",
        behaviour: Behaviour::Fails(Failure::NoAnswer),
    },
    Ending {
        code: "2001",
        name: "wrong PIN",
        description: "the payer's PIN (B2C: the initiator's password) is wrong",
        stk: "result 2001",
        b2c: "result 2001",
        clickpesa: "FAILED, Invalid PIN",
        behaviour: Behaviour::Fails(Failure::WrongPin),
    },
    Ending {
        code: "9999",
        name: "internal error",
        description: "the provider failed inside",
        stk: "result 9999",
        b2c: "result 8006",
        clickpesa: "FAILED, Internal error",
        behaviour: Behaviour::Fails(Failure::Internal),
    },
];

/// The line of the table that a number falls under, if any.
pub fn ending_of(msisdn: &str) -> Option<&'static Ending> {
    ENDINGS.iter().find(|ending| msisdn.ends_with(ending.code))
}

/// The table as the documentation prints it.
pub fn endings_as_markdown() -> String {
    let mut table = String::from(
        "| ending | name | what it is good for | STK push | B2C | ClickPesa |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for ending in ENDINGS {
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            ending.code, ending.name, ending.description, ending.stk, ending.b2c, ending.clickpesa
        );
    }
    table
}

impl Behaviour {
    pub(super) fn of(msisdn: &str) -> Self {
        ending_of(msisdn).map_or(Self::Pays, |ending| ending.behaviour)
    }

    pub(super) fn answer(self) -> Answer {
        match self {
            Self::Early => Answer::AcceptedAfterTheCallback,
            Self::AnswerLost => Answer::Lost,
            Self::Refused => Answer::Refused,
            Self::Throttled => Answer::Throttled,
            Self::Pays
            | Self::Fails(_)
            | Self::Doubled
            | Self::LateSuccess
            | Self::OtherAmount
            | Self::UnknownResult
            | Self::Settles
            | Self::Reversed
            | Self::Lost => Answer::Accepted,
        }
    }

    /// How often the news of a success is posted.
    pub(super) fn copies(self) -> usize {
        match self {
            Self::Lost => 0,
            Self::Doubled => 2,
            _ => 1,
        }
    }

    /// What is paid when `asked` was asked for, in whole units.
    pub(super) fn paid(self, asked: u64) -> u64 {
        match self {
            Self::OtherAmount if asked <= 1 => 2,
            Self::OtherAmount => asked - 1,
            _ => asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_four_digits_listed_once_and_in_order() {
        for ending in ENDINGS {
            assert_eq!(ending.code.len(), 4);
            assert!(ending.code.bytes().all(|b| b.is_ascii_digit()));
        }
        assert!(ENDINGS.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn no_number_ending_in_678_is_in_the_table() {
        assert!(ENDINGS.iter().all(|ending| !ending.code.ends_with("678")));
        assert_eq!(ending_of("254712345678"), None);
    }

    #[test]
    fn the_documentation_has_exactly_this_table() {
        let page = include_str!("../../docs/simulator.md");
        assert!(
            page.contains(&endings_as_markdown()),
            "docs/simulator.md should have:\n{}",
            endings_as_markdown()
        );
    }
}
