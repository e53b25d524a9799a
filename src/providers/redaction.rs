//! Taking secrets out of a body before it is stored, touching nothing else. It reads bytes, not JSON: a body that
//! was cut off, or that is no JSON at all, may still carry the credential.

const REMOVED: &str = "[removed]";
/// JSON inside a JSON string inside a JSON string: deeper than anybody goes.
const MAX_EMBEDDING: u8 = 3;

/// The body without the values of `fields`, named in any case.
pub(super) fn redact(body: &[u8], fields: &[&str]) -> Vec<u8> {
    let clean = redact_tokens(body, fields, MAX_EMBEDDING);
    if serde_json::from_slice::<serde::de::IgnoredAny>(&clean).is_ok() {
        clean
    } else {
        redact_text(&clean, fields)
    }
}

/// Walks over JSON's tokens, whole document or not: a string that names a field and is followed by a colon loses
/// the value after it; a string that holds a document of its own is walked in turn.
fn redact_tokens(body: &[u8], fields: &[&str], embedding: u8) -> Vec<u8> {
    let mut clean = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&first, after_first)) = rest.split_first() {
        if first != b'"' {
            clean.push(first);
            rest = after_first;
            continue;
        }
        let (token, after_token) = split_at(rest, string_length(rest));
        rest = after_token;
        let colon = after_token
            .iter()
            .position(|byte| !byte.is_ascii_whitespace());
        let (gap, from_colon) = split_at(after_token, colon.unwrap_or(after_token.len()));
        match from_colon.split_first() {
            Some((b':', value)) if is_secret(token, fields) => {
                let blank = value.iter().take_while(|byte| byte.is_ascii_whitespace());
                let (blank, value) = split_at(value, blank.count());
                for part in [token, gap, b":", blank, b"\"", REMOVED.as_bytes(), b"\""] {
                    clean.extend_from_slice(part);
                }
                rest = split_at(value, value_length(value)).1;
            }
            Some((b':', _)) => clean.extend_from_slice(token),
            _ => match redact_embedded(token, fields, embedding) {
                Some(replacement) => clean.extend_from_slice(&replacement),
                None => clean.extend_from_slice(token),
            },
        }
    }
    clean
}

/// A string token whose content is a document with secrets in it, without them.
fn redact_embedded(token: &[u8], fields: &[&str], embedding: u8) -> Option<Vec<u8>> {
    let content: String = serde_json::from_slice(token).ok()?;
    if embedding == 0 || !content.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let clean = redact_tokens(content.as_bytes(), fields, embedding.saturating_sub(1));
    if clean == content.as_bytes() {
        return None;
    }
    serde_json::to_vec(&String::from_utf8_lossy(&clean)).ok()
}

fn is_secret(token: &[u8], fields: &[&str]) -> bool {
    serde_json::from_slice::<String>(token).is_ok_and(|name| {
        let name = name.trim();
        fields.iter().any(|field| field.eq_ignore_ascii_case(name))
    })
}

/// The length of the string token that `bytes` begins with, its quotes included.
fn string_length(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (offset, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return offset.saturating_add(1),
            _ => {}
        }
    }
    bytes.len()
}

/// The length of the value that `bytes` begins with, or of what is left of it.
fn value_length(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(b'"') => string_length(bytes),
        Some(b'{' | b'[') => {
            let (mut depth, mut at) = (0_usize, 0_usize);
            while let Some(&byte) = bytes.get(at) {
                let (_, here) = split_at(bytes, at);
                at = at.saturating_add(if byte == b'"' { string_length(here) } else { 1 });
                match byte {
                    b'{' | b'[' => depth = depth.saturating_add(1),
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            at
        }
        _ => bytes
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())
            .unwrap_or(bytes.len()),
    }
}

/// The best that can be done for forms, XML and the like: whatever stands between a field's name with its
/// separator and the next delimiter goes.
fn redact_text(body: &[u8], fields: &[&str]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&first, after_first)) = rest.split_first() {
        let name = fields.iter().find(|field| {
            rest.get(..field.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(field.as_bytes()))
        });
        let found = name.and_then(|name| {
            let (_, after_name) = split_at(rest, name.len());
            let (head, value) = split_at(
                rest,
                name.len().saturating_add(separator_length(after_name)?),
            );
            let is_end = |byte: &u8| matches!(byte, b'&' | b'<' | b'"' | b'\'' | b'\n' | b'\r');
            let end = value.iter().position(is_end).unwrap_or(value.len());
            (end > 0).then_some((head, split_at(value, end).1))
        });
        match found {
            Some((head, after_value)) => {
                clean.extend_from_slice(head);
                clean.extend_from_slice(REMOVED.as_bytes());
                rest = after_value;
            }
            None => {
                clean.push(first);
                rest = after_first;
            }
        }
    }
    clean
}

