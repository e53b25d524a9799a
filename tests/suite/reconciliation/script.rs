//! A provider that says what a test tells it and keeps what it was asked, and accounts that lead to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use ussd_status::domain::identity::{AccountId, EnquiryId, PartnerId, TransactionId};
use ussd_status::domain::status_update::{ResultClass, StatusUpdate};
use ussd_status::domain::transaction::{Kind, Provider, ProviderIds, Transaction};
use ussd_status::providers::answer::{
    Answer, BalanceAnswer, NoAnswer, Outcome, Refusal, Reply, TokenError, Unsupported,
};
use ussd_status::providers::payment_provider::{
    CallbackBase, Collection, PayOut, PaymentProvider, Question, ReversalRequest,
};
use ussd_status::reconciliation::{Line, Lines, NoLine};

use crate::support::build::update;

type Says = Box<dyn Fn(&Question) -> Answer + Send + Sync>;

/// The provider.
pub struct Script {
    says: Mutex<Says>,
    asked: Mutex<Vec<TransactionId>>,
    /// A question waits for a permit, and keeps it.
    pub gate: Semaphore,
}

impl Script {
    pub fn new(says: impl Fn(&Question) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            says: Mutex::new(Box::new(says)),
            asked: Mutex::new(Vec::new()),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// Another story from now on.
    pub fn says(&self, says: impl Fn(&Question) -> Answer + Send + Sync + 'static) {
        *self.says.lock().unwrap() = Box::new(says);
    }

    /// What it was asked about, in order.
    pub fn asked(&self) -> Vec<TransactionId> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl PaymentProvider for Script {
    fn provider(&self) -> Provider {
        Provider::Mpesa
    }

    fn own_ids(&self, _kind: Kind, _transaction_id: TransactionId) -> ProviderIds {
        ProviderIds::default()
    }

    async fn collect(&self, _request: &Collection) -> Result<Outcome, Unsupported> {
        Err(Unsupported("collection"))
    }

    async fn preview_collection(&self, _request: &Collection) -> Result<Reply, Unsupported> {
        Err(Unsupported("preview"))
    }

    async fn pay_out(&self, _request: &PayOut) -> Result<Outcome, Unsupported> {
        Err(Unsupported("payout"))
    }

    async fn preview_pay_out(&self, _request: &PayOut) -> Result<Reply, Unsupported> {
        Err(Unsupported("preview"))
    }

    async fn reverse(&self, _request: &ReversalRequest) -> Result<Outcome, Unsupported> {
        Err(Unsupported("reversal"))
    }

    async fn query(&self, question: &Question) -> Result<Answer, Unsupported> {
        self.asked.lock().unwrap().push(question.transaction_id);
        self.gate.acquire().await.unwrap().forget();
        Ok((self.says.lock().unwrap())(question))
    }

    async fn balance(
        &self,
        _callbacks: &CallbackBase,
        _enquiry_id: EnquiryId,
    ) -> Result<BalanceAnswer, Unsupported> {
        Err(Unsupported("balance"))
    }

    async fn register_callbacks(&self, _callbacks: &CallbackBase) -> Result<Reply, Unsupported> {
        Err(Unsupported("registration"))
    }

    async fn check_credentials(&self) -> Result<(), TokenError> {
        Ok(())
    }
}

/// One account a partner, each with a script; a partner without one cannot be asked for.
#[derive(Default)]
pub struct Scripts(Mutex<HashMap<PartnerId, (AccountId, Arc<Script>)>>);

impl Scripts {
    pub fn set(&self, partner: PartnerId, account: AccountId, script: &Arc<Script>) {
        let mut scripts = self.0.lock().unwrap();
        scripts.insert(partner, (account, Arc::clone(script)));
    }
}

#[async_trait]
impl Lines for Scripts {
    async fn find_line(&self, transaction: &Transaction) -> Result<Line, NoLine> {
        let scripts = self.0.lock().unwrap();
        match scripts.get(&transaction.partner_id) {
            Some((account_id, script)) => Ok(Line {
                account_id: *account_id,
                client: script.clone(),
                callbacks: CallbackBase::new("http://127.0.0.1:9".parse().unwrap(), "c0ffee"),
            }),
            None => Err(NoLine::Impossible("no account".to_owned())),
        }
    }
}

/// News of this class about what was asked.
pub fn news(question: &Question, class: ResultClass) -> Answer {
    let id = question.ids.conversation_id.as_deref().unwrap_or_default();
    let update: StatusUpdate = update(id, class);
    Answer::News(Box::new(update))
}

/// "The transaction does not exist."
pub fn nothing() -> Answer {
    Answer::Nothing(refusal(false))
}

/// "System is busy."
pub fn throttled() -> Answer {
    Answer::Nothing(refusal(true))
}

fn refusal(throttled: bool) -> Refusal {
    Refusal {
        code: Some("500.003.02".to_owned()),
        message: "System is busy".to_owned(),
        http_status: Some(500),
        retryable: true,
        throttled,
    }
}

/// No connection.
pub fn down() -> Answer {
    Answer::Unknown(NoAnswer {
        reason: "no connection".to_owned(),
        http_status: None,
        is_down: true,
    })
}

/// "I will tell you at your callback path."
pub fn will_tell() -> Answer {
    Answer::Asked {
        ids: ProviderIds::default(),
        code: Some("0".to_owned()),
        description: None,
    }
}
