use super::*;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::money::MAX_AMOUNT_MINOR;
use crate::domain::transaction::{Kind, ProviderIds, RegisteredIds};

const APIS: [Api; 9] = [
    Api::Stk,
    Api::B2c,
    Api::B2b,
    Api::Reversal,
    Api::Balance,
    Api::StatusQuery,
    Api::C2b,
    Api::ClickpesaPayment,
    Api::ClickpesaPayout,
];

/// A transaction with the longest amount there can be.
pub fn transaction(kind: Kind, status: Status) -> Transaction {
    let now = SystemClock.now();
    let provider = match kind {
        Kind::UssdPush | Kind::Payout => Provider::Clickpesa,
        _ => Provider::Mpesa,
    };
    Transaction {
        partner_id: PartnerId::new(now),
        id: TransactionId::new(now),
        account_id: None,
        provider,
        kind,
        origin: "ussd".to_owned(),
        client_request_id: None,
        ids: ProviderIds::default(),
        registered_ids: RegisteredIds::default(),
        merchant_request_id: None,
        msisdn: None,
        payer_key: None,
        currency: provider.default_currency(),
        amount: Amount(MAX_AMOUNT_MINOR),
        paid: None,
        account_reference: None,
        tenant_id: None,
        customer_id: None,
        original_id: None,
        status,
        unconfirmed: false,
        result_code: None,
        result_description: None,
        provider_status: None,
        receipt: None,
        reversed_at: None,
        created_at: now,
        updated_at: now,
    }
}

/// Every line there can be, each with the longest amount and, where one is shown, the longest receipt; and the status it
/// belongs to.
pub fn every_line() -> Vec<(Status, Line)> {
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        for status in Status::ALL {
            for silence in [Silence::Usual, Silence::Overdue, Silence::Stuck] {
                let plain = transaction(kind, status);
                lines.push((status, describe(&plain, silence)));
                lines.push((
                    status,
                    describe(
                        &Transaction {
                            receipt: Some("W".repeat(RECEIPT_SHOWN_MAX)),
                            ..plain.clone()
                        },
                        silence,
                    ),
                ));
                for code in codes_of(kind) {
                    let ended = Transaction {
                        result_code: Some(code.to_owned()),
                        provider_status: Some(code.to_owned()),
                        receipt: Some("W".repeat(RECEIPT_SHOWN_MAX)),
                        ..plain.clone()
                    };
                    let word_only = Transaction {
                        result_code: None,
                        ..ended.clone()
                    };
                    let returned = Transaction {
                        reversed_at: Some(plain.created_at),
                        ..ended.clone()
                    };
                    let unconfirmed = Transaction {
                        unconfirmed: true,
                        ..ended.clone()
                    };
                    for one in [ended, word_only, returned, unconfirmed] {
                        lines.push((status, describe(&one, silence)));
                    }
                }
            }
        }
    }
    lines
}

fn codes_of(kind: Kind) -> Vec<&'static str> {
    let mut codes = vec!["500.001.1001", "500.003.02", "a code that nobody knows"];
    for api in [Api::of(kind), Api::StatusQuery] {
        codes.extend(entries(api).map(|entry| entry.code));
    }
    codes
}

fn entries(api: Api) -> impl Iterator<Item = &'static Entry> {
    tables(api).iter().flat_map(|table| table.iter())
}

#[test]
fn every_line_fits_into_one_message_with_the_longest_amount_and_receipt() {
    let described = every_line()
        .into_iter()
        .flat_map(|(_, line)| [line.en, line.sw]);
    // Those of APIs that no transaction's result is in, as well.
    let amount = shown_amount(Amount(MAX_AMOUNT_MINOR), &Currency::kes());
    let listed = APIS.into_iter().flat_map(entries).flat_map(|entry| {
        [entry.sentence.en, entry.sentence.sw].map(|text| text.replace("{amount}", &amount))
    });
    let mut longest = 0;
    for text in described.chain(listed) {
        let length = septets(&text).unwrap_or_else(|| panic!("not in the alphabet: {text}"));
        assert!(length <= LINE_MAX, "{length}: {text}");
        assert!(!text.contains(['{', '}']), "{text}");
        longest = longest.max(length);
    }
    assert!(longest > 100, "only {longest}: the long ones were not made");
}

