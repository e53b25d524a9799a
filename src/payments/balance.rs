//! Asking what is on an account: the question is written down before it is sent, with who asked, so that whatever comes of
//! it has a place.

use std::sync::Arc;

use super::{PayError, Payments};
use crate::domain::enquiry::{Enquiry, EnquiryAnswer, Told};
use crate::domain::identity::{AccountId, EnquiryId, PartnerId};
use crate::domain::transaction::Provider;
use crate::providers::answer::{BalanceAnswer, NoAnswer, Refusal};

impl Payments {
    /// Asks what is on an account of the partner's, by its id, else the only one at this provider. `asked_by` is the actor
    /// as the audit log names it. What is answered at once is kept at once.
    ///
    /// # Errors
    /// See [`PayError`]; if the database could not keep the question, it was not asked.
    pub async fn ask_balance(
        self: &Arc<Self>,
        partner_id: PartnerId,
        (provider, account_id): (Provider, Option<AccountId>),
        asked_by: String,
    ) -> Result<(EnquiryId, BalanceAnswer), PayError> {
        let this = Arc::clone(self);
        self.run(async move {
            let account = (provider, account_id);
            this.carry_out_enquiry(partner_id, account, asked_by).await
        })
        .await?
    }

    async fn carry_out_enquiry(
        &self,
        partner_id: PartnerId,
        (provider, account_id): (Provider, Option<AccountId>),
        asked_by: String,
    ) -> Result<(EnquiryId, BalanceAnswer), PayError> {
        let connected = self.accounts.find(partner_id, provider, account_id).await?;
        let asked_at = self.clock.now();
        let enquiry = Enquiry {
            id: EnquiryId::new(asked_at),
            partner_id,
            account_id: connected.account.id,
            asked_by,
            asked_at,
            answer: None,
        };
        self.store.insert_enquiry(enquiry.clone()).await?;
        let callbacks = &connected.callbacks;
        let answer = connected.client.balance(callbacks, enquiry.id).await?;
        if let Some(told) = told_at_once(&answer) {
            let at = self.clock.now();
            let answer = EnquiryAnswer { at, told };
            self.store.answer_enquiry(enquiry.clone(), answer).await?;
        }
        Ok((enquiry.id, answer))
    }
}

fn told_at_once(answer: &BalanceAnswer) -> Option<Told> {
    match answer {
        BalanceAnswer::Asked(_) => None,
        BalanceAnswer::Balances(balances) => Some(Told::Balances(balances.clone())),
        BalanceAnswer::Refused(Refusal { code, message, .. }) => Some(Told::Nothing(match code {
            Some(code) => format!("{message} ({code})"),
            None => message.clone(),
        })),
        BalanceAnswer::Unknown(NoAnswer { reason, .. }) => Some(Told::Nothing(reason.clone())),
    }
}
