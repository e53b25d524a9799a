//! Daraja over HTTP: one token an account, fetched once more and the call made once more when it is refused, and what
//! each answer comes to. The bodies are in `message`, the errors in `error`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Duration;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::credential::{B2cVersion, Credentials};
use super::error::{self, Failure, Meaning};
use super::message::{self, AskBy, Signature};
use super::outcome::{self, Trouble, unusable, wordless};
use crate::domain::clock::Clock;
use crate::domain::identity::{EnquiryId, TransactionId};
use crate::domain::transaction::{Kind, Provider, ProviderIds};
use crate::providers::answer::{
    Acceptance, Answer, BalanceAnswer, NoAnswer, Outcome, Reply, TokenError, Unsupported,
};
use crate::providers::client::{Call, HttpClient};
use crate::providers::json;
use crate::providers::payment_provider::{
    CallbackBase, Collection, CredentialsError, PayOut, PaymentProvider, Question, ReversalRequest,
    Setup,
};
use crate::providers::token::{Token, TokenCache};

const TOKEN_PATH: &str = "/oauth/v1/generate?grant_type=client_credentials";
const STK_PUSH_PATH: &str = "/mpesa/stkpush/v1/processrequest";
const STK_QUERY_PATH: &str = "/mpesa/stkpushquery/v1/query";
const B2C_V3_PATH: &str = "/mpesa/b2c/v3/paymentrequest";
const B2C_V1_PATH: &str = "/mpesa/b2c/v1/paymentrequest";
const REVERSAL_PATH: &str = "/mpesa/reversal/v1/request";
const BALANCE_PATH: &str = "/mpesa/accountbalance/v1/query";
const STATUS_PATH: &str = "/mpesa/transactionstatus/v1/query";
const C2B_REGISTER_PATH: &str = "/mpesa/c2b/v2/registerurl";

/// A token is not used in the last minutes of its life, seconds; of a short life, not in its second half.
const TOKEN_MARGIN_SECONDS: i64 = 300;
/// The life of a token that does not say how long it is, seconds (Safaricom portal, Authorization).
const TOKEN_LIFE_SECONDS: i64 = 3_600;
/// The longest life believed, seconds.
const TOKEN_LIFE_MAX_SECONDS: i64 = 86_400;

/// An M-Pesa account.
pub struct Client {
    credentials: Credentials,
    /// Without a slash at its end.
    base_url: String,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    tokens: TokenCache,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mpesa::Client")
    }
}

