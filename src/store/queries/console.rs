//! Operators of the console and their sessions.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::store::on;
use super::{Adapter, Conn, insert_audit, overview, story};
use crate::domain::clock::Instant;
use crate::domain::delivery_record::DeliveryRecord;
use crate::domain::identity::{PartnerId, TransactionId};
use crate::domain::inbox::InboxRecord;
use crate::domain::operator::{Operator, SESSION_ABSOLUTE, SESSION_IDLE, Session, SessionOwner};
use crate::domain::overview::{Figures, Span, Waiting};
use crate::store::columns::{At, Id};
use crate::store::rows::console::{OperatorRow, SessionRow};
use crate::store::rows::partners::{KeyRow, PartnerRow};
use crate::store::schema::{api_keys, operators, partners, sessions};
use crate::store::{Audit, ConsoleStore, HOUSEKEEPING_BATCH, KeyHolder, SessionHolder, StoreError};

#[async_trait]
impl ConsoleStore for Adapter {
    async fn insert_operator(&self, operator: Operator, audit: Audit) -> Result<bool, StoreError> {
        on!(self.writer, insert_operator(operator, audit))
    }

    async fn find_operator(&self, name: String) -> Result<Option<Operator>, StoreError> {
        on!(self.reader, find_operator(name))
    }

    async fn list_operators(&self) -> Result<Vec<Operator>, StoreError> {
        on!(self.reader, list_operators())
    }

    async fn remove_operator(
        &self,
        name: String,
        now: Instant,
        audit: Audit,
    ) -> Result<bool, StoreError> {
        on!(self.writer, remove_operator(name, now, audit))
    }

    async fn insert_session(&self, session: Session, audit: Audit) -> Result<(), StoreError> {
        on!(self.writer, insert_session(session, audit))
    }

    async fn find_session(
        &self,
        digest: String,
    ) -> Result<Option<(Session, SessionHolder)>, StoreError> {
        on!(self.reader, find_session(digest))
    }

    async fn touch_session(&self, digest: String, now: Instant) -> Result<(), StoreError> {
        on!(self.writer, touch_session(digest, now))
    }

    async fn set_session_partner(
        &self,
        digest: String,
        partner: Option<PartnerId>,
    ) -> Result<(), StoreError> {
        on!(self.writer, set_session_partner(digest, partner))
    }

    async fn remove_session(
        &self,
        digest: String,
        now: Instant,
        audit: Audit,
    ) -> Result<(), StoreError> {
        on!(self.writer, remove_session(digest, now, audit))
    }

    async fn remove_ended_sessions(&self, now: Instant) -> Result<u64, StoreError> {
        on!(self.writer, remove_ended_sessions(now))
    }

    async fn list_callbacks_of(
        &self,
        partner: PartnerId,
        transaction: TransactionId,
        limit: i64,
    ) -> Result<Vec<InboxRecord>, StoreError> {
        on!(
            self.reader,
            story::list_callbacks(partner, transaction, limit)
        )
    }

    async fn list_deliveries_of(
        &self,
        partner: PartnerId,
        transaction: TransactionId,
    ) -> Result<Vec<(DeliveryRecord, String)>, StoreError> {
        on!(self.reader, story::list_deliveries(partner, transaction))
    }

    async fn read_figures(
        &self,
        partner: Option<PartnerId>,
        span: Span,
        now: Instant,
    ) -> Result<Figures, StoreError> {
        on!(self.reader, overview::read_figures(partner, span, now))
    }

    async fn read_waiting(
        &self,
        partner: Option<PartnerId>,
        now: Instant,
    ) -> Result<Waiting, StoreError> {
        on!(self.reader, overview::read_waiting(partner, now))
    }
}

async fn insert_operator(
    conn: &mut Conn,
    operator: Operator,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let inserted = diesel::insert_into(operators::table)
            .values(OperatorRow::new(&operator))
            .on_conflict(operators::name)
            .do_nothing()
            .execute(conn)
            .await?;
        if inserted > 0 {
            insert_audit(conn, audit, operator.created_at).await?;
        }
        Ok(inserted > 0)
    })
    .await
}