#[test]
fn every_code_of_the_tables_has_its_line_once() {
    for api in APIS {
        for (codes, class) in result_code::known(api).into_iter().flatten() {
            for code in codes {
                assert!(find(api, code).is_some(), "{api:?} {code} ({class:?})");
            }
        }
        let mut codes: Vec<String> = entries(api).map(|entry| squeezed(entry.code)).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count, "{api:?} has a code twice");
    }
    // What is listed as unknown, and the words and questions that are in no table of codes.
    for (api, codes) in [
        (Api::Stk, "100000100"),
        (Api::B2c, "15|17"),
        (
            Api::StatusQuery,
            "Completed|Cancelled|Declined|Expired|Failed|Rejected|Reversed|Initiated|Authorized|Pending Authorized|\
             15|25|2001|8006|SFC_IC0003",
        ),
        (Api::Balance, "15|25|2001|8006|SFC_IC0003"),
        (
            Api::ClickpesaPayment,
            "SUCCESS|SETTLED|FAILED|REFUNDED|REVERSED|PENDING|PROCESSING|ON-HOLD|on_hold",
        ),
        (
            Api::ClickpesaPayout,
            "SUCCESS|FAILED|REFUNDED|REVERSED|AUTHORIZED|PENDING|PROCESSING",
        ),
    ] {
        for code in codes.split('|') {
            assert!(find(api, code).is_some(), "{api:?} {code}");
        }
    }
}

#[test]
fn no_line_stands_for_a_code_without_a_meaning_as_if_it_had_one() {
    for api in APIS {
        for entry in entries(api) {
            let (class, returned) = class(api, entry.code);
            let expected = match entry.action {
                Action::Complete => class == ResultClass::Success,
                Action::Reversed => returned,
                Action::KeepPolling => {
                    matches!(class, ResultClass::Pending | ResultClass::Unknown)
                }
                Action::CheckBeforeRetry => {
                    matches!(class, ResultClass::Unconfirmed | ResultClass::Failed)
                }
                // A question that failed itself says nothing about a payment.
                Action::CheckAccount => {
                    class == ResultClass::Failed
                        || (class == ResultClass::Unknown
                            && matches!(api, Api::StatusQuery | Api::Balance))
                }
                _ => class == ResultClass::Failed,
            };
            assert!(expected, "{api:?} {} is {class:?}", entry.code);
        }
    }
}

#[test]
fn only_a_confirmed_failure_is_safe_to_retry() {
    for api in APIS {
        for entry in entries(api) {
            let is_safe = code_is_safe(api, entry.code);
            let is_failed = class(api, entry.code) == (ResultClass::Failed, false);
            // M-Pesa's own guard against paying twice: the first of the two may have been paid.
            let is_twin = (api, entry.code) == (Api::Stk, "17");
            assert_eq!(is_safe, is_failed && !is_twin, "{api:?} {}", entry.code);
        }
    }
    for code in ["", "5", "a code that nobody knows", "00"] {
        assert!(!code_is_safe(Api::Stk, code), "{code}");
    }
    for (status, line) in every_line() {
        assert!(status == Status::Failed || !line.safe_to_retry, "{line:?}");
        let warns = line.en.contains("not pay again") || line.en.contains("before you pay again");
        assert!(!(warns && line.safe_to_retry), "{line:?}");
        let warns = line.sw.contains("sipe tena") || line.sw.contains("Usilipe tena");
        assert!(!(warns && line.safe_to_retry), "{line:?}");
    }
}

