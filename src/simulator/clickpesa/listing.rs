//! All payments or payouts of a client, filtered, sorted and a page at a time.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, answered, client_of, payments, payouts};
use crate::simulator::world::{World, locked};

/// How many are listed if the request does not say.
const USUAL_LIMIT: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    start_date: Option<String>,
    end_date: Option<String>,
    status: Option<String>,
    collected_currency: Option<String>,
    currency: Option<String>,
    channel: Option<String>,
    order_reference: Option<String>,
    client_id: Option<String>,
    sort_by: Option<String>,
    order_by: Option<String>,
    skip: Option<usize>,
    limit: Option<usize>,
}

pub(super) async fn payments(
    world: web::Data<World>,
    request: HttpRequest,
    wanted: web::Query<Wanted>,
) -> HttpResponse {
    let result = client_of(&world, &request).and_then(|client_id| {
        let all = locked(&world.clickpesa.payments)
            .iter()
            .filter(|(_, payment)| payment.client_id == client_id)
            .map(|(_, payment)| payments::shown(payment))
            .collect();
        wanted.page(all)
    });
    answered(result)
}

pub(super) async fn payouts(
    world: web::Data<World>,
    request: HttpRequest,
    wanted: web::Query<Wanted>,
) -> HttpResponse {
    let result = client_of(&world, &request).and_then(|client_id| {
        let all = locked(&world.clickpesa.payouts)
            .iter()
            .filter(|(_, payout)| payout.client_id == client_id)
            .map(|(_, payout)| payouts::shown(payout))
            .collect();
        wanted.page(all)
    });
    answered(result)
}

impl Wanted {
    fn page(&self, all: Vec<Value>) -> Result<Value, Refusal> {
        let start = day("startDate", self.start_date.as_deref())?;
        let end = day("endDate", self.end_date.as_deref())?;
        let mut fitting: Vec<Value> = all
            .into_iter()
            .filter(|one| {
                let created = text(one, "createdAt").get(..10).unwrap_or_default();
                start.as_deref().is_none_or(|start| start <= created)
                    && end.as_deref().is_none_or(|end| created <= end)
                    && self.fits(one)
            })
            .collect();
        let by = self.sort_by.as_deref().unwrap_or("createdAt");
        // What was made in the same instant is told apart by its reference.
        fitting.sort_by_key(|one| {
            (
                text(one, by).to_owned(),
                text(one, "orderReference").to_owned(),
            )
        });
        if self.order_by.as_deref() != Some("ASC") {
            fitting.reverse();
        }
        let total = fitting.len();
        let data: Vec<Value> = fitting
            .into_iter()
            .skip(self.skip.unwrap_or(0))
            .take(self.limit.unwrap_or(USUAL_LIMIT))
            .collect();
        Ok(json!({"data": data, "totalCount": total}))
    }

    fn fits(&self, one: &Value) -> bool {
        [
            ("status", &self.status),
            ("collectedCurrency", &self.collected_currency),
            ("currency", &self.currency),
            ("channel", &self.channel),
            ("orderReference", &self.order_reference),
            ("clientId", &self.client_id),
        ]
        .into_iter()
        .all(|(name, wanted)| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == text(one, name))
        })
    }
}

fn text<'a>(one: &'a Value, name: &str) -> &'a str {
    one.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Year, month and day, or the other way round; as the first.
fn day(name: &str, sent: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(sent) = sent else {
        return Ok(None);
    };
    NaiveDate::parse_from_str(sent, "%Y-%m-%d")
        .or_else(|_| NaiveDate::parse_from_str(sent, "%d-%m-%Y"))
        .map(|day| Some(day.format("%Y-%m-%d").to_string()))
        .map_err(|_| Refusal::new(400, format!("{name} must be YYYY-MM-DD or DD-MM-YYYY")))
}
