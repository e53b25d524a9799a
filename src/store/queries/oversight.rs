//! What oversight reads: pages by their last line, whole pictures in one look.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::super::Db;
use super::deliveries::IS_TO_SEND;
use super::store::on;
use super::{Adapter, Conn, enquiries};
use crate::domain::clock::Instant;
use crate::domain::enquiry::{Enquiry, EnquiryAnswer};
use crate::domain::identity::{AccountId, AuditId, CallbackId, EnquiryId, KeyId, PartnerId};
use crate::domain::inbox::InboxRecord;
use crate::domain::oversight::{AuditFilter, AuditRecord, EndpointBacklog};
use crate::domain::status_update::Balance;
use crate::store::columns::{At, Id};
use crate::store::rows::console::InboxRow;
use crate::store::rows::oversight::{AccountBalanceRow, AuditLine, BacklogRow, account_balance};
use crate::store::schema::{api_keys, audit_log, balances, callbacks};
use crate::store::statement::{Bind, Statement};
use crate::store::{OversightStore, StoreError};

#[async_trait]
impl OversightStore for Adapter {
    async fn list_audit(
        &self,
        filter: AuditFilter,
        before: Option<AuditId>,
        limit: i64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        on!(self.reader, list_audit(filter, before, limit))
    }

    async fn list_unreadable(
        &self,
        partner: Option<PartnerId>,
        before: Option<CallbackId>,
        limit: i64,
    ) -> Result<Vec<InboxRecord>, StoreError> {
        on!(self.reader, list_unreadable(partner, before, limit))
    }

    async fn find_callback(
        &self,
        partner: Option<PartnerId>,
        id: CallbackId,
    ) -> Result<Option<InboxRecord>, StoreError> {
        on!(self.reader, find_callback(partner, id))
    }

    async fn list_endpoint_backlogs(
        &self,
        partner: PartnerId,
    ) -> Result<Vec<EndpointBacklog>, StoreError> {
        on!(self.reader, list_endpoint_backlogs(partner))
    }

    async fn record_key_use(&self, id: KeyId, at: Instant) -> Result<(), StoreError> {
        on!(self.writer, record_key_use(id, at))
    }

    async fn list_key_uses(&self, partner: PartnerId) -> Result<Vec<(KeyId, Instant)>, StoreError> {
        on!(self.reader, list_key_uses(partner))
    }

    async fn insert_enquiry(&self, enquiry: Enquiry) -> Result<(), StoreError> {
        on!(self.writer, enquiries::insert(enquiry))
    }

    async fn answer_enquiry(
        &self,
        enquiry: Enquiry,
        answer: EnquiryAnswer,
    ) -> Result<(), StoreError> {
        on!(self.writer, enquiries::answer(enquiry, answer))
    }

    async fn find_enquiry(
        &self,
        partner: PartnerId,
        id: EnquiryId,
    ) -> Result<Option<Enquiry>, StoreError> {
        on!(self.reader, enquiries::find(partner, id))
    }

    async fn list_enquiries(&self, partner: PartnerId) -> Result<Vec<Enquiry>, StoreError> {
        on!(self.reader, enquiries::list(partner))
    }

    async fn list_all_balances(
        &self,
        partner: PartnerId,
    ) -> Result<Vec<(AccountId, Balance, Instant)>, StoreError> {
        on!(self.reader, list_all_balances(partner))
    }
}

async fn list_audit(
    conn: &mut Conn,
    filter: AuditFilter,
    before: Option<AuditId>,
    limit: i64,
) -> Result<Vec<AuditRecord>, StoreError> {
    let mut query = audit_log::table
        .order(audit_log::id.desc())
        .limit(limit)
        .select(AuditLine::as_select())
        .into_boxed::<Db>();
    if let Some(partner) = filter.partner {
        query = query.filter(audit_log::partner_id.eq(Id(partner.0)));
    }
    if let Some(actor) = filter.actor {
        query = query.filter(audit_log::actor.eq(actor));
    }
    if let Some(action) = filter.action {
        query = query.filter(audit_log::action.eq(action));
    }
    if let Some(subject) = filter.subject {
        query = query.filter(audit_log::subject.eq(subject));
    }
    if let Some(from) = filter.from {
        query = query.filter(audit_log::at.ge(At(from)));
    }
    if let Some(to) = filter.to {
        query = query.filter(audit_log::at.le(At(to)));
    }
    if let Some(before) = before {
        query = query.filter(audit_log::id.lt(Id(before.0)));
    }
    let rows: Vec<AuditLine> = query.load(conn).await?;
    Ok(rows.into_iter().map(AuditRecord::from).collect())
}

