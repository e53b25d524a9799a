//! `openapi.yaml`, read: its operations, and whether an answer is as it says. Knows as much of JSON Schema as the
//! document uses, and stops at a word it does not know.

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::{Map, Value};
use ussd_status::domain::clock::Instant;

use super::app::Answer;

/// The methods an OpenAPI path may have that we ever use.
pub const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The document.
pub struct Document(pub Value);

/// A path with a method.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    /// As in the document: `/callbacks/{token}/{kind}`.
    pub path: &'a str,
    /// In lower case.
    pub method: &'a str,
    /// What the document says about it.
    pub value: &'a Value,
}

impl<'a> Operation<'a> {
    /// Its name.
    pub fn id(&self) -> &'a str {
        self.value["operationId"].as_str().unwrap()
    }

    /// Whether it wants a key: the document's default unless the operation says otherwise.
    pub fn wants_key(&self) -> bool {
        self.value["security"] != Value::Array(Vec::new())
    }

    /// Whether it takes a body.
    pub fn takes_body(&self) -> bool {
        self.value["requestBody"].is_object()
    }

    /// The statuses it may answer with.
    pub fn statuses(&self) -> impl Iterator<Item = u16> + use<'a> {
        let responses = self.value["responses"].as_object().unwrap();
        responses.keys().map(|status| status.parse().unwrap())
    }
}

impl Document {
    /// Reads the document as the program carries it.
    pub fn read() -> Self {
        Self(serde_yaml_ng::from_str(ussd_status::http::OPENAPI).unwrap())
    }

