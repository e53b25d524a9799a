//! The accounts to ask through are those that payments go through: the same clients, and so the same tokens.

use async_trait::async_trait;

use super::question::{Line, Lines, NoLine};
use crate::domain::transaction::Transaction;
use crate::payments::Payments;
use crate::payments::accounts::{AccountError, Accounts};

#[async_trait]
impl Lines for Accounts {
    async fn find_line(&self, transaction: &Transaction) -> Result<Line, NoLine> {
        let found = self
            .find(
                transaction.partner_id,
                transaction.provider,
                transaction.account_id,
            )
            .await;
        match found {
            Ok(connected) => Ok(Line {
                account_id: connected.account.id,
                client: connected.client,
                callbacks: connected.callbacks,
            }),
            Err(AccountError::Store(reason)) => Err(NoLine::Unavailable(reason)),
            Err(error) => Err(NoLine::Impossible(error.to_string())),
        }
    }
}

#[async_trait]
impl Lines for Payments {
    async fn find_line(&self, transaction: &Transaction) -> Result<Line, NoLine> {
        self.accounts.find_line(transaction).await
    }
}
