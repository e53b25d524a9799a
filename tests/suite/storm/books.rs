//! The simulator's books against ours: payment by payment, event by event.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use ussd_status::domain::money::Amount;
use ussd_status::simulator::{Fault, LedgerPayment, Truth};

use super::stage::{ENDPOINTS, Stage};

/// A transaction as our database has it.
#[derive(Debug)]
struct Ours {
    id: String,
    kind: String,
    status: String,
    receipt: Option<String>,
    paid: Option<i64>,
    amount: i64,
    is_reversed: bool,
    original: Option<String>,
    has_foreign_id: bool,
    order_reference: Option<String>,
    call: Option<String>,
    is_stuck: bool,
    /// Who told the success.
    told_by: Option<String>,
}

const COLUMNS: [&str; 13] = [
    "t.id",
    "t.kind",
    "t.status",
    "t.receipt",
    "t.paid_minor",
    "t.amount_minor",
    "CASE WHEN t.reversed_at IS NULL THEN 0 ELSE 1 END",
    "t.original_id",
    "CASE WHEN t.conversation_id IS NULL AND t.originator_conversation_id IS NULL THEN 0 ELSE 1 END",
    "t.order_reference",
    "p.outcome",
    "CASE WHEN o.stuck_at IS NULL THEN 0 ELSE 1 END",
    "(SELECT MAX(e.source) FROM transaction_events e WHERE e.partner_id = t.partner_id \
     AND e.transaction_id = t.id AND e.to_status = 'success')",
];
const FROM: &str = "FROM transactions t \
     LEFT JOIN payments p ON p.partner_id = t.partner_id AND p.transaction_id = t.id \
     LEFT JOIN open_transactions o ON o.partner_id = t.partner_id AND o.transaction_id = t.id";

async fn ours(stage: &Stage) -> Vec<Ours> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let rows = stage.db.rows(&COLUMNS, FROM).await;
    rows.iter()
        .map(|row| Ours {
            id: text(&row[0]).unwrap(),
            kind: text(&row[1]).unwrap(),
            status: text(&row[2]).unwrap(),
            receipt: text(&row[3]),
            paid: row[4].as_i64(),
            amount: row[5].as_i64().unwrap(),
            is_reversed: row[6] == 1,
            original: text(&row[7]),
            has_foreign_id: row[8] == 1,
            order_reference: text(&row[9]),
            call: text(&row[10]),
            is_stuck: row[11] == 1,
            told_by: text(&row[12]),
        })
        .collect()
}

/// M-Pesa payments that succeeded, have a receipt and can be taken back: id and amount.
pub async fn reversible(stage: &Stage) -> Vec<(String, String)> {
    let rows = ours(stage).await;
    rows.into_iter()
        .filter(|row| ["stk_push", "b2c"].contains(&row.kind.as_str()))
        .filter(|row| row.status == "success" && row.receipt.is_some())
        .map(|row| (row.id, Amount(row.paid.unwrap_or(row.amount)).to_string()))
        .collect()
}

/// What a storm came to, if both books agree.
#[derive(Debug, Default)]
pub struct Balance {
    pub transactions: usize,
    pub success: usize,
    pub failed: usize,
    /// By the reason why nobody can tell.
    pub stuck: BTreeMap<&'static str, usize>,
    pub reversed: usize,
    pub struck: BTreeMap<&'static str, usize>,
}

impl Balance {
    /// Says what it was; a storm in which nothing happened proves nothing.
    pub fn print(&self) {
        let Self {
            transactions,
            success,
            failed,
            stuck,
            reversed,
            struck,
        } = self;
        println!(
            "{transactions} transactions: {success} paid, {failed} failed, {stuck:?} stuck, {reversed} reversed; {struck:?}"
        );
        assert!(
            *success > 0 && *failed > 0 && struck.len() > 5,
            "a storm is meant"
        );
    }
}

