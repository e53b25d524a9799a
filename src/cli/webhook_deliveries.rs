//! `webhook deliveries`, `webhook replay`.

use clap::Args;
use serde_json::{Value, json};

use super::output::JsonArguments;
use super::webhook_changes::{actor, no_endpoint};
use super::{CliError, Desk, Output, timestamp};
use crate::domain::clock::Instant;
use crate::domain::delivery::Endpoint;
use crate::domain::delivery_record::{
    DELIVERIES_DEFAULT_LIMIT, DELIVERIES_MAX_LIMIT, DeliveryPage, DeliveryRecord, DeliveryState,
    OneReplayed, RangeReplayed, ReplayRange,
};
use crate::domain::identity::{DeliveryId, EndpointId};

/// What `webhook deliveries` takes.
#[derive(Debug, Args)]
pub struct DeliveriesArguments {
    /// The endpoint
    id: EndpointId,
    /// Only those that are pending, delivered or dead
    #[arg(long)]
    state: Option<String>,
    /// How many, 1 to 100
    #[arg(long, default_value_t = DELIVERIES_DEFAULT_LIMIT)]
    limit: i64,
    /// A next_cursor of an earlier answer
    #[arg(long, allow_negative_numbers = true)]
    cursor: Option<i64>,
    #[command(flatten)]
    output: JsonArguments,
}

/// What `webhook replay` takes.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// The endpoint
    id: EndpointId,
    /// This one delivery
    #[arg(long, required_unless_present = "since", conflicts_with_all = ["since", "until", "only_failed", "dry_run"])]
    delivery: Option<DeliveryId>,
    /// What happened then or later, RFC 3339
    #[arg(long)]
    since: Option<Instant>,
    /// What happened then or earlier, RFC 3339; now unless told
    #[arg(long)]
    until: Option<Instant>,
    /// Only what was given up
    #[arg(long)]
    only_failed: bool,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: JsonArguments,
}

pub async fn list(desk: &Desk, arguments: DeliveriesArguments) -> Result<(), CliError> {
    let state = arguments.state.map(|text| {
        text.parse::<DeliveryState>()
            .map_err(|error| CliError::Usage(format!("--state: {text:?} {error}")))
    });
    if !(1..=DELIVERIES_MAX_LIMIT).contains(&arguments.limit) {
        return Err(CliError::Usage(format!(
            "--limit: {} was given; accepted is 1 to {DELIVERIES_MAX_LIMIT}",
            arguments.limit
        )));
    }
    let page = DeliveryPage {
        state: state.transpose()?,
        before: arguments.cursor,
        limit: arguments.limit,
    };
    let endpoint = found(desk, arguments.id).await?;
    let deliveries = desk
        .store
        .list_deliveries(endpoint.partner_id, endpoint.id, page)
        .await?;
    let is_full = i64::try_from(deliveries.len()).is_ok_and(|count| count == page.limit);
    let next = deliveries.last().filter(|_| is_full);
    let objects: Vec<Value> = deliveries.iter().map(object).collect();
    let lines: Vec<String> = deliveries.iter().map(line).collect();
    Output::answer(
        arguments.output.json,
        &json!({"deliveries": objects, "next_cursor": next.map(|last| last.sequence)}),
        &lines,
    );
    Ok(())
}

fn object(delivery: &DeliveryRecord) -> Value {
    let attempts: Vec<Value> = delivery
        .attempts
        .iter()
        .map(|attempt| {
            json!({
                "number": attempt.number,
                "at": timestamp(attempt.at),
                "duration_ms": attempt.duration_ms,
                "status": attempt.status,
                "response": attempt.response,
                "error": attempt.error,
            })
        })
        .collect();
    json!({
        "id": delivery.id.to_string(),
        "transaction_id": delivery.transaction_id.map(|id| id.to_string()),
        "sequence": delivery.place_in_feed(),
        "type": delivery.event_type,
        "state": delivery.state.as_str(),
        "created_at": timestamp(delivery.created_at),
        "finished_at": delivery.finished_at.map(timestamp),
        "replayed_at": delivery.replayed_at.map(timestamp),
        "attempts": attempts,
    })
}

