//! The bare databases' own bounds: the same statements through the same drivers, without our code.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use diesel::connection::{InstrumentationEvent, LoadConnection, SimpleConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::row::{Field, Row};
use diesel::sql_types::{Text, Untyped};
use diesel::sqlite::{Sqlite, SqliteConnection};
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use ussd_status::domain::search::BulkLookup;

use super::database::{Database, SQLITE_SET_UP, block_on, connect, open_store};
use super::load::Measured;

/// Listens to what the store sends to look many ids up. To be called before any other connection is opened.
pub fn bulk_statement(database: &Database, partner: &str) -> String {
    static HEARD: Mutex<String> = Mutex::new(String::new());
    diesel::connection::set_default_instrumentation(|| {
        Some(Box::new(|event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                let text = query.to_string();
                let sql = text.split(" -- binds:").next().unwrap_or_default();
                if sql.contains("FROM routes") {
                    sql.clone_into(&mut HEARD.lock().unwrap());
                }
            }
        }))
    })
    .unwrap();
    block_on(async {
        let store = open_store(database).await;
        let lookup = BulkLookup {
            conversation_ids: vec!["any".to_owned()],
            ..BulkLookup::default()
        };
        store
            .find_transactions(partner.parse().unwrap(), lookup)
            .await
            .unwrap();
    });
    diesel::connection::set_default_instrumentation(|| None).unwrap();
    HEARD.lock().unwrap().clone()
}

/// The statement for a hundred ids over so many connections; `lists` are JSON arrays of ids.
pub fn bulk(
    database: &Database,
    sql: &str,
    partner: &str,
    lists: &[String],
    connections: usize,
    limit: Duration,
) -> Measured {
    match database {
        Database::Sqlite(path) => threads(connections, limit, |number| {
            let mut conn = sqlite(path.to_str().unwrap());
            let mut turn = number * 37;
            move || {
                turn += 1;
                let list = &lists[turn % lists.len()];
                let statement = Numbered {
                    sql: sql.to_owned(),
                    binds: vec![partner.to_owned(), partner.to_owned(), list.clone()],
                };
                let rows = LoadConnection::load(&mut conn, statement).unwrap();
                let mut bytes = 0;
                for row in rows {
                    let row = row.unwrap();
                    for index in 0..row.field_count() {
                        bytes += usize::from(!row.get(index).unwrap().is_null());
                    }
                }
                assert!(bytes > 0);
            }
        }),
        Database::Postgres(url) => postgres(
            url,
            connections,
            limit,
            sql,
            &[Type::UUID, Type::UUID, Type::TEXT],
            |turn| {
                let partner = RawId::parse(partner);
                let list = lists[turn % lists.len()].clone();
                vec![Box::new(partner), Box::new(partner), Box::new(list)]
            },
        ),
    }
}

/// One-row updates, each its own durable commit.
pub fn commits(database: &Database, connections: usize, limit: Duration) -> Measured {
    const ROWS: &str =
        "CREATE TABLE IF NOT EXISTS figures_bare (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)";
    match database {
        Database::Sqlite(path) => {
            let path = path.with_extension("bare.db");
            let path = path.to_str().unwrap();
            sqlite(path)
                .batch_execute(&format!(
                    "{ROWS}; INSERT OR IGNORE INTO figures_bare VALUES (0, 0)"
                ))
                .unwrap();
            threads(connections, limit, |_| {
                let mut conn = sqlite(path);
                move || {
                    let statement = Numbered {
                        sql: "UPDATE figures_bare SET n = n + 1 WHERE id = 0".to_owned(),
                        binds: Vec::new(),
                    };
                    assert_eq!(statement.execute(&mut conn).unwrap(), 1);
                }
            })
        }
        Database::Postgres(url) => {
            database.execute(&format!(
                "{ROWS}; INSERT INTO figures_bare SELECT i, 0 FROM generate_series(0, 63) AS g(i) ON CONFLICT DO NOTHING"
            ));
            let sql = "UPDATE figures_bare SET n = n + 1 WHERE id = $1";
            postgres(url, connections, limit, sql, &[Type::INT4], |turn| {
                let id = i32::try_from(turn % connections).unwrap();
                vec![Box::new(id)]
            })
        }
    }
}

/// Runs an act over and over on so many threads.
fn threads<A: FnMut() + Send>(
    count: usize,
    limit: Duration,
    act: impl Fn(usize) -> A + Sync,
) -> Measured {
    let started = Instant::now();
    let latencies: Vec<Duration> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..count)
            .map(|number| {
                let act = &act;
                scope.spawn(move || {
                    let mut act = act(number);
                    let mut latencies = Vec::new();
                    while started.elapsed() < limit {
                        let began = Instant::now();
                        act();
                        latencies.push(began.elapsed());
                    }
                    latencies
                })
            })
            .collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    Measured::of(latencies, started.elapsed())
}

fn sqlite(path: &str) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(path).unwrap();
    conn.batch_execute(SQLITE_SET_UP).unwrap();
    conn
}

type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

/// Runs a prepared statement over and over; the turns of a connection keep its number.
fn postgres(
    url: &str,
    connections: usize,
    limit: Duration,
    sql: &str,
    types: &[Type],
    parameters: impl Fn(usize) -> Parameters,
) -> Measured {
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let client = connect(url).await;
            let statement = client.prepare_typed(sql, types).await.unwrap();
            clients.push((client, statement));
        }
        let started = Instant::now();
        let parameters = &parameters;
        let tasks = clients.iter().enumerate().map(async |(number, client)| {
            let (client, statement) = client;
            let mut latencies = Vec::new();
            let mut turn = number;
            while started.elapsed() < limit {
                turn += connections;
                let all = parameters(turn);
                let all: Vec<&(dyn ToSql + Sync)> = all
                    .iter()
                    .map(|one| &**one as &(dyn ToSql + Sync))
                    .collect();
                let began = Instant::now();
                client.query(statement, &all).await.unwrap();
                latencies.push(began.elapsed());
            }
            latencies
        });
        let all = futures_util::future::join_all(tasks).await;
        Measured::of(all.into_iter().flatten().collect(), started.elapsed())
    })
}

/// A UUID for the driver.
#[derive(Debug, Clone, Copy)]
struct RawId([u8; 16]);

impl RawId {
    fn parse(text: &str) -> Self {
        Self(*text.parse::<uuid::Uuid>().unwrap().as_bytes())
    }
}

impl ToSql for RawId {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::UUID
    }

    to_sql_checked!();
}

/// SQL with `?` for texts, prepared once a connection.
struct Numbered {
    sql: String,
    binds: Vec<String>,
}

impl QueryId for Numbered {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Numbered {
    type SqlType = Untyped;
}

impl<C> RunQueryDsl<C> for Numbered {}

impl QueryFragment<Sqlite> for Numbered {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let mut parts = self.sql.split('?');
        out.push_sql(parts.next().unwrap_or_default());
        for (part, bind) in parts.zip(&self.binds) {
            out.push_bind_param::<Text, String>(bind)?;
            out.push_sql(part);
        }
        Ok(())
    }
}
