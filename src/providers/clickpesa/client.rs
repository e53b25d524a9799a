//! ClickPesa over HTTP: tokens, USSD-push collections, mobile-money payouts, questions about both, balances. What is
//! said stands in `message`, what a refusal means in `error`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Duration;
use serde_json::{Value, json};

use super::credentials::Credentials;
use super::error::{self, Failure, Said};
use super::message;
use super::order_reference::order_reference;
use crate::domain::clock::Clock;
use crate::domain::identity::{EnquiryId, TransactionId};
use crate::domain::status_update::Api;
use crate::domain::transaction::{Kind, Provider, ProviderIds};
use crate::providers::answer::{Answer, BalanceAnswer, Outcome, Reply, TokenError, Unsupported};
use crate::providers::client::{Call, HttpClient};
use crate::providers::payment_provider::{
    CallbackBase, Collection, CredentialsError, PayOut, PaymentProvider, Question, ReversalRequest,
    Setup,
};
use crate::providers::token::{Token, TokenCache};

/// How long a token is used: it is good for an hour, less five minutes for clocks that differ and slow calls.
pub const TOKEN_LIFETIME: Duration = Duration::minutes(55);

/// One ClickPesa application.
pub struct Client {
    http: HttpClient,
    clock: Arc<dyn Clock>,
    credentials: Credentials,
    token: TokenCache,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the account's credentials: `environment`, `client_id`, `api_key`, and if they are there
    /// `checksum_key` and `base_url`. Nothing is sent yet.
    ///
    /// # Errors
    /// If one of them is missing or cannot be used.
    pub fn open(setup: Setup<'_>) -> Result<Self, CredentialsError> {
        let credentials = Credentials::read(setup.credentials, setup.base_url)?;
        Ok(Self {
            http: setup.http,
            clock: setup.clock,
            credentials,
            token: TokenCache::new(setup.tokens),
        })
    }

    fn url(&self, path: &[&str]) -> String {
        let mut url = self.credentials.base.clone();
        // Cannot fail below http; each part is escaped.
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.extend(path);
        }
        url.into()
    }

    async fn fetch_token(&self) -> Result<Token, TokenError> {
        let until = self.clock.now() + TOKEN_LIFETIME;
        let call = Call::post(self.url(&["generate-token"]))
            .secret("client-id", &self.credentials.client_id)
            .secret("api-key", &self.credentials.api_key)
            .json(&json!({}));
        let heard = self
            .http
            .exchange(call)
            .await
            .map_err(TokenError::Unknown)?;
        let said = error::read(&heard).map_err(Failure::of_token)?;
        let value = message::token(&said.body)
            .ok_or_else(|| TokenError::Unknown(said.without("a token")))?;
        Ok(Token { value, until })
    }

    /// Makes a call: a POST of `body`, or a GET. If the token is refused (its hour was shorter, or the checksum was
    /// switched in the dashboard), nothing was done, and the call is made once more with a new one.
    async fn call(&self, path: &[&str], body: Option<&Value>) -> Result<Said, Failure> {
        let url = self.url(path);
        let mut repeated = false;
        loop {
            let token = self.token.token(self.clock.now(), self.fetch_token()).await;
            let token = token.map_err(Failure::NoToken)?;
            let call = match body {
                Some(body) => Call::post(url.as_str()).json(body),
                None => Call::get(url.as_str()),
            };
            let call = call.secret("authorization", &token);
            let heard = self.http.exchange(call).await?;
            if heard.status != 401 || repeated {
                return error::read(&heard);
            }
            self.token.forget(&token).await;
            repeated = true;
        }
    }

    async fn post(&self, path: &[&str], body: Value) -> Result<Said, Failure> {
        let body = message::signed(body, self.credentials.checksum_key.as_ref());
        self.call(path, Some(&body)).await
    }
}

/// The reference that was committed before the call; the same if it was not.
fn reference_of(ids: &ProviderIds, transaction_id: TransactionId) -> String {
    ids.order_reference
        .clone()
        .unwrap_or_else(|| order_reference(transaction_id))
}

fn outcome(api: Api, transaction_id: TransactionId, reference: &str, said: Said) -> Outcome {
    let nothing = said.without("news of this payment");
    match message::acceptance(api, transaction_id, reference, said.body) {
        Some(acceptance) => Outcome::Accepted(Box::new(acceptance)),
        None => Outcome::Unknown(nothing),
    }
}

