//! `partner erase-msisdn`: a phone number is blanked wherever a partner's rows hold it, a batch of rows at a time, while
//! the service runs.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::output::JsonArguments;
use super::progress::Progress;
use super::{CliError, Desk, Output};
use crate::domain::erasure::Erasure;
use crate::domain::identity::{PartnerId, hex};
use crate::domain::msisdn::{Msisdn, MsisdnInput};
use crate::store::{ERASURE_BATCH, ErasedTable};

pub async fn run(
    desk: &Desk,
    partner: PartnerId,
    number: &str,
    output: JsonArguments,
) -> Result<(), CliError> {
    let msisdn = whole(number)?;
    desk.partner(partner).await?;
    let digest = hex(&Sha256::digest(msisdn.as_str()));
    let erasure = Erasure::new(msisdn.clone(), digest);
    // Before anything is done, so that a run that was killed is on record too; the number is masked.
    let audit = Desk::audit("partner.erase_msisdn", Some(partner), &msisdn);
    desk.store.record_audit(audit).await?;
    let bar = Progress::new(None);
    let (mut erased, mut lines) = (Map::new(), Vec::new());
    let (mut open, mut ids) = (0, 0);
    for table in ErasedTable::ALL {
        let name = word(table);
        let (mut count, mut from, mut steps) = (0, None, 0);
        loop {
            let step = desk
                .store
                .erase_msisdn(partner, erasure.clone(), table, from)
                .await?;
            count += step.erased;
            ids += step.ids;
            if table == ErasedTable::Transactions {
                open += step.kept;
            }
            steps += 1;
            bar.stand_at(steps, || {
                let seen = steps * u64::try_from(ERASURE_BATCH).unwrap_or_default();
                format!("{name}: {seen} rows looked at")
            });
            from = step.next;
            if from.is_none() {
                break;
            }
        }
        erased.insert(name.to_owned(), Value::from(count));
        lines.push(format!("{count:>8}  {name}"));
    }
    bar.end();
    lines.push(if open == 0 {
        format!("{msisdn} is erased")
    } else {
        format!(
            "{open} transactions with {msisdn} may still change and keep it, with what belongs to them: run the \
             command again when they are final"
        )
    });
    if ids > 0 {
        lines.push(format!(
            "{ids} transactions keep an id with the number's digits in it, here and in the callbacks and events that name \
             it: the provider and the partner know them by it"
        ));
    }
    Output::answer(
        output.json,
        &json!({
            "id": partner.to_string(), "msisdn": msisdn.masked(), "erased": erased, "open": open, "ids_kept": ids,
            "done": open == 0,
        }),
        &lines,
    );
    Ok(())
}

/// Of a national form nobody can say whose it is: the same digits are a number in either country.
fn whole(number: &str) -> Result<Msisdn, CliError> {
    match MsisdnInput::parse(number) {
        Ok(MsisdnInput::International(msisdn)) => Ok(msisdn),
        Ok(MsisdnInput::National(_)) => Err(CliError::Usage(
            "--msisdn: a number without its country was found; accepted are 254712345678, +254 712 345 678 and the \
             same with 255"
                .to_owned(),
        )),
        Err(error) => Err(CliError::Usage(format!("--msisdn: what was found {error}"))),
    }
}

fn word(table: ErasedTable) -> &'static str {
    match table {
        ErasedTable::Transactions => "transactions",
        ErasedTable::Events => "events",
        ErasedTable::Payments => "payments",
        ErasedTable::Attempts => "delivery_attempts",
        ErasedTable::Callbacks => "callbacks",
    }
}
