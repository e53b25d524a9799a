//! `rekey`: every sealed value goes from the previous master key to the present one, row by row, while the service runs
//! with both.

use serde_json::json;
use uuid::Uuid;

use super::output::JsonArguments;
use super::progress::Progress;
use super::{CliError, Desk, Output, vault};
use crate::settings::{Settings, Sources};
use crate::store::{Sealed, SealedColumn, Store};
use crate::vault::Vault;

/// Values read at once.
const PAGE: i64 = 200;
/// How often everything is gone through: what a running service changed under our hands is met again in the next pass.
const PASSES: usize = 5;

/// What one pass found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pass {
    resealed: u64,
    current: u64,
    changed_meanwhile: u64,
    /// Whose values neither key opens.
    lost: Vec<String>,
}

pub async fn run(output: JsonArguments, sources: &Sources) -> Result<(), CliError> {
    let settings = Settings::read(sources)?;
    let vault = vault(&settings)?;
    if !vault.has_previous() {
        return Err(CliError::Usage(
            "MASTER_KEY_PREVIOUS: nothing was found; the key that MASTER_KEY takes over from is accepted".to_owned(),
        ));
    }
    let desk = Desk::open(sources).await?;
    let bar = Progress::new(None);
    let (mut resealed, mut last) = (0, Pass::default());
    for _ in 0..PASSES {
        last = pass(desk.store.as_ref(), &vault, &bar).await?;
        resealed += last.resealed;
        if last.changed_meanwhile == 0 {
            break;
        }
    }
    bar.end();
    let audit = Desk::audit("rekey", None, format!("{resealed} values"));
    desk.store.record_audit(audit).await?;
    if let Some(first) = last.lost.first() {
        return Err(CliError::Failed(format!(
            "{first} opens with neither MASTER_KEY nor MASTER_KEY_PREVIOUS, the first of {} such values; {resealed} \
             others were sealed anew",
            last.lost.len()
        )));
    }
    if last.changed_meanwhile > 0 {
        return Err(CliError::Failed(format!(
            "{} values changed again and again; run the command once more",
            last.changed_meanwhile
        )));
    }
    let current = last.current + last.resealed;
    Output::answer(
        output.json,
        &json!({"resealed": resealed, "values": current, "done": true}),
        &[
            format!("{resealed} values sealed anew, {current} are under MASTER_KEY"),
            "When every process runs with this MASTER_KEY, MASTER_KEY_PREVIOUS may go.".to_owned(),
        ],
    );
    Ok(())
}

/// Meets every sealed value, by column and row.
async fn walk(
    store: &dyn Store,
    mut meet: impl AsyncFnMut(Sealed) -> Result<(), CliError>,
) -> Result<(), CliError> {
    for column in SealedColumn::ALL {
        let mut after = Uuid::nil();
        loop {
            let page = store.list_sealed(column, after, PAGE).await?;
            let Some(last) = page.last().map(|sealed| sealed.row) else {
                break;
            };
            for sealed in page {
                meet(sealed).await?;
            }
            after = last;
        }
    }
    Ok(())
}

async fn pass(store: &dyn Store, vault: &Vault, bar: &Progress) -> Result<Pass, CliError> {
    let mut found = Pass::default();
    let mut seen = 0;
    walk(store, async |sealed| {
        seen += 1;
        bar.stand_at(seen, || format!("{seen} sealed values"));
        let owner = sealed.column.owner(sealed.row);
        let count = match vault.reseal(&owner, &sealed.bytes) {
            Err(_) => {
                found.lost.push(owner);
                return Ok(());
            }
            Ok(None) => &mut found.current,
            Ok(Some(by)) => {
                if store.replace_sealed(sealed, by).await? {
                    &mut found.resealed
                } else {
                    &mut found.changed_meanwhile
                }
            }
        };
        *count += 1;
        Ok(())
    })
    .await?;
    Ok(found)
}

/// How many values only the previous key opens.
///
/// # Errors
/// If the database fails.
pub async fn count_previous(store: &dyn Store, vault: &Vault) -> Result<u64, CliError> {
    let mut count = 0;
    walk(store, async |sealed| {
        let owner = sealed.column.owner(sealed.row);
        count += u64::from(matches!(vault.reseal(&owner, &sealed.bytes), Ok(Some(_))));
        Ok(())
    })
    .await?;
    Ok(count)
}
