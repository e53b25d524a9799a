//! A transaction's whole story: where it stands, what happened, what came in, what went out.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;

use super::page::{Frame, Section, page};
use super::rows;
use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::delivery_record::{DeliveryRecord, DeliveryState};
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::inbox::InboxRecord;
use crate::domain::partner::Scope;
use crate::domain::timeline::{TimelineEntry, TimelineKind};
use crate::domain::transaction::{IdField, Transaction};
use crate::http::{ApiError, State, catalogue_lines};
use crate::providers::catalogue::Line as CatalogueLine;

/// Callbacks that are shown of one transaction, the newest.
pub const CALLBACKS_SHOWN: i64 = 20;
/// Bytes of a callback's body that are shown.
pub const BODY_SHOWN: usize = 8 * 1024;

#[derive(Template)]
#[template(path = "console/story.html")]
struct StoryPage {
    frame: Frame,
    title: String,
    amount: String,
    currency: String,
    status: &'static str,
    status_name: &'static str,
    msisdn: String,
    path: String,
    can_reveal: bool,
    /// What the customer is told.
    said: CatalogueLine,
    facts: Vec<Fact>,
    timeline: Vec<Line>,
    callbacks: Vec<Callback>,
    deliveries: Vec<Delivery>,
    version: String,
    stream: String,
}

/// A line of the facts.
struct Fact {
    name: &'static str,
    value: String,
    link: Option<String>,
    is_code: bool,
}

/// A line of the timeline.
struct Line {
    at: Time,
    what: String,
    source: String,
    result_code: Option<String>,
    note: Option<String>,
    tone: &'static str,
}

/// A callback as it came.
pub struct Callback {
    /// When.
    pub at: Time,
    /// The word of its kind.
    pub kind: String,
    /// What became of it.
    pub state: String,
    /// How that looks.
    pub tone: &'static str,
    /// The address it came from.
    pub source: Option<String>,
    /// Why that became of it.
    pub note: Option<String>,
    /// Its body.
    pub body: String,
    /// Whether the body is longer.
    pub is_cut: bool,
}

/// A webhook on its way.
struct Delivery {
    event: String,
    url: String,
    state: &'static str,
    tone: &'static str,
    due: Option<Time>,
    attempts: Vec<Attempt>,
}

/// One try to deliver a webhook.
pub struct Attempt {
    /// 1, 2, 3, …
    pub number: u32,
    /// When it began.
    pub at: Time,
    /// How long it took, milliseconds.
    pub duration_ms: i64,
    /// What came back, or why nothing did.
    pub answer: String,
    /// The beginning of the answer's body, masked.
    pub response: Option<String>,
}

/// The page, with the phone number masked.
pub async fn show(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let (transaction, timeline) = find(&state, viewer.transaction_in_path(&path)?).await?;
    tell(&state, &viewer, &transaction, &timeline, false).await
}

/// The page with the whole phone number, this once. That it was looked at is on record first.
pub async fn reveal(
    state: Data<State>,
    viewer: Viewer,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    viewer.require(Scope::MsisdnReveal)?;
    let (transaction, timeline) = find(&state, viewer.transaction_in_path(&path)?).await?;
    let audit = viewer.audit("msisdn.reveal", transaction.partner_id, transaction.id);
    state.store.record_audit(audit).await?;
    tell(&state, &viewer, &transaction, &timeline, true).await
}

/// A transaction with its timeline.
///
/// # Errors
/// NOT_FOUND_1001; the database's.
pub async fn find(
    state: &State,
    (partner, id): (PartnerId, TransactionId),
) -> Result<(Transaction, Vec<TimelineEntry>), ApiError> {
    state
        .store
        .find_transaction(partner, id)
        .await?
        .ok_or_else(|| ApiError::not_found("There is no such transaction"))
}

async fn tell(
    state: &State,
    viewer: &Viewer,
    transaction: &Transaction,
    timeline: &[TimelineEntry],
    is_revealed: bool,
) -> Result<HttpResponse, ApiError> {
    let (partner, id) = (transaction.partner_id, transaction.id);
    let callbacks = state
        .store
        .list_callbacks_of(partner, id, CALLBACKS_SHOWN)
        .await?;
    let deliveries = state.store.list_deliveries_of(partner, id).await?;
    let rows = std::slice::from_ref(transaction);
    let lines = catalogue_lines(state, partner, rows, state.clock.now()).await?;
    let said = lines.into_iter().next().ok_or_else(ApiError::server)?;
    let msisdn = match &transaction.msisdn {
        Some(msisdn) if is_revealed => msisdn.as_str().to_owned(),
        _ => rows::number(transaction),
    };
    page(&StoryPage {
        frame: Frame::of(viewer, Section::Transactions),
        title: format!(
            "{} {}",
            text::provider(transaction.provider),
            text::kind(transaction.kind)
        ),
        amount: text::amount(transaction.amount),
        currency: transaction.currency.to_string(),
        status: transaction.status.as_str(),
        status_name: text::status(transaction.status),
        msisdn,
        path: rows::path(transaction),
        can_reveal: !is_revealed && transaction.msisdn.is_some() && viewer.may(Scope::MsisdnReveal),
        said,
        facts: facts(transaction, is_revealed),
        timeline: timeline.iter().map(line).collect(),
        callbacks: callbacks
            .iter()
            .map(|record| callback(record, is_revealed))
            .collect(),
        deliveries: deliveries.iter().map(delivery).collect(),
        version: rows::version(transaction),
        stream: format!("/console/stream?transaction_id={id}"),
    })
}

