//! The first page: what was paid in the last 24 hours, 7 or 30 days, what is open, and what waits.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::chart::{Chart, rate};
use super::page::{Frame, Section, page};
use super::text::{self, Time};
use super::viewer::Viewer;
use crate::domain::clock::Instant;
use crate::domain::overview::{AGES, Figures, SAMPLE, Span, Step, Waiting};
use crate::domain::partner::Scope;
use crate::domain::status::Status;
use crate::domain::transaction::Provider;
use crate::http::{ApiError, Query, State};

/// Reasons that are shown, the commonest.
const REASONS_SHOWN: usize = 8;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    frame: Frame,
    spans: [(&'static str, &'static str, bool); 3],
    is_by_hour: bool,
    total: String,
    rate: String,
    failed: String,
    pending: String,
    sums: Vec<(String, String)>,
    chart: Chart,
    providers: Vec<ProviderLine>,
    reasons: Vec<Reason>,
    /// What the sample is of, if it is one.
    sample: Option<String>,
    ages: Vec<(&'static str, String)>,
    /// None while there are none.
    stuck: Option<String>,
    deliveries: String,
    oldest_due: Option<String>,
    dead: Option<String>,
    newest: Vec<(&'static str, Option<(Time, String)>)>,
}

struct ProviderLine {
    name: &'static str,
    total: String,
    success: String,
    failed: String,
    pending: String,
    rate: String,
}

struct Reason {
    code: String,
    provider: &'static str,
    text: String,
    count: String,
    /// Of the commonest, in hundredths.
    share: i64,
}

/// The page.
pub async fn show(
    state: Data<State>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let query = Query::parse(request.query_string(), &["span"])?;
    let span = query
        .parsed("span", "24h, 7d or 30d", Span::parse)?
        .unwrap_or_default();
    let now = state.clock.now();
    let partner = viewer.partner().map(|partner| partner.id);
    let figures = state.store.read_figures(partner, span, now).await?;
    let waiting = state.store.read_waiting(partner, now).await?;
    page(&overview(&viewer, span, &figures, &waiting, now))
}

fn overview(
    viewer: &Viewer,
    span: Span,
    figures: &Figures,
    waiting: &Waiting,
    now: Instant,
) -> OverviewPage {
    let mut all = Step::empty(now);
    for step in &figures.steps {
        all.success += step.success;
        all.failed += step.failed;
        all.pending += step.pending;
    }
    OverviewPage {
        frame: Frame::of(viewer, Section::Overview),
        spans: Span::ALL.map(|one| {
            let name = match one {
                Span::Day => "24 hours",
                Span::Week => "7 days",
                Span::Month => "30 days",
            };
            (one.as_str(), name, one == span)
        }),
        is_by_hour: span.is_by_hour(),
        total: text::count(all.total()),
        rate: rate(all.success, all.failed),
        failed: text::count(all.failed),
        pending: text::count(all.pending),
        sums: figures
            .statistics
            .by_currency
            .iter()
            .map(|(currency, sums)| (currency.to_string(), text::amount(sums.successful_amount)))
            .collect(),
        chart: Chart::new(span, &figures.steps),
        providers: providers(figures),
        reasons: reasons(figures),
        sample: figures
            .is_sample
            .then(|| format!("of the newest {}", text::count(SAMPLE))),
        ages: ages(waiting),
        stuck: some(waiting.stuck),
        deliveries: text::count(waiting.deliveries),
        oldest_due: waiting
            .oldest_due_at
            .filter(|due| *due < now)
            .map(|due| Time(due).age(now)),
        dead: some(waiting.dead),
        newest: Provider::ALL
            .into_iter()
            .map(|provider| {
                let found = waiting
                    .newest_callbacks
                    .iter()
                    .find(|(known, _)| *known == provider);
                let at = found.map(|(_, at)| (Time(*at), Time(*at).age(now)));
                (text::provider(provider), at)
            })
            .collect(),
    }
}

fn some(count: i64) -> Option<String> {
    (count > 0).then(|| text::count(count))
}

fn providers(figures: &Figures) -> Vec<ProviderLine> {
    Provider::ALL
        .into_iter()
        .filter_map(|provider| {
            let mut step = Step::empty(Instant::UNIX_EPOCH);
            for group in figures.groups.iter().filter(|one| one.provider == provider) {
                step.add(group.status, group.count);
            }
            (step.total() > 0).then(|| ProviderLine {
                name: text::provider(provider),
                total: text::count(step.total()),
                success: text::count(step.success),
                failed: text::count(step.failed),
                pending: text::count(step.pending),
                rate: rate(step.success, step.failed),
            })
        })
        .collect()
}

fn reasons(figures: &Figures) -> Vec<Reason> {
    let failed = || {
        figures
            .groups
            .iter()
            .filter(|group| group.status == Status::Failed)
    };
    let most = failed().map(|group| group.count).max().unwrap_or(1).max(1);
    failed()
        .take(REASONS_SHOWN)
        .map(|group| Reason {
            code: group.result_code.clone().unwrap_or_else(|| "–".to_owned()),
            provider: text::provider(group.provider),
            text: group.result_description.clone().unwrap_or_default(),
            count: text::count(group.count),
            share: group.count * 100 / most,
        })
        .collect()
}

fn ages(waiting: &Waiting) -> Vec<(&'static str, String)> {
    // In the order of AGES, and what is older than all of them.
    const NAMES: [&str; AGES.len() + 1] = [
        "under a minute",
        "1 to 10 minutes",
        "10 minutes to an hour",
        "1 to 24 hours",
        "over a day",
    ];
    NAMES
        .into_iter()
        .zip(waiting.by_age)
        .map(|(name, count)| (name, text::count(count)))
        .collect()
}