/// Both books agree on every payment, and nothing was sent twice.
pub async fn balance(stage: &Stage) -> Balance {
    let ledger = stage.simulator.ledger();
    assert_eq!(ledger.forgotten, 0);
    let mut problems = ledger.made_more_than_once();
    let ours = ours(stage).await;
    let mut theirs: BTreeMap<String, Vec<&LedgerPayment>> = BTreeMap::new();
    for payment in &ledger.payments {
        theirs.entry(key(payment)).or_default().push(payment);
    }
    let reversals: BTreeMap<&str, &Ours> = ours
        .iter()
        .filter_map(|row| Some((row.original.as_deref()?, row)))
        .collect();
    let mut balance = Balance {
        transactions: ours.len(),
        ..Balance::default()
    };
    for row in &ours {
        let entries = theirs.remove(row.order_reference.as_ref().unwrap_or(&row.id));
        let entries = entries.unwrap_or_default();
        let reversal = reversals.get(row.id.as_str()).copied();
        if let Err(problem) = agree(row, &entries, reversal) {
            let story = story(stage, &row.id).await;
            problems.push(format!("{problem}: {row:?} {entries:?}\n{story}"));
        }
        balance.success += usize::from(row.status == "success");
        balance.failed += usize::from(row.status == "failed");
        if row.is_stuck {
            *balance.stuck.entry(why_stuck(&entries)).or_default() += 1;
        }
        balance.reversed += usize::from(row.is_reversed);
        for fault in entries.iter().flat_map(|entry| &entry.faults) {
            *balance.struck.entry(fault.name()).or_default() += 1;
        }
    }
    problems.extend(theirs.keys().map(|key| format!("they alone know {key}")));
    let seed = stage.seed;
    assert!(
        problems.is_empty(),
        "STORM_SEED={seed}: {} problems\n{}",
        problems.len(),
        problems.join("\n")
    );
    balance
}

/// A transaction's timeline, a line each.
async fn story(stage: &Stage, id: &str) -> String {
    let columns = ["kind", "to_status", "source", "result_code", "note"];
    let from = format!("FROM transaction_events WHERE transaction_id = '{id}' ORDER BY at, id");
    let lines = stage.db.rows(&columns, &from).await;
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line:?}")).collect();
    lines.join("\n")
}

fn why_stuck(theirs: &[&LedgerPayment]) -> &'static str {
    match theirs.iter().find(|one| one.made) {
        None => "nothing was made, and no provider says that of a payment",
        Some(made) if made.truth == Truth::Unknown => "the provider does not know either",
        Some(_) => "answer and callback were lost, and there is no name to ask by",
    }
}

/// Our id of a payment, or our order reference: each M-Pesa request has a callback path of its own.
fn key(payment: &LedgerPayment) -> String {
    let of_path = payment.callback_path.as_deref();
    let of_path = of_path.and_then(|path| path.rsplit('/').next());
    let reference = payment.ids.order_reference.as_deref();
    reference.or(of_path).unwrap_or_default().to_owned()
}

fn agree(ours: &Ours, theirs: &[&LedgerPayment], reversal: Option<&Ours>) -> Result<(), String> {
    // Only a refused token is followed by a second request.
    let counted = theirs
        .iter()
        .filter(|one| !one.faults.contains(&Fault::InvalidatedToken));
    if counted.count() > 1 || theirs.len() > 2 {
        return Err("sent more than once".to_owned());
    }
    let is = |status: &str| {
        if ours.status == status {
            Ok(())
        } else {
            Err(format!("it is not {status}"))
        }
    };
    let Some(made) = theirs.iter().find(|one| one.made) else {
        // Refused, and we heard it; or nobody can tell us that there is nothing.
        return match ours.call.as_deref() {
            Some("refused") => is("failed"),
            _ if ours.is_stuck => is("queued"),
            _ => Err("nothing was made of it".to_owned()),
        };
    };
    if ours.is_stuck && is_beyond_asking(ours, made) {
        return Ok(());
    }
    match made.truth {
        Truth::Success => is("success").and_then(|()| is_told_as_it_was(ours, made)),
        Truth::Failed => is("failed"),
        Truth::Unknown if ours.is_stuck => Ok(()),
        Truth::Reversed => match reversal {
            Some(reversal) if reversal.is_stuck => is("success"),
            None if told_in_vain(made) && ours.status == "success" => Ok(()),
            _ if ours.is_reversed => is("failed"),
            _ => Err("it is not reversed".to_owned()),
        },
        truth => Err(format!("{truth:?} is no end")),
    }
}

