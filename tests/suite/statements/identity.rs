//! Exported and imported, a transaction is what it was: for whatever texts, amounts and times it has.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use ussd_status::domain::identity::{PartnerId, TransactionId};
use ussd_status::domain::money::{Amount, Currency, MAX_AMOUNT_MINOR};
use ussd_status::domain::msisdn::Msisdn;
use ussd_status::domain::search::Filter;
use ussd_status::domain::status::Status;
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds, RegisteredIds, Transaction};
use ussd_status::statements::Format;

use super::{bring_in, statement, summary};
use crate::support::{TestStore, start};

/// Transactions that are made up.
const COUNT: usize = 300;

on_both_databases!(
    what_was_exported_is_imported_as_it_was,
    a_sheet_of_another_partner_is_brought_in_under_the_new_one,
);

/// Texts of every kind, formulas and broken lines among them; none is empty, which a table of commas cannot tell from
/// nothing.
fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(prop_oneof![
        "[=+@'\t\r\n-]{1,3}[a-z(\"),]{0,8}",
        "[a-zA-Z0-9_ ,;\"'\n\r-]{1,20}",
        "\\PC{1,20}",
    ])
}

fn amount() -> impl Strategy<Value = Amount> {
    (1..=MAX_AMOUNT_MINOR).prop_map(Amount)
}

/// What a row of the table may be: an open one has no result yet.
fn row() -> impl Strategy<Value = Transaction> {
    let texts = proptest::array::uniform8(text());
    let words = (0..4_usize, 0..6_usize, any::<bool>(), any::<bool>());
    let numbers = (
        amount(),
        proptest::option::of(amount()),
        proptest::option::of(0..100_000_000_u32),
        0..10_000_000_000_i64,
        0..1_000_000_i64,
    );
    (texts, words, numbers).prop_map(|(texts, words, numbers)| {
        let [
            origin,
            tenant,
            customer,
            account,
            code,
            sentence,
            word,
            payer,
        ] = texts;
        let (status, kind, is_clickpesa, is_reversed) = words;
        let (amount, paid, number, age, took) = numbers;
        let (status, kind) = (Status::ALL[status], Kind::ALL[kind]);
        let created_at = start() - chrono::Duration::milliseconds(age + took);
        let updated_at = created_at + chrono::Duration::milliseconds(took);
        let is_final = status.is_final();
        Transaction {
            partner_id: PartnerId::new(created_at),
            id: TransactionId::of_age(created_at),
            account_id: None,
            provider: Provider::ALL[usize::from(is_clickpesa)],
            kind,
            origin: origin.unwrap_or_else(|| "ussd".to_owned()),
            client_request_id: None,
            ids: ProviderIds::default(),
            registered_ids: RegisteredIds::default(),
            merchant_request_id: None,
            msisdn: number
                .map(|number| Msisdn::from_international(&format!("2547{number:08}")).unwrap()),
            payer_key: payer,
            currency: if is_clickpesa {
                Currency::tzs()
            } else {
                Currency::kes()
            },
            amount,
            paid: paid.filter(|_| is_final),
            account_reference: account,
            tenant_id: tenant,
            customer_id: customer,
            original_id: (kind == Kind::Reversal).then(|| TransactionId::of_age(created_at)),
            status,
            unconfirmed: false,
            result_code: code.filter(|_| is_final),
            result_description: sentence.filter(|_| is_final),
            provider_status: word,
            receipt: None,
            reversed_at: (is_reversed && status == Status::Failed).then_some(updated_at),
            created_at,
            updated_at,
        }
    })
}

/// Rows whose ids are their own, and which of them they have.
fn rows() -> Vec<Transaction> {
    let mut runner = TestRunner::deterministic();
    let mut rows: Vec<Transaction> = (0..COUNT)
        .map(|at| {
            let mut row = row().new_tree(&mut runner).unwrap().current();
            let id = |name: &str, every: usize| (at % every == 0).then(|| format!("{name}{at}"));
            row.client_request_id = id("=", 2);
            row.ids = ProviderIds {
                conversation_id: id("ws_\"", 3),
                originator_conversation_id: id("o,", 5),
                order_reference: id("'r", 7),
            };
            row.receipt = id("R\n", 2).filter(|_| row.status.is_final());
            row
        })
        .collect();
    rows.sort_by_key(|row| (row.created_at, row.id));
    rows
}

fn sheet(rows: &[Transaction], format: Format) -> String {
    let mut out = Vec::new();
    format.head(&mut out);
    format.lines(rows, &mut out);
    String::from_utf8(out).unwrap()
}

/// The same transactions as `partner` has them.
fn of(partner: PartnerId, rows: &[Transaction]) -> Vec<Transaction> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        row.partner_id = partner;
    }
    rows
}

async fn what_was_exported_is_imported_as_it_was(db: TestStore) {
    let rows = rows();
    for format in [Format::Csv, Format::Ndjson] {
        let partner = db.partner().await;
        let written = sheet(&of(partner, &rows), format);
        let (done, problems) = bring_in(&db, partner, &written).await;
        assert_eq!(problems, []);
        assert_eq!(done, summary(COUNT as u64, 0, 0));
        for read in [Format::Csv, Format::Ndjson] {
            let again = statement(&db, partner, Filter::default(), read).await;
            let expected = sheet(&of(partner, &rows), read);
            assert!(again.starts_with(&expected), "{format:?} as {read:?}");
            assert_ne!(again, expected, "the totals come after");
            let (done, problems) = bring_in(&db, partner, &again).await;
            assert_eq!((done, problems), (summary(0, COUNT as u64, 0), vec![]));
        }
    }
    db.recount().await;
}

async fn a_sheet_of_another_partner_is_brought_in_under_the_new_one(db: TestStore) {
    let (old, new) = (db.partner().await, db.partner().await);
    let file = sheet(&of(old, &rows()[..20]), Format::Csv);
    assert_eq!(bring_in(&db, new, &file).await.0, summary(20, 0, 0));
    assert_eq!(
        db.list(old, crate::support::build::everything())
            .await
            .total,
        0
    );
    assert_eq!(
        db.list(new, crate::support::build::everything())
            .await
            .total,
        20
    );
}
