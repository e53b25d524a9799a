//! What is told of balances: it moves no transaction, and answers the question that its address names.

use super::callback::Judgement;
use super::working_set::Ledger;
use super::{Arrival, BalanceReport, CallbackState};
use crate::domain::enquiry::Told;
use crate::domain::identity::PartnerId;
use crate::domain::status_update::News;

impl Ledger {
    /// Keeps what is told of balances; `None` of anything else.
    pub(super) fn judge_balances(
        &mut self,
        partner_id: PartnerId,
        arrival: &Arrival,
    ) -> Option<Judgement> {
        let (state, note, told) = match (&arrival.news, arrival.enquiry_id) {
            (News::Balances { accounts, .. }, _) => {
                let told = Told::Balances(accounts.clone());
                (CallbackState::Noted, "balances".to_owned(), told)
            }
            (_, None) | (News::Payment(_), _) => return None,
            (News::Information(why), Some(_)) => {
                let told = Told::Nothing(why.clone());
                (CallbackState::Noted, why.clone(), told)
            }
            (News::Timeout(_), Some(_)) => {
                let why = "the provider gave up waiting for its own answer";
                let told = Told::Nothing(why.to_owned());
                (CallbackState::Noted, why.to_owned(), told)
            }
            (News::Unreadable(why), Some(_)) => {
                let told = Told::Nothing(format!("the answer could not be understood: {why}"));
                (CallbackState::Unreadable, why.clone(), told)
            }
        };
        let Some(account) = &arrival.account else {
            let judgement = Judgement::new(CallbackState::Unmatched, None);
            return Some(judgement.because("balances of an account that cannot be told"));
        };
        let counted_at = match &arrival.news {
            News::Balances { checked_at, .. } => *checked_at,
            _ => None,
        };
        self.changes.balances.push(BalanceReport {
            partner_id,
            account_id: account.id,
            enquiry_id: arrival.enquiry_id,
            received_at: arrival.received_at,
            checked_at: counted_at.unwrap_or(arrival.received_at),
            told,
        });
        Some(Judgement::new(state, None).because(note))
    }
}
