//! Kept callbacks: their meaning as JSON in the inbox, so that it can be applied in the commit that brings the id.

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::rows::instant_from_micros;
use crate::domain::money::{Amount, Currency};
use crate::domain::msisdn::Msisdn;
use crate::domain::status_update::{
    Api, Correlation, News, Payer, ResultClass, StatusUpdate, Unregistered,
};

#[derive(Serialize, Deserialize)]
struct StoredNews {
    is_timeout: bool,
    api: String,
    class: String,
    returned: bool,
    result_code: Option<String>,
    result_description: Option<String>,
    provider_status: Option<String>,
    receipt: Option<String>,
    paid_minor: Option<i64>,
    payer_msisdn: Option<String>,
    payer_key: Option<String>,
    account_reference: Option<String>,
    occurred_at_micros: Option<i64>,
    transaction_id: Option<String>,
    order_reference: Option<String>,
    originator_conversation_id: Option<String>,
    conversation_id: Option<String>,
    correlation_receipt: Option<String>,
    merchant_request_id: Option<String>,
    original_receipt: Option<String>,
    unregistered: Option<StoredUnregistered>,
}

#[derive(Serialize, Deserialize)]
struct StoredUnregistered {
    kind: String,
    amount_minor: i64,
    currency: String,
    shortcode: Option<String>,
}

const APIS: [(Api, &str); 9] = [
    (Api::Stk, "stk"),
    (Api::B2c, "b2c"),
    (Api::B2b, "b2b"),
    (Api::Reversal, "reversal"),
    (Api::Balance, "balance"),
    (Api::StatusQuery, "status_query"),
    (Api::C2b, "c2b"),
    (Api::ClickpesaPayment, "clickpesa_payment"),
    (Api::ClickpesaPayout, "clickpesa_payout"),
];

/// What the text of news looks like, to SQL's LIKE, that may make a transaction of its own.
pub const UNREGISTERED_PATTERN: &str = "%\"unregistered\":{%";

/// News as text; `None` for news that never waits.
pub fn encode(news: &News) -> Option<String> {
    let (is_timeout, update) = match news {
        News::Payment(update) => (false, (**update).clone()),
        News::Timeout(correlation) => (
            true,
            StatusUpdate::new(Api::StatusQuery, ResultClass::Unknown, correlation.clone()),
        ),
        News::Balances { .. } | News::Information(_) | News::Unreadable(_) => return None,
    };
    let api = APIS
        .iter()
        .find(|(api, _)| *api == update.api)
        .map(|(_, name)| (*name).to_owned())?;
    let (payer_msisdn, payer_key) = match update.payer {
        Some(Payer::Msisdn(msisdn)) => (Some(msisdn.as_str().to_owned()), None),
        Some(Payer::Key(key)) => (None, Some(key)),
        None => (None, None),
    };
    let correlation = update.correlation;
    serde_json::to_string(&StoredNews {
        is_timeout,
        api,
        class: update.class.as_str().to_owned(),
        returned: update.returned,
        result_code: update.result_code,
        result_description: update.result_description,
        provider_status: update.provider_status,
        receipt: update.receipt,
        paid_minor: update.paid.map(Amount::minor),
        payer_msisdn,
        payer_key,
        account_reference: update.account_reference,
        occurred_at_micros: update.occurred_at.map(|at| at.timestamp_micros()),
        transaction_id: correlation.transaction_id.map(|id| id.to_string()),
        order_reference: correlation.order_reference,
        originator_conversation_id: correlation.originator_conversation_id,
        conversation_id: correlation.conversation_id,
        correlation_receipt: correlation.receipt,
        merchant_request_id: correlation.merchant_request_id,
        original_receipt: update.original_receipt,
        unregistered: update.unregistered.map(|facts| StoredUnregistered {
            kind: facts.kind.to_string(),
            amount_minor: facts.amount.minor(),
            currency: facts.currency.to_string(),
            shortcode: facts.shortcode,
        }),
    })
    .ok()
}

/// News from its text.
///
/// # Errors
/// If the text is not what [`encode`] makes.
pub fn decode(text: &str) -> Result<News, StoreError> {
    let broken = || StoreError::Query("a kept callback cannot be read back".to_owned());
    let stored: StoredNews = serde_json::from_str(text).map_err(|_| broken())?;
    let correlation = Correlation {
        transaction_id: stored.transaction_id.and_then(|id| id.parse().ok()),
        order_reference: stored.order_reference,
        originator_conversation_id: stored.originator_conversation_id,
        conversation_id: stored.conversation_id,
        receipt: stored.correlation_receipt,
        merchant_request_id: stored.merchant_request_id,
    };
    if stored.is_timeout {
        return Ok(News::Timeout(correlation));
    }
    let api = APIS
        .iter()
        .find(|(_, name)| *name == stored.api)
        .map(|(api, _)| *api)
        .ok_or_else(broken)?;
    let class = stored.class.parse().map_err(|()| broken())?;
    let mut update = StatusUpdate::new(api, class, correlation);
    update.returned = stored.returned;
    update.result_code = stored.result_code;
    update.result_description = stored.result_description;
    update.provider_status = stored.provider_status;
    update.receipt = stored.receipt;
    update.paid = stored.paid_minor.map(Amount);
    update.payer = stored
        .payer_msisdn
        .and_then(|text| Msisdn::from_international(&text).ok())
        .map(Payer::Msisdn)
        .or(stored.payer_key.map(Payer::Key));
    update.account_reference = stored.account_reference;
    update.occurred_at = stored.occurred_at_micros.and_then(instant_from_micros);
    update.original_receipt = stored.original_receipt;
    update.unregistered = stored
        .unregistered
        .map(|facts| -> Result<Unregistered, StoreError> {
            Ok(Unregistered {
                kind: facts.kind.parse().map_err(|_| broken())?,
                amount: Amount(facts.amount_minor),
                currency: facts.currency.parse::<Currency>().map_err(|_| broken())?,
                shortcode: facts.shortcode,
            })
        })
        .transpose()?;
    Ok(News::Payment(Box::new(update)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::identity::TransactionId;
    use crate::domain::transaction::Kind;

    #[test]
    fn what_is_kept_is_read_back_unchanged() {
        let now = SystemClock.now();
        let correlation = Correlation {
            transaction_id: Some(TransactionId::new(now)),
            order_reference: Some("ORD1".to_owned()),
            originator_conversation_id: Some("o".to_owned()),
            conversation_id: Some("c".to_owned()),
            receipt: Some("R".to_owned()),
            merchant_request_id: Some("m".to_owned()),
        };
        let timeout = News::Timeout(correlation.clone());
        assert_eq!(decode(&encode(&timeout).unwrap()).unwrap(), timeout);
        for (api, _) in APIS {
            for class in ResultClass::ALL {
                let mut update = StatusUpdate::new(api, class, correlation.clone());
                update.returned = true;
                update.result_code = Some("0".to_owned());
                update.paid = Some(Amount(1_050));
                update.payer = Some(Payer::Key("k".to_owned()));
                update.occurred_at = Some(now);
                update.unregistered = Some(Unregistered {
                    kind: Kind::C2b,
                    amount: Amount(5),
                    currency: Currency::kes(),
                    shortcode: Some("600966".to_owned()),
                });
                let news = News::Payment(Box::new(update));
                let pattern = UNREGISTERED_PATTERN.trim_matches('%');
                assert!(encode(&news).unwrap().contains(pattern));
                assert_eq!(decode(&encode(&news).unwrap()).unwrap(), news);
            }
        }
    }
}