async fn find_operator(conn: &mut Conn, name: String) -> Result<Option<Operator>, StoreError> {
    let found = operators::table
        .filter(operators::name.eq(name))
        .select(OperatorRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(found.map(Operator::from))
}

async fn list_operators(conn: &mut Conn) -> Result<Vec<Operator>, StoreError> {
    let rows: Vec<OperatorRow> = operators::table
        .order(operators::id)
        .select(OperatorRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Operator::from).collect())
}

async fn remove_operator(
    conn: &mut Conn,
    name: String,
    now: Instant,
    audit: Audit,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        // Its sessions go with it.
        let removed = diesel::delete(operators::table.filter(operators::name.eq(name)))
            .execute(conn)
            .await?;
        if removed > 0 {
            insert_audit(conn, audit, now).await?;
        }
        Ok(removed > 0)
    })
    .await
}

async fn insert_session(conn: &mut Conn, session: Session, audit: Audit) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        diesel::insert_into(sessions::table)
            .values(SessionRow::new(&session))
            .execute(conn)
            .await?;
        insert_audit(conn, audit, session.created_at).await?;
        Ok(())
    })
    .await
}

async fn find_session(
    conn: &mut Conn,
    digest: String,
) -> Result<Option<(Session, SessionHolder)>, StoreError> {
    let found: Option<SessionRow> = sessions::table
        .filter(sessions::digest.eq(digest))
        .select(SessionRow::as_select())
        .first(conn)
        .await
        .optional()?;
    let Some(session) = found.map(Session::try_from).transpose()? else {
        return Ok(None);
    };
    // A holder that was removed a moment ago took the session along.
    let holder = match session.owner {
        SessionOwner::Operator(id) => operators::table
            .filter(operators::id.eq(Id(id.0)))
            .select(OperatorRow::as_select())
            .first(conn)
            .await
            .optional()?
            .map(|row| SessionHolder::Operator(row.into())),
        SessionOwner::Key(id) => api_keys::table
            .inner_join(partners::table.on(partners::id.eq(api_keys::partner_id)))
            .filter(api_keys::id.eq(Id(id.0)))
            .select((KeyRow::as_select(), PartnerRow::as_select()))
            .first::<(KeyRow, PartnerRow)>(conn)
            .await
            .optional()?
            .map(|(key, partner)| -> Result<_, StoreError> {
                Ok(SessionHolder::Key(KeyHolder {
                    key: key.try_into()?,
                    partner: partner.try_into()?,
                }))
            })
            .transpose()?,
    };
    Ok(holder.map(|holder| (session, holder)))
}

async fn touch_session(conn: &mut Conn, digest: String, now: Instant) -> Result<(), StoreError> {
    diesel::update(sessions::table.filter(sessions::digest.eq(digest)))
        .set(sessions::seen_at.eq(At(now)))
        .execute(conn)
        .await?;
    Ok(())
}

async fn set_session_partner(
    conn: &mut Conn,
    digest: String,
    partner: Option<PartnerId>,
) -> Result<(), StoreError> {
    diesel::update(sessions::table.filter(sessions::digest.eq(digest)))
        .set(sessions::partner_id.eq(partner.map(|id| Id(id.0))))
        .execute(conn)
        .await?;
    Ok(())
}

async fn remove_session(
    conn: &mut Conn,
    digest: String,
    now: Instant,
    audit: Audit,
) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        let removed = diesel::delete(sessions::table.filter(sessions::digest.eq(digest)))
            .execute(conn)
            .await?;
        if removed > 0 {
            insert_audit(conn, audit, now).await?;
        }
        Ok(())
    })
    .await
}

async fn remove_ended_sessions(conn: &mut Conn, now: Instant) -> Result<u64, StoreError> {
    let ended: Vec<String> = sessions::table
        .filter(
            sessions::seen_at
                .le(At(now - SESSION_IDLE))
                .or(sessions::created_at.le(At(now - SESSION_ABSOLUTE))),
        )
        .order(sessions::seen_at)
        .limit(HOUSEKEEPING_BATCH)
        .select(sessions::digest)
        .load(conn)
        .await?;
    let removed = diesel::delete(sessions::table.filter(sessions::digest.eq_any(ended)))
        .execute(conn)
        .await?;
    Ok(u64::try_from(removed).unwrap_or_default())
}
