//! The statement behind the provider routes' lists: one provider's transactions by customer, number, reference or
//! standing. Narrow ones walk their own index; what is open or failed is found in its side table.

use super::columns::Id;
use super::rows::transactions::transaction_columns;
use super::search_sql::storable;
use super::statement::{Bind, Statement};
use crate::domain::identity::PartnerId;
use crate::domain::search::{ProviderFilter, Standing};

/// A page of a provider's transactions, newest first.
pub fn list(partner: PartnerId, filter: &ProviderFilter, limit: i64, offset: i64) -> Statement {
    let mut binds = vec![
        Bind::Id(Id(partner.0)),
        Bind::Text(filter.provider.as_str().to_owned()),
    ];
    let mut conditions = vec!["t.partner_id = $1".to_owned(), "t.provider = $2".to_owned()];
    let narrow = [
        ("customer_id", filter.customer_id.as_deref()),
        (
            "msisdn",
            filter.msisdn.as_ref().map(|msisdn| msisdn.as_str()),
        ),
        ("account_reference", filter.account_reference.as_deref()),
    ];
    let is_narrow = narrow.iter().any(|(_, value)| value.is_some());
    for (column, value) in narrow {
        if let Some(value) = value {
            binds.push(Bind::Text(storable(value.to_owned())));
            conditions.push(format!("t.{column} = ${}", binds.len()));
        }
    }
    let (table, words) = match filter.standing {
        None => (None, ""),
        Some(Standing::Success) => (None, "'success'"),
        Some(Standing::Pending) => (Some("open_transactions"), "'queued', 'accepted'"),
        Some(Standing::Failed) => (Some("failed_transactions"), "'failed'"),
    };
    if !words.is_empty() {
        conditions.push(format!("t.status IN ({words})"));
    }
    let (from, age, id) = match table.filter(|_| !is_narrow) {
        Some(table) => {
            conditions.insert(0, "s.partner_id = $1".to_owned());
            if filter.standing == Some(Standing::Pending) {
                conditions.push(format!("s.status IN ({words})"));
            }
            (
                format!(
                    "{table} s JOIN transactions t ON t.partner_id = s.partner_id AND t.id = s.transaction_id"
                ),
                "s.created_at",
                "s.transaction_id",
            )
        }
        None => ("transactions t".to_owned(), "t.created_at", "t.id"),
    };
    binds.extend([Bind::Number(limit), Bind::Number(offset)]);
    let sql = format!(
        "SELECT {columns} FROM {from} WHERE {conditions} ORDER BY {age} DESC, {id} DESC LIMIT ${} OFFSET ${}",
        binds.len() - 1,
        binds.len(),
        columns = transaction_columns("t"),
        conditions = conditions.join(" AND "),
    );
    Statement::with_binds(sql, binds)
}