impl Client {
    /// A client for an account.
    ///
    /// # Errors
    /// The first key of the credentials that cannot be used.
    pub fn open(setup: Setup<'_>) -> Result<Self, CredentialsError> {
        let credentials = Credentials::read(setup.credentials)?;
        let base_url = credentials
            .base_url
            .as_ref()
            .or(setup.base_url)
            .map_or(credentials.host, |url| url.as_str());
        Ok(Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            credentials,
            http: setup.http,
            clock: setup.clock,
            tokens: TokenCache::new(setup.tokens),
        })
    }

    async fn token(&self) -> Result<SecretString, TokenError> {
        self.tokens
            .token(self.clock.now(), self.fetch_token())
            .await
    }

    async fn fetch_token(&self) -> Result<Token, TokenError> {
        let Credentials {
            consumer_key: key,
            consumer_secret: secret,
            ..
        } = &self.credentials;
        let pair = format!("{}:{}", key.expose_secret(), secret.expose_secret());
        let basic = SecretString::from(format!("Basic {}", STANDARD.encode(pair)));
        let call =
            Call::get(format!("{}{TOKEN_PATH}", self.base_url)).secret("authorization", &basic);
        let asked_at = self.clock.now();
        let heard = self
            .http
            .exchange(call)
            .await
            .map_err(TokenError::Unknown)?;
        let body = outcome::read_token_answer(&heard)?;
        let value = json::field(&body, "access_token")
            .filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| TokenError::Unknown(unusable(&heard, "without an access token")))?;
        let life = json::field(&body, "expires_in")
            .and_then(|text| text.parse::<i64>().ok())
            .unwrap_or(TOKEN_LIFE_SECONDS)
            .clamp(0, TOKEN_LIFE_MAX_SECONDS);
        let usable = life - TOKEN_MARGIN_SECONDS.min(life / 2);
        Ok(Token {
            value: SecretString::from(value),
            until: asked_at + Duration::seconds(usable),
        })
    }

    /// Posts `body`; once more, with another token, if the first was refused before anything was done.
    async fn post(&self, call: error::Call, path: &str, body: &Value) -> Result<Value, Trouble> {
        let url = format!("{}{path}", self.base_url);
        let mut token = self.token().await.map_err(Trouble::NoToken)?;
        let first = self.post_once(call, &url, body, &token).await;
        let Err(Trouble::Failed(Failure {
            meaning: Meaning::TokenRefused,
            ..
        })) = first
        else {
            return first;
        };
        self.tokens.forget(&token).await;
        token = self.token().await.map_err(Trouble::NoToken)?;
        self.post_once(call, &url, body, &token).await
    }

    async fn post_once(
        &self,
        call: error::Call,
        url: &str,
        body: &Value,
        token: &SecretString,
    ) -> Result<Value, Trouble> {
        let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
        let request = Call::post(url).json(body).secret("authorization", &bearer);
        let heard = self.http.exchange(request).await.map_err(Trouble::Silent)?;
        let body = heard.json();
        if let Some(failure) = outcome::failure(call, &heard, body.as_ref().ok()) {
            return Err(Trouble::Failed(failure));
        }
        let body = body.map_err(Trouble::Silent)?;
        // A success in the body of a failed exchange is not believed.
        if (200..300).contains(&heard.status) {
            Ok(body)
        } else {
            let reason = "without an error code";
            Err(Trouble::Silent(unusable(&heard, reason)))
        }
    }

    /// A call that M-Pesa takes now and answers later.
    async fn submit(
        &self,
        call: error::Call,
        path: &str,
        body: &Value,
    ) -> Result<Acceptance, Trouble> {
        let answer = self.post(call, path, body).await?;
        if message::is_accepted(&answer) {
            return Ok(message::acceptance(answer));
        }
        let code = json::field(&answer, "ResponseCode").and_then(json::id);
        Err(Trouble::Silent(NoAnswer {
            reason: match code {
                Some(code) => format!("an answer with ResponseCode {code}"),
                None => "an answer without ResponseCode".to_owned(),
            },
            http_status: Some(200),
            is_down: false,
        }))
    }

    /// Name and SecurityCredential for one request, or which keys are missing.
    fn initiator(&self) -> Result<(&str, String), String> {
        let initiator = self.credentials.initiator.as_ref().map_err(Clone::clone)?;
        let credential = initiator
            .security_credential()
            .ok_or("initiator_password cannot be encrypted with the account's certificate")?;
        Ok((&initiator.name, credential))
    }

    fn signature(&self) -> Result<Signature, String> {
        let Credentials {
            shortcode, passkey, ..
        } = &self.credentials;
        let passkey = passkey
            .as_ref()
            .ok_or("the account's credentials lack passkey")?;
        Ok(Signature::new(shortcode, passkey, self.clock.now()))
    }

    async fn stk_query(&self, id: &str, question: &Question) -> Answer {
        let signature = match self.signature() {
            Ok(signature) => signature,
            Err(missing) => return Answer::Impossible(missing),
        };
        let body = message::stk_query(&self.credentials, &signature, id);
        match self
            .post(error::Call::StkQuery, STK_QUERY_PATH, &body)
            .await
        {
            Ok(answer) => match message::stk_state(&answer, question) {
                Some(update) => Answer::News(Box::new(update)),
                None => Answer::Nothing(wordless("the answer has no ResultCode")),
            },
            Err(Trouble::Failed(failure)) if failure.meaning == Meaning::StillOpen => {
                let update = message::stk_still_open(failure.message, question);
                Answer::News(Box::new(update))
            }
            Err(trouble) => outcome::of_question(trouble),
        }
    }

    async fn transaction_status(&self, question: &Question) -> Answer {
        let Some(by) = AskBy::of(question) else {
            let reason = "neither receipt nor OriginatorConversationID is known";
            return Answer::Impossible(reason.to_owned());
        };
        let (name, credential) = match self.initiator() {
            Ok(initiator) => initiator,
            Err(missing) => return Answer::Impossible(missing),
        };
        let body = message::transaction_status(
            &self.credentials,
            (name, &credential),
            &by,
            (&question.callbacks, question.transaction_id),
        );
        match self.submit(error::Call::Question, STATUS_PATH, &body).await {
            Ok(Acceptance {
                ids,
                code,
                description,
                ..
            }) => Answer::Asked {
                ids,
                code,
                description,
            },
            Err(trouble) => outcome::of_question(trouble),
        }
    }
}

#[async_trait]
impl PaymentProvider for Client {
    fn provider(&self) -> Provider {
        Provider::Mpesa
    }

    fn own_ids(&self, kind: Kind, transaction_id: TransactionId) -> ProviderIds {
        let ours = kind == Kind::B2c && self.credentials.b2c_version == B2cVersion::V3;
        ProviderIds {
            originator_conversation_id: ours.then(|| transaction_id.to_string()),
            ..ProviderIds::default()
        }
    }