/// The length of what stands between a name and its value: quotes, spaces, and one of `=`, `:`, `>`, also
/// percent-encoded. `None` if the value is already gone, or if no separator follows.
fn separator_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0_usize;
    let mut separated = false;
    loop {
        let (_, rest) = split_at(bytes, at);
        let encoded = rest.get(..3).map(|code| code.to_ascii_uppercase());
        let step = match (rest.first(), encoded.as_deref()) {
            (Some(b'=' | b':' | b'>'), _) if !separated => {
                separated = true;
                1
            }
            (_, Some(b"%3D" | b"%3A")) if !separated => {
                separated = true;
                3
            }
            (_, Some(b"%22" | b"%20")) => 3,
            (Some(b'"' | b'\'' | b'\\' | b' ' | b'\t'), _) => 1,
            _ => break,
        };
        at = at.saturating_add(step);
    }
    let (_, value) = split_at(bytes, at);
    (separated && !value.starts_with(REMOVED.as_bytes())).then_some(at)
}

fn split_at(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[&str] = &["SecurityCredential", "InitiatorPassword", "Password"];

    fn redacted(body: &str) -> String {
        String::from_utf8(redact(body.as_bytes(), FIELDS)).unwrap()
    }

    #[test]
    fn the_value_goes_and_every_other_byte_stays() {
        assert_eq!(
            redacted("{ \"A\" : 1.00,\n\"SecurityCredential\" : \"RC6E9W\\\"x ==\" , \"B\":[ ] }"),
            "{ \"A\" : 1.00,\n\"SecurityCredential\" : \"[removed]\" , \"B\":[ ] }"
        );
    }

    #[test]
    fn a_body_without_secrets_is_the_same_bytes() {
        for body in [
            r#"{"Result":{"ResultDesc":"Password: wrong, SecurityCredential=locked"}}"#,
            "not json at all \u{1F4A9} Password",
            "",
            r#"{"a":"Password","b":"{\"x\":1}"}"#,
        ] {
            assert_eq!(redacted(body), body);
        }
        let bytes = b"\xff\xfe{\"a\":\x00}";
        assert_eq!(redact(bytes, FIELDS), bytes);
    }

    #[test]
    fn fields_are_found_at_any_depth_in_any_case_and_of_any_type() {
        for (body, clean) in [
            (
                r#"{"a":[{"PASSWORD":12}]}"#,
                r#"{"a":[{"PASSWORD":"[removed]"}]}"#,
            ),
            (
                r#"{"password":{"x":["]}",1]},"b":2}"#,
                r#"{"password":"[removed]","b":2}"#,
            ),
            (
                r#"{"initiatorpassword":null}"#,
                r#"{"initiatorpassword":"[removed]"}"#,
            ),
            (
                r#"{"Pass\u0077ord":"x"}"#,
                r#"{"Pass\u0077ord":"[removed]"}"#,
            ),
            (
                r#"{"Password":"a","Password":"b"}"#,
                r#"{"Password":"[removed]","Password":"[removed]"}"#,
            ),
            (
                r#"{"body":"{\"Password\":\"x\"}"}"#,
                r#"{"body":"{\"Password\":\"[removed]\"}"}"#,
            ),
        ] {
            assert_eq!(redacted(body), clean);
        }
    }

    #[test]
    fn a_body_cut_off_anywhere_does_not_show_the_secret() {
        let body = r#"{"InitiatorName":"testapi","SecurityCredential":"TOPSECRET=="}"#;
        for end in 0..=body.len() {
            let clean = redacted(&body[..end]);
            assert!(!clean.contains("TOP"), "{clean}");
        }
    }

    #[test]
    fn other_formats_lose_it_too() {
        for (body, clean) in [
            (
                "Initiator=x&SecurityCredential=abc%2B%3D&PartyA=1",
                "Initiator=x&SecurityCredential=[removed]&PartyA=1",
            ),
            (
                "<x><SecurityCredential>abc</SecurityCredential></x>",
                "<x><SecurityCredential>[removed]</SecurityCredential></x>",
            ),
            (
                "{'Password': 'abc', 'a': 1}",
                "{'Password': '[removed]', 'a': 1}",
            ),
            (
                "payload=%7B%22Password%22%3A%22abc",
                "payload=%7B%22Password%22%3A%22[removed]",
            ),
            ("{SecurityCredential: abc", "{SecurityCredential: [removed]"),
        ] {
            assert_eq!(redacted(body), clean);
        }
    }
}
