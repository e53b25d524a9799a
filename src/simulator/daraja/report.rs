//! What all calls have in common whose result comes later: the answer at once, and the result.

use serde::Serialize;
use serde_json::Value;

use super::{ResultCode, callback, partial};
use crate::simulator::course::Course;
use crate::simulator::faults::Fault;
use crate::simulator::world::Post;

/// The synchronous answer of every call whose result comes later.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Accepted {
    #[serde(rename = "ConversationID")]
    conversation_id: String,
    #[serde(rename = "OriginatorConversationID")]
    originator_conversation_id: String,
    response_code: &'static str,
    response_description: &'static str,
}

impl Accepted {
    pub(super) fn new(conversation_id: &str, originator_conversation_id: &str) -> Self {
        Self {
            conversation_id: conversation_id.to_owned(),
            originator_conversation_id: originator_conversation_id.to_owned(),
            response_code: "0",
            response_description: "Accept the service request successfully.",
        }
    }
}

/// The result of such a call.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Report {
    result: ReportBody,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReportBody {
    result_type: u8,
    result_code: Value,
    result_desc: &'static str,
    #[serde(rename = "OriginatorConversationID")]
    originator_conversation_id: String,
    #[serde(rename = "ConversationID")]
    conversation_id: String,
    #[serde(rename = "TransactionID")]
    transaction_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_parameters: Option<Parameters>,
    reference_data: ReferenceData,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parameters {
    result_parameter: Vec<Parameter>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReferenceData {
    reference_item: Parameter,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    key: &'static str,
    value: Value,
}

impl Report {
    /// What M-Pesa says about a call; `parameters` only if it went well.
    pub(super) fn new(
        result: ResultCode,
        originator_conversation_id: String,
        conversation_id: String,
        transaction_id: String,
        parameters: Vec<(&'static str, Value)>,
    ) -> Self {
        let parameters = (!parameters.is_empty()).then(|| Parameters {
            result_parameter: parameters
                .into_iter()
                .map(|(key, value)| Parameter { key, value })
                .collect(),
        });
        Self {
            result: ReportBody {
                result_type: 0,
                result_code: result.as_json(),
                result_desc: result.1,
                originator_conversation_id,
                conversation_id,
                transaction_id,
                result_parameters: parameters,
                reference_data: ReferenceData {
                    reference_item: Parameter {
                        key: "QueueTimeoutURL",
                        value: Value::from(
                            "https://internalsandbox.safaricom.co.ke/mpesa/b2cresults/v1/submit",
                        ),
                    },
                },
            },
        }
    }

    /// To be posted, in an odd shape if that was drawn.
    pub(super) fn post(&self, url: &str, course: &Course) -> Post {
        if course.strikes(Fault::PartialShape) {
            callback(url, &partial::of_report(self, course.variant()))
        } else {
            callback(url, self)
        }
    }
}