#[test]
fn what_is_not_known_is_never_called_safe_or_paid() {
    let failed = |code: Option<&str>, change: fn(&mut Transaction)| {
        let mut one = transaction(Kind::StkPush, Status::Failed);
        one.result_code = code.map(str::to_owned);
        change(&mut one);
        describe(&one, Silence::Usual)
    };
    assert!(failed(Some("1032"), |_| {}).safe_to_retry);
    assert!(!failed(Some("1037"), |one| one.unconfirmed = true).safe_to_retry);
    assert!(!failed(Some("1032"), |one| one.reversed_at = Some(one.created_at)).safe_to_retry);
    let unknown = failed(Some("4711"), |_| {});
    assert!(!unknown.safe_to_retry);
    assert!(unknown.en.contains("before you pay again"), "{unknown:?}");
    // Refused when it was to be started: nothing was sent.
    for code in [None, Some("500.001.1001")] {
        let refused = failed(code, |_| {});
        assert!(refused.safe_to_retry, "{code:?}");
        assert!(refused.en.contains("paid nothing"), "{refused:?}");
    }
    let told = failed(None, |one| one.provider_status = Some("Failed".to_owned()));
    assert!(
        told.safe_to_retry && told.en.contains("did not go through"),
        "{told:?}"
    );
    let odd = failed(None, |one| {
        one.provider_status = Some("Vanished".to_owned())
    });
    assert!(!odd.safe_to_retry, "{odd:?}");
}

#[test]
fn a_success_says_how_much_and_under_which_receipt() {
    let paid = |kind, amount, receipt: Option<&str>| {
        let one = Transaction {
            paid: Some(Amount(amount)),
            receipt: receipt.map(str::to_owned),
            ..transaction(kind, Status::Success)
        };
        describe(&one, Silence::Usual)
    };
    let line = paid(Kind::StkPush, 120_000, Some("SKE52PAWR9"));
    assert_eq!(
        line.en,
        "Payment of Ksh 1,200.00 received. Receipt SKE52PAWR9."
    );
    assert_eq!(
        line.sw,
        "Malipo ya Ksh 1,200.00 yamepokelewa. Risiti SKE52PAWR9."
    );
    assert_eq!(line.action, Action::Complete);
    let line = paid(Kind::Payout, 50, None);
    assert_eq!(line.en, "TSh 0.50 has been sent to you.");
    assert_eq!(line.sw, "Umetumiwa TSh 0.50.");
    let line = paid(Kind::Reversal, 100_000_001, Some("[€]ş\n\t"));
    assert_eq!(
        line.en,
        "Ksh 1,000,000.01 has been returned to you. Receipt ??????."
    );
    let line = paid(Kind::C2b, 100, Some(&"R".repeat(RECEIPT_SHOWN_MAX + 1)));
    let cut = format!("{}..", "R".repeat(RECEIPT_SHOWN_MAX - 2));
    assert_eq!(
        line.en,
        format!("Payment of Ksh 1.00 received. Receipt {cut}.")
    );
    // Whoever asked before the provider did is paid back already.
    let mut before = transaction(Kind::Reversal, Status::Success);
    before.result_code = Some("R000001".to_owned());
    let line = describe(&before, Silence::Usual);
    assert!(line.en.contains("before"), "{line:?}");
}

#[test]
fn silence_is_told_and_never_guessed_away() {
    for kind in Kind::ALL {
        let open = transaction(kind, Status::Accepted);
        let lines = [Silence::Usual, Silence::Overdue, Silence::Stuck]
            .map(|silence| describe(&open, silence));
        assert!(lines.iter().all(|line| line.action == Action::KeepPolling));
        assert_ne!(lines[0].en, lines[1].en);
        assert_ne!(lines[1].sw, lines[2].sw);
    }
    let prompt = transaction(Kind::StkPush, Status::Accepted);
    assert!(
        describe(&prompt, Silence::Stuck)
            .en
            .contains("Do not pay again")
    );
    assert!(
        describe(&prompt, Silence::Stuck)
            .sw
            .contains("Usilipe tena")
    );
    // The provider's own word for what is still open.
    let mut held = transaction(Kind::UssdPush, Status::Accepted);
    held.provider_status = Some("ON-HOLD".to_owned());
    assert!(describe(&held, Silence::Usual).en.contains("on hold"));
    held.provider_status = Some("SUCCESS".to_owned());
    assert!(describe(&held, Silence::Usual).en.starts_with("Confirm"));
}
