//! Blanking a phone number, a batch of rows at a time. A batch is looked through without a lock; only where the number
//! stands is the partner's feed head taken, as every commit of the ledger does, and the rows are read again and written.

use diesel_async::{AsyncConnection, RunQueryDsl};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::endpoints::lock_ledger;
use super::erasure_place::{Place, place};
use super::{Conn, DIALECT};
use crate::domain::erasure::Erasure;
use crate::domain::identity::{PartnerId, hex};
use crate::store::StoreError;
use crate::store::columns::Id;
use crate::store::dialect::Dialect;
use crate::store::rows::LineRow;
use crate::store::statement::{Bind, Statement};
use crate::store::{ERASURE_BATCH, ErasedTable, ErasureStep};

/// In the place of a digest that the erased number was part of: with everything else known, it would tell the number.
const NO_DIGEST: &str = "erased";

/// One batch of a table.
pub async fn step(
    conn: &mut Conn,
    partner: PartnerId,
    erasure: &Erasure,
    table: ErasedTable,
    from: Option<String>,
) -> Result<ErasureStep, StoreError> {
    let place = place(table);
    let from = match from {
        Some(from) => serde_json::from_str(&from)
            .map_err(|_| unreadable())
            .and_then(|row: Vec<Value>| place.key_of(&row))?,
        None => place.first_key(),
    };
    let end = place.end(partner, &from);
    let next = lines(conn, end).await?.into_iter().next();
    let to = next.as_deref().map(|row| place.key_of(row)).transpose()?;
    let found = || place.find(partner, erasure, &from, to.as_ref());
    let (mut erased, mut kept) = (0, 0);
    if !lines(conn, found()).await?.is_empty() {
        (erased, kept) = conn
            .transaction(async |conn| {
                lock_ledger(conn, partner).await?;
                let rows = lines(conn, found()).await?;
                erase(conn, partner, erasure, &place, rows).await
            })
            .await?;
    }
    let ids = match place.find_ids(partner, erasure, &from, to.as_ref()) {
        Some(found) => counted(&lines(conn, found).await?),
        None => 0,
    };
    Ok(ErasureStep {
        erased,
        kept,
        ids,
        next: next.map(|row| Value::from(row).to_string()),
    })
}

async fn erase(
    conn: &mut Conn,
    partner: PartnerId,
    erasure: &Erasure,
    place: &Place,
    rows: Vec<Vec<Value>>,
) -> Result<(u64, u64), StoreError> {
    let (mut erased, mut kept) = (0, 0);
    for row in rows {
        let Some(change) = place.change(erasure, &row) else {
            continue;
        };
        let transaction = row.get(place.key.len()).and_then(Value::as_str);
        let transaction = transaction.and_then(|text| Uuid::try_parse(text).ok());
        let is_open = match transaction {
            Some(id) => !lines(conn, open(partner, id)).await?.is_empty(),
            None => false,
        };
        let key = place.key_of(&row)?;
        if is_open || (place.has_body && !lines(conn, waiting(&key)).await?.is_empty()) {
            kept += 1;
            continue;
        }
        place.update(partner, &key, change).execute(conn).await?;
        if let (Some(id), "transactions") = (transaction, place.table) {
            let sql =
                "UPDATE payments SET digest = $1 WHERE partner_id = $2 AND transaction_id = $3";
            let statement = Statement::new(sql).text(NO_DIGEST);
            let statement = statement
                .bind(Bind::Id(Id(partner.0)))
                .bind(Bind::Id(Id(id)));
            statement.execute(conn).await?;
        }
        erased += 1;
    }
    Ok((erased, kept))
}

/// Whether a transaction may still change: its number is needed to ask, to know a repeat, and for the payer's screen.
fn open(partner: PartnerId, id: Uuid) -> Statement {
    Statement::new(format!(
        "SELECT {} AS line FROM transactions t JOIN open_transactions o ON o.partner_id = t.partner_id \
         AND o.status = t.status AND o.created_at = t.created_at AND o.transaction_id = t.id \
         WHERE t.partner_id = $1 AND t.id = $2",
        array("t.status")
    ))
    .bind(Bind::Id(Id(partner.0)))
    .bind(Bind::Id(Id(id)))
}

/// Whether a callback waits for its id.
fn waiting(key: &Key) -> Statement {
    Statement::new(format!(
        "SELECT {} AS line FROM callbacks WHERE id = $1 AND state = 'waiting'",
        array("state")
    ))
    .bind(Bind::Id(Id(key.0)))
}

