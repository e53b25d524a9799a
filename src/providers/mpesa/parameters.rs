//! M-Pesa's lists of named values: `CallbackMetadata.Item` (`Name`) and `ResultParameters.ResultParameter` (`Key`).

use serde_json::Value;

use crate::providers::json;

/// Named values in the order they came; positions mean nothing, names do.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The first list found under one of `containers`, then one of `lists`: an array, or a single object where
    /// there is one parameter only. An older edition of the portal's balance page nests the two names the other
    /// way round, so callers give every spelling.
    pub(super) fn read(object: &Value, containers: &[&str], lists: &[&str]) -> Self {
        let Some(container) = containers
            .iter()
            .find_map(|name| json::member(object, name))
        else {
            return Self::default();
        };
        let list = lists
            .iter()
            .find_map(|name| json::member(container, name))
            .unwrap_or(container);
        let entries = match list {
            Value::Array(entries) => entries.as_slice(),
            single => std::slice::from_ref(single),
        };
        Self(entries.iter().filter_map(Self::entry).collect())
    }

    fn entry(entry: &Value) -> Option<(String, String)> {
        let name = json::first_field(entry, &["Key", "Name"])?;
        Some((json::squeezed(&name), json::field(entry, "Value")?))
    }

    /// The first value of that name that is not empty: the same key may come twice, and without a value.
    pub(super) fn first(&self, name: &str) -> Option<String> {
        let name = json::squeezed(name);
        let entry = self.0.iter().find(|(key, _)| *key == name);
        entry.map(|(_, value)| value.clone())
    }

    /// The first value that any of `names` has.
    pub(super) fn first_of(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.first(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Parameters {
        let value = json::parse(body.as_bytes()).unwrap();
        let names = ["ResultParameters", "ResultParameter"];
        Parameters::read(&value, &names, &["ResultParameter", "ResultParameters"])
    }

    #[test]
    fn every_nesting_is_read() {
        for body in [
            r#"{"ResultParameters":{"ResultParameter":[{"Key":"Amount","Value":10}]}}"#,
            r#"{"ResultParameters":{"ResultParameter":{"Key":"Amount","Value":"10"}}}"#,
            r#"{"ResultParameter":{"ResultParameters":[{"Key":"Amount","Value":10}]}}"#,
            r#"{"ResultParameters":[{"Key":"Amount","Value":10}]}"#,
            r#"{"ResultParameters":{"ResultParameter":[{"Key":" A mount ","Value":"10"}]}}"#,
        ] {
            assert_eq!(read(body).first("Amount").as_deref(), Some("10"), "{body}");
        }
    }

    #[test]
    fn the_first_value_that_is_not_empty_wins() {
        let parameters = read(
            r#"{"ResultParameters":{"ResultParameter":[
                {"Key":"A"},{"Key":"A","Value":""},{"Key":"A","Value":"x"},{"Key":"A","Value":"y"}]}}"#,
        );
        assert_eq!(parameters.first("A").as_deref(), Some("x"));
    }

    #[test]
    fn what_is_no_list_is_empty() {
        for body in [
            "{}",
            "[]",
            r#"{"ResultParameters":7}"#,
            r#"{"ResultParameters":null}"#,
        ] {
            assert_eq!(read(body).first("Amount"), None, "{body}");
        }
    }
}
