//! SQL as text with numbered parameters, prepared once per connection. The hot paths (the status API and the
//! ledger) are written in it: one text that both databases understand, readable as what the database runs.
//! Diesel's own `sql_query` is prepared anew at every use, which costs PostgreSQL a round trip.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Text, Untyped};

use super::columns::{At, Id, IdSql, InstantSql};

/// A parameter.
#[derive(Clone)]
pub enum Bind {
    /// Text, also JSON.
    Text(String),
    /// A whole number.
    Number(i64),
    /// An id.
    Id(Id),
    /// An instant.
    At(At),
}

/// Texts may carry phone numbers: their length is shown.
impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Number(number) => write!(f, "Number({number})"),
            Self::Id(id) => write!(f, "{id:?}"),
            Self::At(at) => write!(f, "{at:?}"),
        }
    }
}

/// A statement with its parameters: `$1` in the text is the first, and may occur several times.
#[derive(Debug, Clone)]
pub struct Statement {
    sql: Cow<'static, str>,
    binds: Vec<Bind>,
}

impl Statement {
    /// A statement without parameters yet.
    pub fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self {
            sql: sql.into(),
            binds: Vec::new(),
        }
    }

    /// Adds the next parameter.
    pub fn bind(mut self, bind: Bind) -> Self {
        self.binds.push(bind);
        self
    }

    /// Adds a text parameter.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.bind(Bind::Text(text.into()))
    }

    /// A statement whose parameters were gathered before.
    pub fn with_binds(sql: impl Into<Cow<'static, str>>, binds: Vec<Bind>) -> Self {
        Self {
            sql: sql.into(),
            binds,
        }
    }
}

/// A statement whose rows are read by position: the `Columns` are the SQL types of what it selects, in order. Read by
/// name, every column of every row is looked for among all of them.
#[derive(Debug)]
pub struct Selecting<Columns> {
    statement: Statement,
    columns: PhantomData<fn() -> Columns>,
}

impl Statement {
    /// The same, read by position.
    pub fn selecting<Columns>(self) -> Selecting<Columns> {
        Selecting {
            statement: self,
            columns: PhantomData,
        }
    }
}

impl<Columns> Clone for Selecting<Columns> {
    fn clone(&self) -> Self {
        self.statement.clone().selecting()
    }
}

impl<Columns> QueryId for Selecting<Columns> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Columns> Query for Selecting<Columns> {
    type SqlType = Columns;
}

impl<Columns, C> diesel::RunQueryDsl<C> for Selecting<Columns> {}

impl<Columns, DB: Backend> QueryFragment<DB> for Selecting<Columns>
where
    Statement: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.statement.walk_ast(out)
    }
}

impl QueryId for Statement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

impl<C> diesel::RunQueryDsl<C> for Statement {}

impl<DB> QueryFragment<DB> for Statement
where
    DB: Backend
        + HasSqlType<IdSql>
        + HasSqlType<InstantSql>
        + HasSqlType<Text>
        + HasSqlType<BigInt>,
    String: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
    Id: ToSql<IdSql, DB>,
    At: ToSql<InstantSql, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let mut rest: &str = &self.sql;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_sql(before);
            let end = after
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(after.len());
            let (digits, tail) = after.split_at(end);
            let bind = digits
                .parse::<usize>()
                .ok()
                .and_then(|number| number.checked_sub(1))
                .and_then(|index| self.binds.get(index))
                .ok_or_else(|| {
                    diesel::result::Error::QueryBuilderError(
                        format!("no parameter ${digits} in: {}", self.sql).into(),
                    )
                })?;
            match bind {
                Bind::Text(text) => out.push_bind_param::<Text, String>(text)?,
                Bind::Number(number) => out.push_bind_param::<BigInt, i64>(number)?,
                Bind::Id(id) => out.push_bind_param::<IdSql, Id>(id)?,
                Bind::At(at) => out.push_bind_param::<InstantSql, At>(at)?,
            }
            rest = tail;
        }
        out.push_sql(rest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_prints_no_phone_number() {
        let statement = Statement::new("SELECT $1, $2")
            .text("[\"254712345678\"]")
            .bind(Bind::Number(7));
        let printed = format!("{statement:?}");
        assert!(!printed.contains("254712345678"), "{printed}");
        assert!(
            printed.contains("16 bytes") && printed.contains("Number(7)"),
            "{printed}"
        );
    }
}