fn array(fields: &str) -> String {
    match DIALECT {
        Dialect::Postgres => format!("json_build_array({fields})::text"),
        Dialect::Sqlite => format!("json_array({fields})"),
    }
}

async fn lines(conn: &mut Conn, statement: Statement) -> Result<Vec<Vec<Value>>, StoreError> {
    let rows: Vec<LineRow> = statement.load(conn).await?;
    rows.iter()
        .map(|row| serde_json::from_str(&row.line).map_err(|_| unreadable()))
        .collect()
}

fn counted(lines: &[Vec<Value>]) -> u64 {
    let count = lines.first().and_then(|line| line.as_slice().first());
    count.and_then(Value::as_u64).unwrap_or_default()
}

fn unreadable() -> StoreError {
    StoreError::Query("a row cannot be read".to_owned())
}

/// A row's place within its partner.
#[derive(Clone, Copy)]
struct Key(Uuid, Option<Second>);

#[derive(Clone, Copy)]
enum Second {
    Id(Uuid),
    Number(i64),
}

impl Key {
    fn binds(self) -> impl Iterator<Item = Bind> {
        let second = self.1.map(|second| match second {
            Second::Id(id) => Bind::Id(Id(id)),
            Second::Number(number) => Bind::Number(number),
        });
        std::iter::once(Bind::Id(Id(self.0))).chain(second)
    }
}

/// What a row will hold: column by column, as text; bytes as hex.
struct Change {
    columns: Vec<(&'static str, Option<String>)>,
    body: Option<Vec<u8>>,
}

impl Place {
    /// Before every row.
    fn first_key(&self) -> Key {
        let second = match (self.key.len(), self.is_counted) {
            (1, _) => None,
            (_, true) => Some(Second::Number(0)),
            (_, false) => Some(Second::Id(Uuid::nil())),
        };
        Key(Uuid::nil(), second)
    }

    /// The key at the beginning of a row.
    fn key_of(&self, row: &[Value]) -> Result<Key, StoreError> {
        let id = |value: Option<&Value>| {
            value
                .and_then(Value::as_str)
                .and_then(|text| Uuid::try_parse(text).ok())
                .ok_or_else(unreadable)
        };
        let second = match (self.key.len(), row.get(1).and_then(Value::as_i64)) {
            (1, _) => None,
            (_, Some(number)) => Some(Second::Number(number)),
            (_, None) => Some(Second::Id(id(row.get(1))?)),
        };
        Ok(Key(id(row.first())?, second))
    }

    fn order(&self) -> String {
        self.key.join(", ")
    }

    fn bounds(&self, partner: PartnerId, from: &Key, to: Option<&Key>) -> (String, Vec<Bind>) {
        let mut binds = vec![Bind::Id(Id(partner.0))];
        let mut condition = self.partner.to_owned();
        for (sign, key) in [(">", Some(from)), ("<=", to)] {
            let Some(key) = key else { continue };
            let first = binds.len() + 1;
            binds.extend(key.binds());
            let places: Vec<String> = (first..=binds.len()).map(|at| format!("${at}")).collect();
            condition = format!(
                "{condition} AND ({}) {sign} ({})",
                self.order(),
                places.join(", ")
            );
        }
        (condition, binds)
    }

    /// The key of the last row of a whole batch after `from`.
    fn end(&self, partner: PartnerId, from: &Key) -> Statement {
        let (condition, binds) = self.bounds(partner, from, None);
        let sql = format!(
            "SELECT {} AS line FROM {} WHERE {condition} ORDER BY {} LIMIT 1 OFFSET {}",
            array(&self.order()),
            self.table,
            self.order(),
            ERASURE_BATCH - 1
        );
        Statement::with_binds(sql, binds)
    }