fn line(delivery: &DeliveryRecord) -> String {
    let last = delivery.attempts.last().map(|attempt| {
        let outcome = attempt.status.map_or_else(
            || attempt.error.clone().unwrap_or_default(),
            |status| status.to_string(),
        );
        format!("  attempt {}: {outcome}", attempt.number)
    });
    let place = delivery.place_in_feed().map(|place| place.to_string());
    format!(
        "{}  {}  {}  {}{}",
        delivery.id,
        place.as_deref().unwrap_or("–"),
        delivery.event_type.as_deref().unwrap_or("–"),
        delivery.state,
        last.unwrap_or_default()
    )
}

pub async fn replay(desk: &Desk, arguments: ReplayArguments) -> Result<(), CliError> {
    let endpoint = found(desk, arguments.id).await?;
    if let Some(delivery) = arguments.delivery {
        return replay_one(desk, &endpoint, delivery, &arguments.output).await;
    }
    let since = arguments.since.ok_or_else(|| {
        CliError::Usage("neither --since nor --delivery was given; accepted is one".to_owned())
    })?;
    let range = ReplayRange {
        since,
        until: arguments.until.unwrap_or_else(|| desk.clock.now()),
        only_failed: arguments.only_failed,
        dry_run: arguments.dry_run,
    };
    if range.until < range.since {
        return Err(CliError::Usage("--until is before --since".to_owned()));
    }
    let (count, more) = replay_range(desk, &endpoint, range).await?;
    let id = endpoint.id;
    let word = if range.dry_run { "would be" } else { "will be" };
    let plus = if more { "+" } else { "" };
    Output::answer(
        arguments.output.json,
        &json!({"id": id.to_string(), "count": count, "more": more, "dry_run": range.dry_run, "done": !range.dry_run}),
        &[format!("{count}{plus} {word} sent again to endpoint {id}")],
    );
    Ok(())
}

/// As many calls as it takes; how many events, and whether a dry run stopped counting.
async fn replay_range(
    desk: &Desk,
    endpoint: &Endpoint,
    mut range: ReplayRange,
) -> Result<(i64, bool), CliError> {
    let mut total = 0;
    loop {
        let audit = actor().audit("webhook.replay", endpoint.partner_id, endpoint.id);
        let now = desk.clock.now();
        let asked = desk
            .store
            .requeue_range(endpoint.partner_id, endpoint.id, range, now, audit);
        match asked.await? {
            RangeReplayed::Unknown => return Err(no_endpoint(endpoint.id)),
            RangeReplayed::Disabled => return Err(disabled(endpoint)),
            RangeReplayed::Done { count, next_since } => {
                total += count;
                match next_since {
                    Some(next) if !range.dry_run => range.since = next,
                    next => return Ok((total, next.is_some())),
                }
            }
        }
    }
}

async fn replay_one(
    desk: &Desk,
    endpoint: &Endpoint,
    delivery: DeliveryId,
    output: &JsonArguments,
) -> Result<(), CliError> {
    let unknown = || {
        CliError::Failed(format!(
            "endpoint {} has no delivery {delivery}",
            endpoint.id
        ))
    };
    let partner = endpoint.partner_id;
    let known = desk.store.find_delivery(partner, delivery).await?;
    if known.is_none_or(|known| known.endpoint_id != endpoint.id) {
        return Err(unknown());
    }
    let audit = actor().audit("delivery.replay", partner, delivery);
    let now = desk.clock.now();
    let asked = desk.store.requeue_delivery(partner, delivery, now, audit);
    match asked.await? {
        OneReplayed::Unknown => Err(unknown()),
        OneReplayed::Disabled => Err(disabled(endpoint)),
        OneReplayed::Done => {
            Output::answer(
                output.json,
                &json!({"id": delivery.to_string(), "done": true}),
                &[format!("delivery {delivery} will be made again")],
            );
            Ok(())
        }
    }
}

fn disabled(endpoint: &Endpoint) -> CliError {
    CliError::Failed(format!(
        "endpoint {id} is disabled; enable it first: ussd-status webhook enable {id}",
        id = endpoint.id
    ))
}

async fn found(desk: &Desk, id: EndpointId) -> Result<Endpoint, CliError> {
    let found = desk.store.find_endpoint(None, id).await?;
    found.ok_or_else(|| no_endpoint(id))
}
