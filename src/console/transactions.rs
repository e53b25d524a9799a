//! The list of transactions, with the API's filters. An operator who has chosen no partner sees everybody's, merged by age.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::page::{Frame, Section, page};
use super::rows::{self, Row};
use super::text;
use super::viewer::Viewer;
use crate::domain::clock::Instant;
use crate::domain::identity::PartnerId;
use crate::domain::partner::{Partner, Scope};
use crate::domain::search::{Cursor, Position, Search};
use crate::domain::status::Status;
use crate::domain::transaction::Transaction;
use crate::http::{ApiError, Query, State, encode_cursor, search};
use crate::store::StoreError;

/// The filters, by the names the API gives them.
const FILTERS: [&str; 8] = [
    "status",
    "msisdn",
    "transaction_receipt",
    "client_request_id",
    "conversation_id",
    "transaction_id",
    "from",
    "to",
];
/// Rows of a page.
const PAGE: i64 = 50;

/// The filters as a page sends them: blanks are left out, and a browser's time without a zone is UTC.
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads a query string.
    pub fn parse(query: &str) -> Self {
        let sent = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        Self(
            sent.filter(|(_, value)| !value.trim().is_empty())
                .map(|(name, value)| {
                    let value = value.trim().to_owned();
                    let has_no_zone = value.len() == "2026-11-25T12:00".len()
                        && matches!(name.as_str(), "from" | "to");
                    (
                        name,
                        if has_no_zone {
                            format!("{value}:00Z")
                        } else {
                            value
                        },
                    )
                })
                .collect(),
        )
    }

    /// What was sent for a filter.
    pub fn value(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(filter, _)| filter == name)
            .map_or("", |(_, value)| value)
    }

    /// A time as a browser's field for it takes it.
    pub fn local(&self, name: &str) -> &str {
        self.value(name).get(..16).unwrap_or_default()
    }

    /// Whether there are any but a status and a number.
    fn are_many(&self) -> bool {
        FILTERS
            .iter()
            .skip(2)
            .any(|name| !self.value(name).is_empty())
    }

    /// All of it, the place of the page too.
    pub fn whole(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.0).finish()
    }

    /// Without the place of the page.
    pub fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.0.iter().filter(|(name, _)| name != "cursor") {
            query.append_pair(name, value);
        }
        query.finish()
    }

    /// What the API makes of them.
    ///
    /// # Errors
    /// VALIDATION_1002.
    pub fn search(&self) -> Result<Search, ApiError> {
        let mut known = FILTERS.to_vec();
        known.push("cursor");
        let mut search = search(&Query::parse(&self.whole(), &known)?)?;
        search.limit = PAGE;
        search.with_statistics = false;
        Ok(search)
    }
}

#[derive(Template)]
#[template(path = "console/transactions.html")]
struct TransactionsPage {
    frame: Frame,
    filters: Filters,
    are_many: bool,
    problem: Option<String>,
    statuses: [(&'static str, &'static str); 4],
    rows: Vec<Row>,
    has_partners: bool,
    total: String,
    is_first: bool,
    first: String,
    next: Option<String>,
    stream: Option<String>,
}

/// The page.
pub async fn list(
    state: Data<State>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    viewer.require(Scope::StatusRead)?;
    let filters = Filters::parse(request.query_string());
    let (search, problem) = match filters.search() {
        Ok(search) => (Some(search), None),
        Err(error) => (None, Some(error.text)),
    };
    let partners = rows::partners(state.store.as_ref(), &viewer).await?;
    let found = match &search {
        Some(search) => find(&state, &viewer, partners.as_deref(), search).await?,
        None => Found::default(),
    };
    let query = filters.query();
    let is_first = search
        .as_ref()
        .is_none_or(|search| search.position == Position::Offset(0));
    let next = found.next.map(|cursor| {
        let and = if query.is_empty() { "" } else { "&" };
        format!(
            "/console/transactions?{query}{and}cursor={}",
            encode_cursor(cursor)
        )
    });
    page(&TransactionsPage {
        frame: Frame::of(&viewer, Section::Transactions),
        are_many: filters.are_many(),
        statuses: [
            Status::Queued,
            Status::Accepted,
            Status::Success,
            Status::Failed,
        ]
        .map(|status| (status.as_str(), text::status(status))),
        rows: found
            .transactions
            .iter()
            .map(|transaction| Row::new(transaction, partners.as_deref()))
            .collect(),
        has_partners: partners.is_some(),
        total: text::count(found.total),
        is_first,
        first: format!("/console/transactions?{query}"),
        stream: (is_first && problem.is_none()).then(|| format!("/console/stream?{query}")),
        next,
        problem,
        filters,
    })
}

#[derive(Default)]
struct Found {
    transactions: Vec<Transaction>,
    total: i64,
    next: Option<Cursor>,
}

async fn find(
    state: &State,
    viewer: &Viewer,
    partners: Option<&[Partner]>,
    search: &Search,
) -> Result<Found, StoreError> {
    let now = state.clock.now();
    match (viewer.partner(), partners) {
        (Some(partner), _) => {
            let listing = state
                .store
                .list_transactions(partner.id, search.clone(), now)
                .await?;
            Ok(Found {
                transactions: listing.transactions,
                total: listing.total,
                next: listing.next,
            })
        }
        (None, Some(partners)) => {
            merge(state, partners.iter().map(|one| one.id), search, now).await
        }
        (None, None) => Ok(Found::default()),
    }
}

/// The rows of the first page.
///
/// # Errors
/// The database's.
pub async fn first_page(
    state: &State,
    viewer: &Viewer,
    partners: Option<&[Partner]>,
    search: &Search,
) -> Result<Vec<Transaction>, StoreError> {
    let search = Search {
        position: Position::Offset(0),
        ..search.clone()
    };
    Ok(find(state, viewer, partners, &search).await?.transactions)
}

/// A page of several partners' transactions: a page of each, of which the newest are kept.
async fn merge(
    state: &State,
    partners: impl Iterator<Item = PartnerId>,
    search: &Search,
    now: Instant,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut has_more = false;
    for partner in partners {
        let listing = state
            .store
            .list_transactions(partner, search.clone(), now)
            .await?;
        found.total += listing.total;
        has_more |= listing.has_more;
        found.transactions.extend(listing.transactions);
        has_more |= keep_newest(&mut found.transactions);
    }
    found.next = found
        .transactions
        .last()
        .filter(|_| has_more)
        .map(|last| Cursor {
            created_at: last.created_at,
            id: last.id,
        });
    Ok(found)
}

/// Whether there were more than a page of them.
fn keep_newest(transactions: &mut Vec<Transaction>) -> bool {
    transactions.sort_unstable_by_key(|one| std::cmp::Reverse((one.created_at, one.id)));
    let page = usize::try_from(PAGE).unwrap_or_default();
    let are_more = transactions.len() > page;
    transactions.truncate(page);
    are_more
}