    async fn collect(&self, request: &Collection) -> Result<Outcome, Unsupported> {
        let prepared = message::shillings(request.amount, &request.currency)
            .and_then(|shillings| Ok((shillings, self.signature()?)));
        let (shillings, signature) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Outcome::Refused(wordless(reason))),
        };
        let body = message::stk_push(&self.credentials, &signature, request, shillings);
        let submitted = self.submit(error::Call::Money, STK_PUSH_PATH, &body).await;
        Ok(outcome::of_money(submitted, ProviderIds::default()))
    }

    async fn preview_collection(&self, _: &Collection) -> Result<Reply, Unsupported> {
        Err(Unsupported("previewing a collection"))
    }

    async fn pay_out(&self, request: &PayOut) -> Result<Outcome, Unsupported> {
        let prepared = message::shillings(request.amount, &request.currency)
            .and_then(|shillings| Ok((shillings, self.initiator()?)));
        let (shillings, (name, credential)) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Outcome::Refused(wordless(reason))),
        };
        let own_id = self.own_ids(Kind::B2c, request.transaction_id);
        let (path, originator_id) = match self.credentials.b2c_version {
            B2cVersion::V1 => (B2C_V1_PATH, None),
            // What was committed before the call; the same by construction if the caller left it to us.
            B2cVersion::V3 => (
                B2C_V3_PATH,
                (request.ids.originator_conversation_id.clone())
                    .or(own_id.originator_conversation_id),
            ),
        };
        let initiator = (name, credential.as_str());
        let id = originator_id.as_deref();
        let body = message::b2c(&self.credentials, initiator, id, request, shillings);
        let submitted = self.submit(error::Call::Money, path, &body).await;
        Ok(outcome::of_money(
            submitted,
            ProviderIds {
                originator_conversation_id: originator_id,
                ..ProviderIds::default()
            },
        ))
    }

    async fn preview_pay_out(&self, _: &PayOut) -> Result<Reply, Unsupported> {
        Err(Unsupported("previewing a payout"))
    }

    async fn reverse(&self, request: &ReversalRequest) -> Result<Outcome, Unsupported> {
        let prepared = self.initiator().and_then(|(name, credential)| {
            message::reversal(&self.credentials, (name, &credential), request)
        });
        let body = match prepared {
            Ok(body) => body,
            Err(reason) => return Ok(Outcome::Refused(wordless(reason))),
        };
        let submitted = self.submit(error::Call::Money, REVERSAL_PATH, &body).await;
        Ok(outcome::of_money(submitted, ProviderIds::default()))
    }

    async fn query(&self, question: &Question) -> Result<Answer, Unsupported> {
        Ok(match (question.kind, &question.ids.conversation_id) {
            (Kind::StkPush, Some(id)) => self.stk_query(id, question).await,
            (Kind::StkPush, None) if question.receipt.is_none() => {
                let reason = "no CheckoutRequestID is known: only the callback can tell";
                Answer::Impossible(reason.to_owned())
            }
            _ => self.transaction_status(question).await,
        })
    }

    async fn balance(
        &self,
        callbacks: &CallbackBase,
        enquiry_id: EnquiryId,
    ) -> Result<BalanceAnswer, Unsupported> {
        let (name, credential) = match self.initiator() {
            Ok(initiator) => initiator,
            Err(missing) => return Ok(BalanceAnswer::Refused(wordless(missing))),
        };
        let body = message::balance(
            &self.credentials,
            (name, &credential),
            (callbacks, enquiry_id),
        );
        let submitted = self
            .submit(error::Call::Question, BALANCE_PATH, &body)
            .await;
        Ok(match submitted {
            Ok(acceptance) => BalanceAnswer::Asked(Box::new(acceptance)),
            Err(trouble) => match outcome::refused_or_silent(trouble) {
                Ok(refusal) => BalanceAnswer::Refused(refusal),
                Err(silence) => BalanceAnswer::Unknown(silence),
            },
        })
    }

    async fn register_callbacks(&self, callbacks: &CallbackBase) -> Result<Reply, Unsupported> {
        let body = message::c2b_registration(&self.credentials, callbacks);
        let call = error::Call::Registration;
        Ok(match self.submit(call, C2B_REGISTER_PATH, &body).await {
            Ok(acceptance) => Reply::Body(acceptance.body.unwrap_or_default()),
            Err(trouble) => match outcome::refused_or_silent(trouble) {
                Ok(refusal) => Reply::Refused(refusal),
                Err(silence) => Reply::Unknown(silence),
            },
        })
    }

    async fn check_credentials(&self) -> Result<(), TokenError> {
        // Every token ends the one before, so the one fetched here is kept for the calls to come.
        let is_fresh = AtomicBool::new(false);
        let fetch = async {
            is_fresh.store(true, Ordering::Relaxed);
            self.fetch_token().await
        };
        let token = self.tokens.token(self.clock.now(), fetch).await?;
        if !is_fresh.load(Ordering::Relaxed) {
            self.tokens.forget(&token).await;
            self.token().await?;
        }
        Ok(())
    }
}