    /// The rows up to there that may hold the number: key, transaction, values, texts, body.
    fn find(
        &self,
        partner: PartnerId,
        erasure: &Erasure,
        from: &Key,
        to: Option<&Key>,
    ) -> Statement {
        let (condition, mut binds) = self.bounds(partner, from, to);
        let (number, digest) = (
            format!("${}", binds.len() + 1),
            format!("${}", binds.len() + 2),
        );
        binds.push(Bind::Text(format!("%{}%", erasure.national())));
        binds.push(Bind::Text(format!("%{}%", erasure.digest())));
        let columns = self.values.iter().chain(self.texts);
        let mut fields: Vec<String> = self.key.iter().map(|name| (*name).to_owned()).collect();
        fields.push(self.transaction.to_owned());
        fields.extend(columns.clone().map(|name| (*name).to_owned()));
        let mut holds: Vec<String> = columns
            .map(|name| format!("{name} LIKE {number} OR lower({name}) LIKE {digest}"))
            .collect();
        if self.has_body {
            // As hex: a body need not be text.
            let body = match DIALECT {
                Dialect::Postgres => "encode(body, 'hex')",
                Dialect::Sqlite => "lower(hex(body))",
            };
            fields.push(body.to_owned());
            let upper = erasure.digest().to_ascii_uppercase();
            for part in [erasure.national(), erasure.digest(), &upper] {
                binds.push(Bind::Text(format!("%{}%", hex(part.as_bytes()))));
                holds.push(format!("{body} LIKE ${}", binds.len()));
            }
        }
        let sql = format!(
            "SELECT {} AS line FROM {} WHERE {condition} AND ({}) ORDER BY {}",
            array(&fields.join(", ")),
            self.table,
            holds.join(" OR "),
            self.order()
        );
        Statement::with_binds(sql, binds)
    }

    /// How many of the rows up to there have an id with the number's digits in it; nothing where there are no ids.
    fn find_ids(
        &self,
        partner: PartnerId,
        erasure: &Erasure,
        from: &Key,
        to: Option<&Key>,
    ) -> Option<Statement> {
        let (condition, mut binds) = self.bounds(partner, from, to);
        binds.push(Bind::Text(format!("%{}%", erasure.national())));
        let number = binds.len();
        let holds: Vec<String> = self
            .ids
            .iter()
            .map(|name| format!("{name} LIKE ${number}"))
            .collect();
        (!holds.is_empty()).then(|| {
            let sql = format!(
                "SELECT {} AS line FROM {} WHERE {condition} AND ({})",
                array("COUNT(*)"),
                self.table,
                holds.join(" OR ")
            );
            Statement::with_binds(sql, binds)
        })
    }

    /// What changes in a row; `None` if it only looked like the number.
    fn change(&self, erasure: &Erasure, row: &[Value]) -> Option<Change> {
        let mut change = Change {
            columns: Vec::new(),
            body: None,
        };
        let mut cells = row.iter().skip(self.key.len() + 1);
        for name in self.values {
            let value = cells.next()?;
            if value.as_str().is_some_and(|value| erasure.is(value)) {
                change.columns.push((name, None));
            }
        }
        for name in self.texts {
            let blanked = cells
                .next()?
                .as_str()
                .and_then(|text| erasure.blank_text(text));
            change
                .columns
                .extend(blanked.map(|text| (*name, Some(text))));
        }
        if self.has_body {
            let body = cells.next()?.as_str().map(bytes).unwrap_or_default();
            change.body = erasure.blank(&body);
        }
        (change.body.is_some() || !change.columns.is_empty()).then_some(change)
    }

    fn update(&self, partner: PartnerId, key: &Key, change: Change) -> Statement {
        let mut binds = vec![Bind::Id(Id(partner.0))];
        let mut sets = Vec::new();
        for (name, value) in change.columns {
            match value {
                None => sets.push(format!("{name} = NULL")),
                Some(text) => {
                    binds.push(Bind::Text(text));
                    sets.push(format!("{name} = ${}", binds.len()));
                }
            }
        }
        if let Some(body) = change.body {
            // The digest of the body as it came would tell the number to whoever tries them all.
            binds.push(Bind::Text(hex(&body)));
            let written = match DIALECT {
                Dialect::Postgres => format!("decode(${}, 'hex')", binds.len()),
                Dialect::Sqlite => format!("unhex(${})", binds.len()),
            };
            sets.push(format!("body = {written}"));
            binds.push(Bind::Text(hex(&Sha256::digest(&body))));
            sets.push(format!("digest = ${}", binds.len()));
        }
        let first = binds.len() + 1;
        binds.extend(key.binds());
        let places: Vec<String> = (first..=binds.len()).map(|at| format!("${at}")).collect();
        let sql = format!(
            "UPDATE {} SET {} WHERE {} AND ({}) = ({})",
            self.table,
            sets.join(", "),
            self.partner,
            self.order(),
            places.join(", ")
        );
        Statement::with_binds(sql, binds)
    }
}

/// The bytes of hex that the database wrote.
fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}