/// A prompt or a reversal whose answer and callback were both lost has no name to ask by.
fn is_beyond_asking(ours: &Ours, made: &LedgerPayment) -> bool {
    ["stk_push", "reversal"].contains(&ours.kind.as_str())
        && !ours.has_foreign_id
        && told_in_vain(made)
}

/// Whether a word about it did not arrive.
fn told_in_vain(made: &LedgerPayment) -> bool {
    let is_lost = |answer: &Option<u16>| answer.is_none_or(|status| status != 200);
    let said_nothing = made.callbacks.is_empty();
    made.faults.contains(&Fault::LostCallback) || said_nothing || made.callbacks.iter().any(is_lost)
}

fn is_told_as_it_was(ours: &Ours, made: &LedgerPayment) -> Result<(), String> {
    // The answer to a prompt's query has neither, and a mutilated callback may lack them.
    let may_lack = made.faults.contains(&Fault::PartialShape)
        || ours.told_by.as_deref() == Some("query:stk_push");
    let receipt = ours.receipt.as_ref();
    if receipt != made.ids.receipt.as_ref() && !(receipt.is_none() && may_lack) {
        return Err("another receipt".to_owned());
    }
    let paid = made.amount_paid.as_deref().unwrap_or_default();
    let paid: Amount = paid.parse().map_err(|_| format!("they paid {paid}"))?;
    match ours.paid {
        Some(ours) if ours == paid.minor() => Ok(()),
        None if may_lack => Ok(()),
        other => Err(format!("paid {paid}, not {other:?}")),
    }
}

/// Each transition is one event, and each event was told each endpoint under one id of its own.
pub async fn every_transition_was_told_once(stage: &Stage, may_repeat: bool) {
    stage.db.recount().await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let from = "FROM transaction_events WHERE sequence IS NOT NULL";
    let events = stage
        .db
        .rows(
            &["transaction_id", "sequence", "to_status", "from_status"],
            from,
        )
        .await;
    let mut moves = BTreeSet::new();
    for event in &events {
        // A late success may be taken back: failed twice, but not from the same status.
        let from = event[3].as_str().map(str::to_owned);
        let is_first = moves.insert((text(&event[0]), from, text(&event[2])));
        assert!(is_first, "{event:?} happened twice");
    }
    let happened: BTreeSet<(String, u64)> = events
        .iter()
        .map(|event| (text(&event[0]), event[1].as_u64().unwrap()))
        .collect();
    let mut told: BTreeMap<(String, String, u64), BTreeSet<String>> = BTreeMap::new();
    for webhook in stage.heard().await {
        if !webhook.verified || webhook.answered != 200 {
            continue;
        }
        assert!(
            may_repeat || !webhook.duplicate,
            "{webhook:?} was told twice"
        );
        let of = (
            webhook.label,
            webhook.transaction_id.unwrap(),
            webhook.sequence.unwrap(),
        );
        told.entry(of).or_default().insert(webhook.webhook_id);
    }
    for name in ENDPOINTS {
        let heard: BTreeSet<(String, u64)> = told
            .keys()
            .filter(|(label, ..)| label == name)
            .map(|(_, id, sequence)| (id.clone(), *sequence))
            .collect();
        assert_eq!(heard, happened, "what {name} heard");
    }
    assert!(told.values().all(|ids| ids.len() == 1), "one id an event");
}
