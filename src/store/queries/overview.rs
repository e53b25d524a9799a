//! The console's figures. What counters know is read from them; what they do not tell apart is counted among the newest
//! transactions only, so that nothing here costs more when the tables grow.

use diesel_async::RunQueryDsl;

use super::deliveries::IS_TO_SEND;
use super::{Conn, DIALECT};
use crate::domain::clock::Instant;
use crate::domain::identity::PartnerId;
use crate::domain::money::Amount;
use crate::domain::overview::{
    AGES, Figures, Group, NEWEST_CALLBACKS, SAMPLE, Span, Step, Waiting,
};
use crate::store::StoreError;
use crate::store::columns::{At, Id};
use crate::store::rows::console::{
    AgesRow, CountedRow, GroupRow, NewestRow, ShareRow, WaitingRow, counted, group, newest,
};
use crate::store::search_sql::{day_end, hour_end};
use crate::store::statement::{Bind, Statement};

/// `AND x.partner_id = $n`, or nothing for all partners; and the parameter.
fn of(partner: Option<PartnerId>, column: &str, place: usize) -> (String, Option<Bind>) {
    match partner {
        Some(partner) => (
            format!(" AND {column} = ${place}"),
            Some(Bind::Id(Id(partner.0))),
        ),
        None => (String::new(), None),
    }
}

fn bound(statement: Statement, bind: Option<Bind>) -> Statement {
    match bind {
        Some(bind) => statement.bind(bind),
        None => statement,
    }
}

pub async fn read_figures(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    span: Span,
    now: Instant,
) -> Result<Figures, StoreError> {
    let (period, last) = if span.is_by_hour() {
        ("hour", hour_end(now))
    } else {
        ("day", day_end(now))
    };
    let start = last - span.step() * span.steps();
    let mut figures = Figures {
        steps: (1..=span.steps())
            .map(|step| Step::empty(start + span.step() * step))
            .collect(),
        ..Figures::default()
    };
    // By way of the partners, so that the counters' key leads to the rows even of all partners; to SQLite the words
    // CROSS JOIN mean that they come first.
    let (only, bind) = of(partner, "p.id", 2);
    let sql = format!(
        "SELECT c.ends_at, c.currency, c.status, {} AS n, {} AS amount_minor \
         FROM partners p CROSS JOIN counters c \
         WHERE c.partner_id = p.id AND c.period = '{period}' AND c.ends_at > $1 AND NOT c.is_reversal{only} GROUP BY c.ends_at, c.currency, c.status",
        DIALECT.number("SUM(c.n)"),
        DIALECT.number("SUM(c.amount_minor)"),
    );
    let rows: Vec<CountedRow> = bound(Statement::new(sql).bind(Bind::At(At(start))), bind)
        .load(conn)
        .await?;
    for row in rows {
        let (ends_at, currency, status, n, amount) = counted(row)?;
        if let Some(step) = figures
            .steps
            .iter_mut()
            .find(|step| step.ends_at == ends_at)
        {
            step.add(status, n);
        }
        figures.statistics.add(currency, status, n, Amount(amount));
    }
    let (groups, is_sample) = tell_apart(conn, partner, (period, start)).await?;
    figures.groups = groups;
    figures.is_sample = is_sample;
    Ok(figures)
}