    /// Every operation.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| {
                METHODS.into_iter().filter_map(move |method| {
                    let value = item.get(method)?;
                    Some(Operation {
                        path,
                        method,
                        value,
                    })
                })
            })
            .collect()
    }

    /// Follows `$ref`, if it is one.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            None => value,
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap();
                let found = self.0.pointer(pointer);
                self.resolve(found.unwrap_or_else(|| panic!("{reference} leads nowhere")))
            }
        }
    }

    /// The parameters of an operation.
    pub fn parameters<'a>(&'a self, operation: Operation<'a>) -> Vec<&'a Value> {
        let listed = operation.value["parameters"].as_array();
        listed
            .into_iter()
            .flatten()
            .map(|parameter| self.resolve(parameter))
            .collect()
    }

    /// The example bodies of an operation.
    pub fn bodies<'a>(&'a self, operation: Operation<'a>) -> Vec<&'a Value> {
        let media = &self.resolve(&operation.value["requestBody"])["content"]["application/json"];
        examples(media)
    }

    /// Stops unless the answer is one the document promises for the operation.
    pub fn check(&self, operation: Operation<'_>, answer: &Answer) {
        let status = answer.status.as_u16().to_string();
        let about = format!("{} {} → {status}", operation.method, operation.path);
        let response = operation.value["responses"].get(&status);
        let response =
            response.unwrap_or_else(|| panic!("{about} is not in openapi.yaml: {}", answer.text));
        self.check_response(self.resolve(response), answer, &about);
    }

    /// Stops unless the answer has the headers, the media type and the body of `response`.
    pub fn check_response(&self, response: &Value, answer: &Answer, about: &str) {
        let empty = Map::new();
        for (name, header) in response["headers"].as_object().unwrap_or(&empty) {
            let header = self.resolve(header);
            let Some(value) = answer.headers.get(name.as_str()) else {
                assert_ne!(header["required"], true, "{about} has no {name}");
                continue;
            };
            let text = value.to_str().unwrap();
            let value = match header["schema"]["type"].as_str() {
                Some("integer") => serde_json::from_str(text).unwrap(),
                _ => Value::String(text.to_owned()),
            };
            self.expect_valid(&header["schema"], &value, &format!("{about}, {name}"));
        }
        let Some(content) = response["content"].as_object() else {
            assert!(answer.text.is_empty(), "{about} has a body");
            return;
        };
        let kind = answer.header("content-type");
        let kind = kind.split(';').next().unwrap().trim();
        let media = content.get(kind);
        let media = media.unwrap_or_else(|| panic!("{about} does not promise {kind:?}"));
        let body = if kind.ends_with("json") {
            answer.json()
        } else {
            Value::String(answer.text.clone())
        };
        self.expect_valid(&media["schema"], &body, about);
    }

    /// Stops unless `value` is what `schema` says.
    pub fn expect_valid(&self, schema: &Value, value: &Value, about: &str) {
        let mut wrong = Vec::new();
        self.validate(schema, value, "", &mut wrong);
        assert!(wrong.is_empty(), "{about}: {}\n{value}", wrong.join("; "));
    }

    /// Whether `value` is as `schema` says.
    pub fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        let mut wrong = Vec::new();
        self.validate(schema, value, "", &mut wrong);
        wrong.is_empty()
    }

    fn validate(&self, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        for (word, rule) in schema.as_object().unwrap() {
            let holds = match word.as_str() {
                "description" | "default" | "example" | "examples" => true,
                "$ref" => {
                    self.validate(self.resolve(schema), value, at, wrong);
                    true
                }
                "allOf" => {
                    for part in rule.as_array().unwrap() {
                        self.validate(part, value, at, wrong);
                    }
                    true
                }
                "anyOf" => {
                    let mut parts = rule.as_array().unwrap().iter();
                    parts.any(|part| self.is_valid(part, value))
                }
                "not" => !self.is_valid(rule, value),
                "properties" | "additionalProperties" | "required" | "minProperties" => {
                    match value.as_object() {
                        Some(object) => {
                            self.validate_object(schema, word, object, at, wrong);
                            true
                        }
                        None => true,
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.validate(rule, item, &format!("{at}/{index}"), wrong);
                    }
                    true
                }
                _ => plain_rule_holds(word, rule, value),
            };
            if !holds {
                wrong.push(format!("{at}: {word} {rule} does not hold for {value}"));
            }
        }
    }

    fn validate_object(
        &self,
        schema: &Value,
        word: &str,
        object: &Map<String, Value>,
        at: &str,
        wrong: &mut Vec<String>,
    ) {
        let known = schema["properties"].as_object();
        let is_known = |name: &String| known.is_some_and(|known| known.contains_key(name));
        let rule = &schema[word];
        match word {
            "properties" => {
                for (name, part) in rule.as_object().unwrap() {
                    if let Some(value) = object.get(name) {
                        self.validate(part, value, &format!("{at}/{name}"), wrong);
                    }
                }
            }
            "additionalProperties" => {
                for (name, value) in object.iter().filter(|(name, _)| !is_known(name)) {
                    match rule {
                        Value::Bool(true) => {}
                        Value::Bool(false) => wrong.push(format!("{at}: {name} is not documented")),
                        rule => self.validate(rule, value, &format!("{at}/{name}"), wrong),
                    }
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if !object.contains_key(name.as_str().unwrap()) {
                        wrong.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            _ => {
                if object.len() < count(rule) {
                    wrong.push(format!("{at}: fewer than {rule} properties"));
                }
            }
        }
    }
}

/// The examples of a media type, parameter or header. Those of optional parameters stand in the schema: the page
/// would send the others with every request.
pub fn examples(holder: &Value) -> Vec<&Value> {
    let named = holder["examples"].as_object();
    let named = named.into_iter().flatten().map(|(_, one)| &one["value"]);
    let listed = holder["schema"]["examples"].as_array();
    let one = holder.get("example").into_iter();
    one.chain(named)
        .chain(listed.into_iter().flatten())
        .collect()
}

fn count(rule: &Value) -> usize {
    rule.as_u64().unwrap().try_into().unwrap()
}

/// A rule about one value, with nothing inside it. Rules about other types than the value's hold.
fn plain_rule_holds(word: &str, rule: &Value, value: &Value) -> bool {
    let text = value.as_str();
    let number = value.as_f64();
    let items = value.as_array();
    match word {
        "type" => match rule {
            Value::Array(types) => types.iter().any(|name| is_of_type(name, value)),
            name => is_of_type(name, value),
        },
        "enum" => rule.as_array().unwrap().contains(value),
        "const" => rule == value,
        "minLength" => text.is_none_or(|text| text.chars().count() >= count(rule)),
        "maxLength" => text.is_none_or(|text| text.chars().count() <= count(rule)),
        "pattern" => {
            let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
            text.is_none_or(|text| pattern.is_match(text))
        }
        "uniqueItems" => items.is_none_or(|items| {
            let mut earlier = items.iter().enumerate();
            earlier.all(|(index, item)| !items[..index].contains(item))
        }),
        "minItems" => items.is_none_or(|items| items.len() >= count(rule)),
        "maxItems" => items.is_none_or(|items| items.len() <= count(rule)),
        "minimum" => number.is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => number.is_none_or(|number| number <= rule.as_f64().unwrap()),
        // Only ever 0.01: at most two decimals in the number as it is written.
        "multipleOf" => value.as_number().is_none_or(|number| {
            assert_eq!(rule.as_f64(), Some(0.01));
            let text = number.to_string();
            text.split_once('.')
                .is_none_or(|(_, cents)| cents.len() <= 2)
        }),
        "format" => match (rule.as_str().unwrap(), text) {
            ("uuid", Some(text)) => text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
            ("date-time", Some(text)) => text.parse::<Instant>().is_ok(),
            ("uuid" | "date-time", None) => true,
            ("int64", _) => value.is_null() || value.is_i64(),
            (other, _) => panic!("openapi.yaml uses the format {other}, which nothing checks"),
        },
        other => panic!("openapi.yaml uses {other}, which nothing checks"),
    }
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

/// Everything in the document that has a schema and examples of it.
pub fn with_examples<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(object) => {
            if object.contains_key("schema") && !examples(value).is_empty() {
                found.push(value);
            }
            object
                .values()
                .for_each(|inner| with_examples(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| with_examples(inner, found)),
        _ => {}
    }
}

/// Every `$ref` in the document.
pub fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}