async fn list_unreadable(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    before: Option<CallbackId>,
    limit: i64,
) -> Result<Vec<InboxRecord>, StoreError> {
    // The state stands in the text, or neither database would know that its partial index has them all.
    let mut query = callbacks::table
        .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
            "state = 'unreadable'",
        ))
        .order(callbacks::id.desc())
        .limit(limit)
        .select(InboxRow::as_select())
        .into_boxed::<Db>();
    if let Some(partner) = partner {
        query = query.filter(callbacks::partner_id.eq(Id(partner.0)));
    }
    if let Some(before) = before {
        query = query.filter(callbacks::id.lt(Id(before.0)));
    }
    let rows: Vec<InboxRow> = query.load(conn).await?;
    rows.into_iter().map(InboxRecord::try_from).collect()
}

async fn find_callback(
    conn: &mut Conn,
    partner: Option<PartnerId>,
    id: CallbackId,
) -> Result<Option<InboxRecord>, StoreError> {
    let mut query = callbacks::table
        .filter(callbacks::id.eq(Id(id.0)))
        .select(InboxRow::as_select())
        .into_boxed::<Db>();
    if let Some(partner) = partner {
        query = query.filter(callbacks::partner_id.eq(Id(partner.0)));
    }
    let row = query.first(conn).await.optional()?;
    row.map(InboxRecord::try_from).transpose()
}

/// Each half walks its own partial index.
async fn list_endpoint_backlogs(
    conn: &mut Conn,
    partner: PartnerId,
) -> Result<Vec<EndpointBacklog>, StoreError> {
    let rows: Vec<BacklogRow> = Statement::new(format!(
        "SELECT e.id, \
         (SELECT COUNT(*) FROM deliveries d WHERE d.partner_id = e.partner_id AND d.endpoint_id = e.id \
          AND {IS_TO_SEND}) AS pending, \
         (SELECT MIN(d.due_at) FROM deliveries d WHERE d.partner_id = e.partner_id AND d.endpoint_id = e.id \
          AND {IS_TO_SEND}) AS oldest_due_at, \
         (SELECT COUNT(*) FROM deliveries d WHERE d.partner_id = e.partner_id AND d.endpoint_id = e.id \
          AND d.state = 'dead') AS dead, e.last_failure_at, e.last_failure \
         FROM endpoints e WHERE e.partner_id = $1 AND e.removed_at IS NULL AND e.transaction_id IS NULL",
    ))
    .bind(Bind::Id(Id(partner.0)))
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(EndpointBacklog::from).collect())
}

async fn record_key_use(conn: &mut Conn, id: KeyId, at: Instant) -> Result<(), StoreError> {
    diesel::update(
        api_keys::table.filter(api_keys::id.eq(Id(id.0))).filter(
            api_keys::last_used_at
                .is_null()
                .or(api_keys::last_used_at.lt(At(at))),
        ),
    )
    .set(api_keys::last_used_at.eq(Some(At(at))))
    .execute(conn)
    .await?;
    Ok(())
}

async fn list_key_uses(
    conn: &mut Conn,
    partner: PartnerId,
) -> Result<Vec<(KeyId, Instant)>, StoreError> {
    let rows: Vec<(Id, Option<At>)> = api_keys::table
        .filter(api_keys::partner_id.eq(Id(partner.0)))
        .filter(api_keys::last_used_at.is_not_null())
        .select((api_keys::id, api_keys::last_used_at))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, at)| Some((KeyId(id.0), at?.0)))
        .collect())
}

async fn list_all_balances(
    conn: &mut Conn,
    partner: PartnerId,
) -> Result<Vec<(AccountId, Balance, Instant)>, StoreError> {
    let rows: Vec<AccountBalanceRow> = balances::table
        .filter(balances::partner_id.eq(Id(partner.0)))
        .order((balances::account_id, balances::name))
        .select(AccountBalanceRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(account_balance).collect())
}