fn facts(transaction: &Transaction, is_revealed: bool) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &'static str, value: Option<&str>, is_code: bool| {
        if let Some(value) = value {
            facts.push(Fact {
                name,
                value: value.to_owned(),
                link: None,
                is_code,
            });
        }
    };
    let paid = transaction.paid.map(text::amount);
    let created = Time(transaction.created_at).exact();
    let updated = Time(transaction.updated_at).exact();
    let reversed = transaction.reversed_at.map(|at| Time(at).exact());
    let id = transaction.id.to_string();
    add("Receipt", transaction.receipt.as_deref(), true);
    add("Result", transaction.result_description.as_deref(), false);
    add("Result code", transaction.result_code.as_deref(), true);
    add(
        "Provider’s word",
        transaction.provider_status.as_deref(),
        true,
    );
    add("Paid", paid.as_deref(), false);
    add("Reversed (UTC)", reversed.as_deref(), false);
    add("Created (UTC)", Some(&created), false);
    add("Last changed (UTC)", Some(&updated), false);
    add("Transaction id", Some(&id), true);
    add(
        "Your request id",
        transaction.client_request_id.as_deref(),
        true,
    );
    add("Reference", transaction.account_reference.as_deref(), false);
    for (field, value) in transaction.ids.known() {
        // M-Pesa's carry the number.
        let masked = text::masked(value.as_bytes());
        let shown = if is_revealed { value } else { &masked };
        add(id_name(field), Some(shown), true);
    }
    add("Customer", transaction.customer_id.as_deref(), true);
    add("Tenant", transaction.tenant_id.as_deref(), true);
    add("Started at", Some(&transaction.origin), false);
    if let Some(original) = transaction.original_id {
        facts.push(Fact {
            name: "Takes back",
            value: original.to_string(),
            link: Some(format!(
                "/console/transactions/{}/{original}",
                transaction.partner_id
            )),
            is_code: true,
        });
    }
    facts
}

fn id_name(field: IdField) -> &'static str {
    match field {
        IdField::Conversation => "Provider’s id",
        IdField::OriginatorConversation => "Originator’s id",
        IdField::OrderReference => "Order reference",
        IdField::Receipt => "Receipt",
    }
}

fn line(entry: &TimelineEntry) -> Line {
    let (name, tone) = match entry.kind {
        TimelineKind::Registered => ("Registered", "plain-tag"),
        TimelineKind::StatusChanged => ("Status", ""),
        TimelineKind::LateSuccess => ("Late success", "success"),
        TimelineKind::Reversed => ("Reversed", "failed"),
        TimelineKind::IdsAttached => ("Ids attached", "plain-tag"),
        TimelineKind::News => ("News", "plain-tag"),
        TimelineKind::Completed => ("Completed", "plain-tag"),
        TimelineKind::Timeout => ("Timed out at the provider", ""),
        TimelineKind::AmountMismatch => ("Another amount was paid", "failed"),
        TimelineKind::Conflict => ("Conflict", "failed"),
        TimelineKind::Stuck => ("Stuck", "failed"),
        TimelineKind::Imported => ("Brought in as history", "plain-tag"),
    };
    let moved = match (entry.from, entry.to) {
        (Some(from), Some(to)) => {
            format!(": {} → {}", text::status(from), text::status(to))
        }
        (None, Some(to)) => format!(": {}", text::status(to)),
        _ => String::new(),
    };
    let tone = match entry.to {
        Some(to) if to.is_final() => to.as_str(),
        _ => tone,
    };
    Line {
        at: Time(entry.at),
        what: format!("{name}{moved}"),
        source: entry.source.clone(),
        result_code: entry.result_code.clone(),
        note: entry.note.clone(),
        tone,
    }
}

/// A callback for people; phone numbers are masked unless it is `is_revealed`.
pub fn callback(record: &InboxRecord, is_revealed: bool) -> Callback {
    let shown = record.body.get(..BODY_SHOWN).unwrap_or(&record.body);
    Callback {
        at: Time(record.received_at),
        kind: record.kind.clone(),
        tone: match record.state.as_str() {
            "applied" => "success",
            "conflict" | "unmatched" | "unreadable" => "failed",
            "waiting" => "",
            _ => "plain-tag",
        },
        state: record.state.clone(),
        source: record.source.clone(),
        note: record.note.clone(),
        body: if is_revealed {
            String::from_utf8_lossy(shown).into_owned()
        } else {
            text::masked(shown)
        },
        is_cut: shown.len() < record.body.len(),
    }
}

/// How a delivery stands, for people, and how that looks.
pub fn state_name(state: DeliveryState) -> (&'static str, &'static str) {
    match state {
        DeliveryState::Pending => ("pending", ""),
        DeliveryState::Delivered => ("delivered", "success"),
        DeliveryState::Dead => ("dead letter", "failed"),
    }
}

fn delivery((record, url): &(DeliveryRecord, String)) -> Delivery {
    let (state, tone) = state_name(record.state);
    Delivery {
        event: record
            .event_type
            .clone()
            .unwrap_or_else(|| format!("event {}", record.sequence)),
        url: url.clone(),
        state,
        tone,
        due: (record.state == DeliveryState::Pending).then_some(Time(record.due_at)),
        attempts: attempts(record),
    }
}

/// The tries of a delivery, the first first.
pub fn attempts(record: &DeliveryRecord) -> Vec<Attempt> {
    record
        .attempts
        .iter()
        .map(|attempt| Attempt {
            number: attempt.number,
            at: Time(attempt.at),
            duration_ms: attempt.duration_ms,
            answer: match (attempt.status, &attempt.error) {
                (Some(status), _) => status.to_string(),
                (None, Some(error)) => error.clone(),
                (None, None) => "no answer".to_owned(),
            },
            response: attempt
                .response
                .as_deref()
                .map(|response| text::masked(response.as_bytes()))
                .filter(|response| !response.is_empty()),
        })
        .collect()
}
