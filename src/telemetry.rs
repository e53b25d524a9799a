//! Logs to standard error and metrics for Prometheus. Names have base units; no ids or numbers stand in labels.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, Settings};

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,actix_server=warn";

/// Upper bounds of the time histograms, seconds.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// How often old samples are folded; without it histograms would grow without bound.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Starts logging; a second call in one process changes nothing.
pub fn start_logging(settings: &Settings, quiet: bool) {
    let fallback = if quiet { "warn" } else { DEFAULT_FILTER };
    let filter = settings
        .log_filter
        .as_deref()
        // The settings have tried it.
        .and_then(|filter| EnvFilter::try_new(filter).ok())
        .unwrap_or_else(|| EnvFilter::new(fallback));
    // At its debug level the driver logs the parameters of statements, which carry phone numbers.
    let filter = ["tokio_postgres=info"]
        .into_iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let format = settings.log_format.unwrap_or_else(|| {
        if std::io::stderr().is_terminal() {
            LogFormat::Text
        } else {
            LogFormat::Json
        }
    });
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_current_span(false))
            .try_init(),
    };
    drop(started);
}

/// Starts gathering metrics; the handle renders them. In one process there is one recorder: later calls render
/// nothing of their own.
pub fn start_metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map(PrometheusBuilder::build_recorder)
        .unwrap_or_else(|_| PrometheusBuilder::new().build_recorder());
    let handle = recorder.handle();
    let _ = metrics::set_global_recorder(recorder);
    describe();
    handle
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("ussd_status_http_requests_total", "Requests answered");
    describe_histogram!(
        "ussd_status_http_request_duration_seconds",
        Unit::Seconds,
        "Time to the answer"
    );
    describe_counter!(
        "ussd_status_callbacks_total",
        "Callbacks kept, by what became of them"
    );
    describe_counter!(
        "ussd_status_callbacks_refused_total",
        "Callbacks refused and not kept, by reason"
    );
    describe_counter!(
        "ussd_status_transitions_total",
        "Status changes, registrations included"
    );
    describe_counter!(
        "ussd_status_conflicts_total",
        "News that contradicted what stands"
    );
    describe_counter!(
        "ussd_status_late_successes_total",
        "Successes that overturned an unconfirmed failure"
    );
    describe_counter!(
        "ussd_status_amount_mismatches_total",
        "Payments of another amount than asked for"
    );
    describe_counter!(
        "ussd_status_webhook_attempts_total",
        "Webhook attempts, by outcome"
    );
    describe_histogram!(
        "ussd_status_webhook_duration_seconds",
        Unit::Seconds,
        "Time of a webhook attempt"
    );
    describe_histogram!(
        "ussd_status_webhook_delay_seconds",
        Unit::Seconds,
        "From the event to its delivery"
    );
    describe_counter!(
        "ussd_status_webhook_pauses_total",
        "Times that a failing webhook endpoint was left alone for a while"
    );
    describe_gauge!("ussd_status_open_streams", "Streams that are open");
    describe_gauge!(
        "ussd_status_webhook_endpoints_paused",
        "Failing webhook endpoints that this process leaves alone now"
    );
    describe_gauge!(
        "ussd_status_open_transactions",
        "Transactions that are not final"
    );
    describe_gauge!(
        "ussd_status_pending_deliveries",
        "Webhooks not yet delivered"
    );
    describe_gauge!(
        "ussd_status_waiting_callbacks",
        "Kept callbacks whose id is not known yet"
    );
    describe_counter!(
        "ussd_status_expired_rows_total",
        "Rows removed by housekeeping"
    );
    describe_gauge!(
        "ussd_status_stuck_transactions",
        "Transactions that are asked about no more, though nobody knows what became of them"
    );
    describe_counter!(
        "ussd_status_reconciliation_questions_total",
        "Questions about silent transactions, by what came of them"
    );
    describe_counter!(
        "ussd_status_reconciliation_postponed_total",
        "Silent transactions put back because their account pauses"
    );
    describe_gauge!(
        "ussd_status_reconciliation_breaker_open",
        "Accounts whose provider is taken for down"
    );
    describe_gauge!(
        "ussd_status_reconciliation_throttled",
        "Accounts whose provider said that we ask too much"
    );
}
