//! Callbacks in the odd shapes that have been seen: parts left out, numbers as text, one object where a list
//! is due. Nothing in them is untrue.

use serde::Serialize;
use serde_json::{Value, json};

/// How many shapes there are of each.
const SHAPES: u64 = 4;

/// An STK callback.
pub(super) fn of_stk(callback: &impl Serialize, variant: u64) -> Value {
    let mut callback = serde_json::to_value(callback).unwrap_or_default();
    let Some(body) = callback
        .pointer_mut("/Body/stkCallback")
        .and_then(Value::as_object_mut)
    else {
        return callback;
    };
    match variant % SHAPES {
        0 => {
            if let Some(items) = body.get_mut("CallbackMetadata").and_then(items_mut) {
                items.insert(1.min(items.len()), json!({"Name": "Balance"}));
            }
        }
        1 => body.values_mut().for_each(numbers_to_text),
        2 => keep_one(
            body.get_mut("CallbackMetadata"),
            "Item",
            ("Name", "MpesaReceiptNumber"),
        ),
        _ => {
            body.remove("CallbackMetadata");
        }
    }
    callback
}

/// The result of a payout, a reversal or a question.
pub(super) fn of_report(report: &impl Serialize, variant: u64) -> Value {
    let mut report = serde_json::to_value(report).unwrap_or_default();
    let Some(result) = report.get_mut("Result").and_then(Value::as_object_mut) else {
        return report;
    };
    match variant % SHAPES {
        0 => {
            result.remove("ResultParameters");
        }
        1 => keep_one(
            result.get_mut("ResultParameters"),
            "ResultParameter",
            ("Key", "TransactionReceipt"),
        ),
        2 => result.values_mut().for_each(numbers_to_text),
        _ => {
            let item = json!([{"Key": "QueueTimeoutURL"}]);
            result.insert("ReferenceData".to_owned(), json!({"ReferenceItem": item}));
        }
    }
    report
}

fn items_mut(metadata: &mut Value) -> Option<&mut Vec<Value>> {
    metadata.get_mut("Item")?.as_array_mut()
}

/// Leaves one object in the place of the list: the one that `wanted` names, if it is there.
fn keep_one(holder: Option<&mut Value>, list: &str, wanted: (&str, &str)) {
    let Some(list) = holder.and_then(|holder| holder.get_mut(list)) else {
        return;
    };
    let one = list.as_array().and_then(|items| {
        items
            .iter()
            .find(|item| item.get(wanted.0).and_then(Value::as_str) == Some(wanted.1))
            .or_else(|| items.first())
            .cloned()
    });
    if let Some(one) = one {
        *list = one;
    }
}

fn numbers_to_text(value: &mut Value) {
    match value {
        Value::Number(number) => *value = Value::from(number.to_string()),
        Value::Array(items) => items.iter_mut().for_each(numbers_to_text),
        Value::Object(members) => members.values_mut().for_each(numbers_to_text),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stk() -> Value {
        json!({"Body": {"stkCallback": {"ResultCode": 0, "CallbackMetadata": {"Item": [
            {"Name": "Amount", "Value": 120},
            {"Name": "MpesaReceiptNumber", "Value": "UC5X"},
        ]}}}})
    }

    #[test]
    fn an_stk_callback_has_four_odd_shapes() {
        let at = |variant, path: &str| of_stk(&stk(), variant).pointer(path).cloned();
        let items = "/Body/stkCallback/CallbackMetadata/Item";
        assert_eq!(
            at(4, &format!("{items}/1")),
            Some(json!({"Name": "Balance"}))
        );
        assert_eq!(at(1, &format!("{items}/0/Value")), Some(json!("120")));
        assert_eq!(at(1, "/Body/stkCallback/ResultCode"), Some(json!("0")));
        assert_eq!(
            at(2, items),
            Some(json!({"Name": "MpesaReceiptNumber", "Value": "UC5X"}))
        );
        assert_eq!(at(3, "/Body/stkCallback/CallbackMetadata"), None);
    }

    #[test]
    fn a_result_has_four_odd_shapes() {
        let report = json!({"Result": {"ResultType": 0, "ResultParameters": {"ResultParameter": [
            {"Key": "TransactionAmount", "Value": 120},
            {"Key": "TransactionReceipt", "Value": "UC5X"},
        ]}, "ReferenceData": {"ReferenceItem": {"Key": "QueueTimeoutURL", "Value": "x"}}}});
        let at = |variant, path: &str| of_report(&report, variant).pointer(path).cloned();
        assert_eq!(at(0, "/Result/ResultParameters"), None);
        assert_eq!(
            at(1, "/Result/ResultParameters/ResultParameter/Value"),
            Some(json!("UC5X"))
        );
        assert_eq!(at(2, "/Result/ResultType"), Some(json!("0")));
        assert_eq!(
            at(3, "/Result/ReferenceData/ReferenceItem/0"),
            Some(json!({"Key": "QueueTimeoutURL"}))
        );
    }
}
