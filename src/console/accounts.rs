//! The accounts that a form offers to pay through.

use crate::domain::identity::PartnerId;
use crate::domain::transaction::{Kind, Provider};
use crate::http::{ApiError, State};

use super::text;

/// An account to choose.
pub struct Choice {
    /// Its id.
    pub id: String,
    /// Its provider's word.
    pub provider: &'static str,
    /// Its provider and number, for people.
    pub name: String,
    /// Whether it is the one chosen.
    pub is_chosen: bool,
}

/// The partner's accounts through which something of this kind can be started, the first chosen unless told.
pub async fn choices(
    state: &State,
    partner: PartnerId,
    kinds: &[Kind],
    chosen: Option<&str>,
) -> Result<Vec<Choice>, ApiError> {
    let accounts = state.store.list_accounts(Some(partner)).await?;
    let mut choices: Vec<Choice> = accounts
        .iter()
        .filter(|account| {
            account
                .provider
                .kinds()
                .iter()
                .any(|kind| kinds.contains(kind))
        })
        .map(|account| {
            let number = account.till_number.as_ref().or(account.shortcode.as_ref());
            let provider = text::provider(account.provider);
            Choice {
                id: account.id.to_string(),
                provider: account.provider.as_str(),
                name: match number {
                    Some(number) => format!("{provider} {number} ({})", account.environment),
                    None => format!("{provider} ({})", account.environment),
                },
                is_chosen: chosen == Some(account.id.to_string().as_str()),
            }
        })
        .collect();
    if !choices.iter().any(|choice| choice.is_chosen)
        && let Some(first) = choices.first_mut()
    {
        first.is_chosen = true;
    }
    Ok(choices)
}

/// The provider of the account that a form names.
///
/// # Errors
/// VALIDATION_1002 if the partner has no such account.
pub async fn provider_of(
    state: &State,
    partner: PartnerId,
    account: &str,
) -> Result<Provider, ApiError> {
    let accounts = state.store.list_accounts(Some(partner)).await?;
    accounts
        .iter()
        .find(|one| one.id.to_string() == account)
        .map(|one| one.provider)
        .ok_or_else(|| ApiError::field("account", "is none of this partner's accounts"))
}