/// The newest transactions, of each partner its share, by provider, status and code.
async fn tell_apart(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    (period, start): (&str, Instant),
) -> Result<(Vec<Group>, bool), StoreError> {
    let (only, bind) = of(partner, "p.id", 2);
    let shares = format!(
        "SELECT p.id, {} AS n FROM partners p CROSS JOIN counters c \
         WHERE c.partner_id = p.id AND c.period = '{period}' AND c.ends_at > $1 AND NOT c.is_reversal{only} GROUP BY p.id",
        DIALECT.number("SUM(c.n)")
    );
    let shares: Vec<ShareRow> = bound(Statement::new(shares).bind(Bind::At(At(start))), bind)
        .load(conn)
        .await?;
    let all: i64 = shares.iter().map(|share| share.n).sum();
    let mut groups: Vec<Group> = Vec::new();
    for share in &shares {
        let limit = if all <= SAMPLE {
            share.n
        } else {
            // At least one of everybody.
            (share.n.saturating_mul(SAMPLE) / all).max(1)
        };
        let rows: Vec<GroupRow> = Statement::new(
            "SELECT provider, status, result_code, MAX(result_description) AS result_description, COUNT(*) AS n \
             FROM (SELECT t.provider, t.status, t.result_code, t.result_description FROM transactions t \
             WHERE t.partner_id = $1 AND t.created_at >= $2 AND t.kind <> 'reversal' \
             ORDER BY t.created_at DESC, t.id DESC LIMIT $3) newest GROUP BY provider, status, result_code",
        )
        .bind(Bind::Id(share.id))
        .bind(Bind::At(At(start)))
        .bind(Bind::Number(limit))
        .load(conn)
        .await?;
        for row in rows {
            let found = group(row)?;
            let same = groups.iter_mut().find(|one| {
                (one.provider, one.status) == (found.provider, found.status)
                    && one.result_code == found.result_code
            });
            match same {
                Some(same) => same.count += found.count,
                None => groups.push(found),
            }
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok((groups, all > SAMPLE))
}

pub async fn read_waiting(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    now: Instant,
) -> Result<Waiting, StoreError> {
    let mut waiting = read_open(conn, partner, now).await?;
    let (only, bind) = of(partner, "d.partner_id", 1);
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM deliveries d WHERE {IS_TO_SEND}{only}) AS deliveries, \
         (SELECT MIN(d.due_at) FROM deliveries d WHERE {IS_TO_SEND}{only}) AS oldest_due_at, \
         (SELECT COUNT(*) FROM deliveries d WHERE d.state = 'dead'{only}) AS dead"
    );
    let rows: Vec<WaitingRow> = bound(Statement::new(sql), bind).load(conn).await?;
    if let Some(row) = rows.into_iter().next() {
        waiting.deliveries = row.deliveries;
        waiting.oldest_due_at = row.oldest_due_at.map(|at| at.0);
        waiting.dead = row.dead;
    }
    // A partner's newest are found by its newest transactions, everybody's by the order in which they came.
    let newest_rows = match partner {
        Some(partner) => Statement::new(
            "SELECT c.provider, c.received_at FROM callbacks c \
             WHERE c.partner_id = $1 AND c.transaction_id IS NOT NULL ORDER BY c.transaction_id DESC LIMIT $2",
        )
        .bind(Bind::Id(Id(partner.0)))
        .bind(Bind::Number(NEWEST_CALLBACKS)),
        None => Statement::new(
            "SELECT c.provider, c.received_at FROM callbacks c ORDER BY c.id DESC LIMIT $1",
        )
        .bind(Bind::Number(NEWEST_CALLBACKS)),
    };
    let rows: Vec<NewestRow> = newest_rows.load(conn).await?;
    for row in rows {
        let (provider, at) = newest(row)?;
        let known = waiting
            .newest_callbacks
            .iter_mut()
            .find(|(known, _)| *known == provider);
        match known {
            Some((_, newest)) => *newest = at.max(*newest),
            None => waiting.newest_callbacks.push((provider, at)),
        }
    }
    waiting.newest_callbacks.sort_unstable();
    Ok(waiting)
}

async fn read_open(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    now: Instant,
) -> Result<Waiting, StoreError> {
    let younger =
        |place: usize| format!("SUM(CASE WHEN o.created_at > ${place} THEN 1 ELSE 0 END)");
    let (only, bind) = of(partner, "o.partner_id", AGES.len() + 1);
    let columns: Vec<String> = (1..=AGES.len())
        .map(|place| {
            let sum = DIALECT.number(&format!("COALESCE({}, 0)", younger(place)));
            format!("{sum} AS younger_{place}")
        })
        .collect();
    let sql = format!(
        "SELECT {}, COUNT(*) AS n, {} AS stuck FROM open_transactions o WHERE o.status <> 'failed'{only}",
        columns.join(", "),
        DIALECT.number("COALESCE(SUM(CASE WHEN o.stuck_at IS NULL THEN 0 ELSE 1 END), 0)"),
    );
    let statement = AGES.iter().fold(Statement::new(sql), |statement, age| {
        statement.bind(Bind::At(At(now - *age)))
    });
    let rows: Vec<AgesRow> = bound(statement, bind).load(conn).await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(Waiting::default());
    };
    Ok(Waiting {
        by_age: [
            row.younger_1,
            row.younger_2 - row.younger_1,
            row.younger_3 - row.younger_2,
            row.younger_4 - row.younger_3,
            row.n - row.younger_4,
        ],
        stuck: row.stuck,
        ..Waiting::default()
    })
}