#[async_trait]
impl PaymentProvider for Client {
    fn provider(&self) -> Provider {
        Provider::Clickpesa
    }

    fn own_ids(&self, kind: Kind, transaction_id: TransactionId) -> ProviderIds {
        ProviderIds {
            order_reference: api_of(kind).map(|_| order_reference(transaction_id)),
            ..ProviderIds::default()
        }
    }

    async fn collect(&self, request: &Collection) -> Result<Outcome, Unsupported> {
        let id = request.transaction_id;
        let reference = reference_of(&request.ids, id);
        let body = message::collection(request, &reference);
        let path = ["payments", "initiate-ussd-push-request"];
        Ok(match self.post(&path, body).await {
            Ok(said) => outcome(Api::ClickpesaPayment, id, &reference, said),
            Err(failure) => failure.of_payment(&request.msisdn),
        })
    }

    async fn preview_collection(&self, request: &Collection) -> Result<Reply, Unsupported> {
        let reference = reference_of(&request.ids, request.transaction_id);
        let body = message::collection_preview(request, &reference);
        let path = ["payments", "preview-ussd-push-request"];
        Ok(match self.post(&path, body).await {
            Ok(said) => Reply::Body(said.body),
            Err(failure) => failure.of_preview(&request.msisdn),
        })
    }

    async fn pay_out(&self, request: &PayOut) -> Result<Outcome, Unsupported> {
        let id = request.transaction_id;
        let reference = reference_of(&request.ids, id);
        let body = message::pay_out(request, &reference);
        let path = ["payouts", "create-mobile-money-payout"];
        Ok(match self.post(&path, body).await {
            Ok(said) => outcome(Api::ClickpesaPayout, id, &reference, said),
            Err(failure) => failure.of_payment(&request.msisdn),
        })
    }

    async fn preview_pay_out(&self, request: &PayOut) -> Result<Reply, Unsupported> {
        let reference = reference_of(&request.ids, request.transaction_id);
        let body = message::pay_out(request, &reference);
        let path = ["payouts", "preview-mobile-money-payout"];
        Ok(match self.post(&path, body).await {
            Ok(said) => Reply::Body(said.body),
            Err(failure) => failure.of_preview(&request.msisdn),
        })
    }

    async fn reverse(&self, _request: &ReversalRequest) -> Result<Outcome, Unsupported> {
        Err(Unsupported("reversal"))
    }

    async fn query(&self, question: &Question) -> Result<Answer, Unsupported> {
        let (api, place) = match api_of(question.kind) {
            Some(Api::ClickpesaPayout) => (Api::ClickpesaPayout, "payouts"),
            Some(api) => (api, "payments"),
            None => {
                let kind = question.kind;
                return Ok(Answer::Impossible(format!("ClickPesa knows no {kind}")));
            }
        };
        // A path cannot end in dots: that would be another path.
        let reference = question.ids.order_reference.as_deref();
        let Some(reference) = reference.filter(|text| !matches!(*text, "" | "." | "..")) else {
            return Ok(Answer::Impossible("no order reference is known".to_owned()));
        };
        Ok(match self.call(&[place, reference], None).await {
            Ok(said) => message::news(api, question.transaction_id, reference, &said),
            Err(failure) => failure.of_question(),
        })
    }

    async fn balance(
        &self,
        _callbacks: &CallbackBase,
        _enquiry_id: EnquiryId,
    ) -> Result<BalanceAnswer, Unsupported> {
        Ok(match self.call(&["account", "balance"], None).await {
            Ok(said) => match message::balances(&said.body) {
                Some(balances) => BalanceAnswer::Balances(balances),
                None => BalanceAnswer::Unknown(said.without("balances")),
            },
            Err(failure) => failure.of_balance(),
        })
    }

    async fn register_callbacks(&self, _callbacks: &CallbackBase) -> Result<Reply, Unsupported> {
        Err(Unsupported("IPN registration"))
    }

    async fn check_credentials(&self) -> Result<(), TokenError> {
        self.fetch_token().await.map(|_| ())
    }
}

fn api_of(kind: Kind) -> Option<Api> {
    match kind {
        Kind::UssdPush => Some(Api::ClickpesaPayment),
        Kind::Payout => Some(Api::ClickpesaPayout),
        Kind::StkPush | Kind::B2c | Kind::C2b | Kind::Reversal => None,
    }
}
