//! Entity tags (RFC 9110, 8.8.3 and 13.1.2): what an answer is called, and whether the caller has it already.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, IF_NONE_MATCH};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Bytes of the digest that a tag shows: 128 bits, so that no two answers share one.
const TAG_BYTES: usize = 16;

/// The strong entity tag of these bytes, quotes included.
pub fn entity_tag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let part = digest.get(..TAG_BYTES).unwrap_or_default();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(part))
}

/// What `If-None-Match` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing, or nothing that can be read: an answer is always sent.
    Nothing,
    /// Whatever there is.
    Anything,
    /// These tags, without `W/`: they are compared weakly.
    Tags(Vec<String>),
}

impl Known {
    /// What the caller has. A field that is no list of tags is passed over as a whole.
    pub fn of(request: &HttpRequest) -> Self {
        Self::read(request.headers()).unwrap_or(Self::Nothing)
    }

    /// Whether the caller has the answer of this tag.
    pub fn has(&self, tag: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Anything => true,
            Self::Tags(tags) => tags.iter().any(|known| known == tag),
        }
    }

    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut tags = Vec::new();
        for value in headers.get_all(IF_NONE_MATCH) {
            let mut rest = value.to_str().ok()?.trim();
            if rest == "*" {
                return Some(Self::Anything);
            }
            while !rest.is_empty() {
                let opaque = rest.strip_prefix("W/").unwrap_or(rest);
                // A tag may have commas in it, but no quotes.
                let (tag, after) = opaque.strip_prefix('"')?.split_once('"')?;
                tags.push(format!("\"{tag}\""));
                let after = after.trim_start();
                rest = match after.strip_prefix(',') {
                    Some(more) => more.trim_start_matches([',', ' ', '\t']),
                    None if after.is_empty() => after,
                    None => return None,
                };
            }
        }
        (!tags.is_empty()).then_some(Self::Tags(tags))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn known(fields: &[&str]) -> Known {
        let mut request = TestRequest::default();
        for field in fields {
            request = request.append_header((IF_NONE_MATCH, *field));
        }
        Known::of(&request.to_http_request())
    }

    #[test]
    fn a_tag_is_found_in_a_list_weakly_compared() {
        for fields in [
            &["\"a\""][..],
            &["W/\"a\""],
            &["\"x\", \"a\""],
            &["\"x\" ,W/\"a\",\"y,z\""],
            &["\"x\",, \"a\","],
            &["\"x\"", "\"a\""],
            &["*"],
            &[" * "],
        ] {
            assert!(known(fields).has("\"a\""), "{fields:?}");
        }
    }

    #[test]
    fn another_tag_or_no_list_of_tags_is_not_it() {
        for fields in [
            &[][..],
            &[""],
            &["\"b\""],
            &["a"],
            &["\"a"],
            &["\"a\" \"b\""],
            &["w/\"a\""],
            &["\"x,\"a\""],
            &["*, \"b\""],
            &["\"A\""],
        ] {
            assert!(!known(fields).has("\"a\""), "{fields:?}");
        }
    }

    #[test]
    fn whoever_names_nothing_has_nothing() {
        for fields in [&[][..], &[""], &["a"], &["\"a\" \"b\""]] {
            assert_eq!(known(fields), Known::Nothing, "{fields:?}");
        }
    }

    #[test]
    fn a_tag_is_quoted_and_its_own() {
        let tag = entity_tag(b"one");
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 24);
        assert_ne!(tag, entity_tag(b"two"));
        assert_eq!(tag, entity_tag(b"one"));
    }
}
