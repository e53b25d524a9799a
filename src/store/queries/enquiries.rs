//! Questions about balances: kept when they are asked, answered at once or by the ledger.

use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::Conn;
use crate::domain::enquiry::{ENQUIRIES_KEPT, Enquiry, EnquiryAnswer, Told};
use crate::domain::identity::{EnquiryId, PartnerId};
use crate::domain::status_update::Balance;
use crate::store::StoreError;
use crate::store::columns::{At, Id};
use crate::store::rows::enquiries::{EnquiryRow, told_as_text};
use crate::store::rows::oversight::AccountBalanceRow;
use crate::store::schema::{balance_enquiries as enquiries, balances};
use crate::store::statement::{Bind, Statement};

pub async fn insert(conn: &mut Conn, enquiry: Enquiry) -> Result<(), StoreError> {
    let partner = Id(enquiry.partner_id.0);
    conn.transaction(async |conn| {
        diesel::insert_into(enquiries::table)
            .values(EnquiryRow::new(enquiry))
            .execute(conn)
            .await?;
        Statement::new(
            "DELETE FROM balance_enquiries WHERE partner_id = $1 AND id < (SELECT id FROM balance_enquiries \
             WHERE partner_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
        )
        .bind(Bind::Id(partner))
        .bind(Bind::Number(ENQUIRIES_KEPT - 1))
        .execute(conn)
        .await?;
        Ok(())
    })
    .await
}

pub async fn answer(
    conn: &mut Conn,
    enquiry: Enquiry,
    answer: EnquiryAnswer,
) -> Result<(), StoreError> {
    let (told, failure) = told_as_text(&answer.told)?;
    conn.transaction(async |conn| {
        // Who answers later than it said it would may have been quicker than this.
        diesel::update(
            enquiries::table
                .filter(enquiries::partner_id.eq(Id(enquiry.partner_id.0)))
                .filter(enquiries::id.eq(Id(enquiry.id.0)))
                .filter(enquiries::told.is_null()),
        )
        .set((
            enquiries::answered_at.eq(Some(At(answer.at))),
            enquiries::told.eq(told),
            enquiries::failure.eq(failure),
        ))
        .execute(conn)
        .await?;
        match answer.told {
            Told::Balances(told) => replace_balances(conn, &enquiry, told, At(answer.at)).await,
            Told::Nothing(_) => Ok(()),
        }
    })
    .await
}

async fn replace_balances(
    conn: &mut Conn,
    enquiry: &Enquiry,
    told: Vec<Balance>,
    checked_at: At,
) -> Result<(), StoreError> {
    let owner = (enquiry.partner_id, enquiry.account_id);
    diesel::delete(
        balances::table
            .filter(balances::partner_id.eq(Id(owner.0.0)))
            .filter(balances::account_id.eq(Id(owner.1.0))),
    )
    .execute(conn)
    .await?;
    for balance in told {
        diesel::insert_into(balances::table)
            .values(AccountBalanceRow::new(owner, balance, checked_at))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
    }
    Ok(())
}

pub async fn find(
    conn: &mut Conn,
    partner: PartnerId,
    id: EnquiryId,
) -> Result<Option<Enquiry>, StoreError> {
    enquiries::table
        .filter(enquiries::partner_id.eq(Id(partner.0)))
        .filter(enquiries::id.eq(Id(id.0)))
        .select(EnquiryRow::as_select())
        .first(conn)
        .await
        .optional()?
        .map(Enquiry::try_from)
        .transpose()
}

pub async fn list(conn: &mut Conn, partner: PartnerId) -> Result<Vec<Enquiry>, StoreError> {
    enquiries::table
        .filter(enquiries::partner_id.eq(Id(partner.0)))
        .order(enquiries::id.desc())
        .limit(ENQUIRIES_KEPT)
        .select(EnquiryRow::as_select())
        .load(conn)
        .await?
        .into_iter()
        .map(Enquiry::try_from)
        .collect()
}
