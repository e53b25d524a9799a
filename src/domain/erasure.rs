//! Blanking one phone number in whatever text it stands in, and nothing else: a run of digits is the number only if it
//! is one of the number's own forms from its first digit to its last.

use super::msisdn::Msisdn;

/// Hex digits of a SHA-256.
const DIGEST_LENGTH: usize = 64;

/// A number to be blanked, in each form it is written: whole, national, bare, and as the digest that M-Pesa sends in its
/// place.
#[derive(Clone, PartialEq, Eq)]
pub struct Erasure {
    msisdn: Msisdn,
    digest: String,
}

impl std::fmt::Debug for Erasure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Erasure({})", self.msisdn)
    }
}

impl Erasure {
    /// Of this number, whose SHA-256 in hex is `digest`.
    pub fn new(msisdn: Msisdn, digest: String) -> Self {
        Self {
            msisdn,
            digest: digest.to_ascii_lowercase(),
        }
    }

    /// The number.
    pub fn msisdn(&self) -> &Msisdn {
        &self.msisdn
    }

    /// The digest of the number, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What every text with the number holds: the nine digits all its forms end in.
    pub fn national(&self) -> &str {
        self.msisdn.as_str().get(3..).unwrap_or_default()
    }

    /// Whether a whole value is the number, whatever its form.
    pub fn is(&self, value: &str) -> bool {
        let value = value.trim();
        self.is_number(value.strip_prefix('+').unwrap_or(value).as_bytes())
            || self.is_digest(value.as_bytes())
    }

    fn is_number(&self, run: &[u8]) -> bool {
        let national = self.national().as_bytes();
        run == self.msisdn.as_str().as_bytes()
            || run == national
            || run.strip_prefix(b"0") == Some(national)
    }

    fn is_digest(&self, run: &[u8]) -> bool {
        run.len() == DIGEST_LENGTH && run.eq_ignore_ascii_case(self.digest.as_bytes())
    }

    /// The text without the number; `None` if it does not hold it.
    pub fn blank_text(&self, text: &str) -> Option<String> {
        let blanked = self.blank(text.as_bytes())?;
        // Only ASCII was replaced, by ASCII.
        String::from_utf8(blanked).ok()
    }

    /// The bytes without the number; `None` if they do not hold it. A number of JSON becomes `null`, so that what was
    /// JSON still is; everything else becomes stars.
    pub fn blank(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut blanked = Vec::with_capacity(bytes.len());
        let mut is_changed = false;
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let length = if first.is_ascii_hexdigit() {
                self.run(rest, &blanked)
            } else {
                1
            };
            let (run, after) = rest.split_at(length.min(rest.len()));
            let is_alone = is_no_word_before(&blanked) && !after.first().is_some_and(is_of_a_word);
            if is_alone && (self.is_number(run) || self.is_digest(run)) {
                is_changed = true;
                if follows_a_colon(&blanked) {
                    blanked.extend_from_slice(b"null");
                } else {
                    blanked.resize(blanked.len() + run.len(), b'*');
                }
            } else {
                blanked.extend_from_slice(run);
            }
            rest = after;
        }
        is_changed.then_some(blanked)
    }

    /// How long the run is that begins here: a digest, the digits, or one letter. In the middle of digits none begins.
    fn run(&self, rest: &[u8], before: &[u8]) -> usize {
        let count = |is_part: fn(&u8) -> bool| rest.iter().take_while(|byte| is_part(byte)).count();
        if count(u8::is_ascii_hexdigit) == DIGEST_LENGTH
            && !before.last().is_some_and(u8::is_ascii_hexdigit)
        {
            return DIGEST_LENGTH;
        }
        count(u8::is_ascii_digit).max(1)
    }
}

/// What makes digits a part of something longer, such as a provider's id.
fn is_of_a_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

/// A form writes `+` as `%2B`.
fn is_no_word_before(before: &[u8]) -> bool {
    !before.last().is_some_and(is_of_a_word) || before.ends_with(b"%2B") || before.ends_with(b"%2b")
}

fn follows_a_colon(before: &[u8]) -> bool {
    before
        .iter()
        .rev()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| *byte == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn erasure() -> Erasure {
        let msisdn = Msisdn::from_international("254712345678").unwrap();
        Erasure::new(msisdn, DIGEST.to_owned())
    }

    #[test]
    fn every_form_of_the_number_becomes_stars() {
        for (text, blank) in [
            ("254712345678", "************"),
            ("+254712345678", "+************"),
            ("0712345678", "**********"),
            ("712345678", "*********"),
            (
                "paid by 254712345678, thanks",
                "paid by ************, thanks",
            ),
            ("MSISDN=%2B254712345678&x=1", "MSISDN=%2B************&x=1"),
            ("\"254712345678\"", "\"************\""),
        ] {
            assert_eq!(erasure().blank_text(text).as_deref(), Some(blank), "{text}");
        }
        let upper = DIGEST.to_uppercase();
        assert_eq!(
            erasure().blank_text(&format!("payer {upper}.")),
            Some(format!("payer {}.", "*".repeat(64)))
        );
    }

    #[test]
    fn a_number_of_json_becomes_null() {
        let body = br#"{"Name":"PhoneNumber","Value": 254712345678}"#;
        let blanked = br#"{"Name":"PhoneNumber","Value": null}"#;
        assert_eq!(erasure().blank(body).as_deref(), Some(blanked.as_slice()));
    }

    #[test]
    fn what_only_holds_its_digits_is_left_alone() {
        for text in [
            "",
            "254712345679",
            "1254712345678",
            "2547123456780",
            "29115-17123456781-1",
            "2547*****678",
            "255712345678",
            "abc",
            "ws_CO_712345678",
            "0712345678abc",
        ] {
            assert_eq!(erasure().blank_text(text), None, "{text}");
        }
        assert_eq!(erasure().blank(&[0xff, 0x00, b'7', b'1']), None);
        assert_eq!(erasure().blank_text(&format!("{DIGEST}0")), None);
    }

    #[test]
    fn a_whole_value_is_known_in_every_form() {
        for value in [
            "254712345678",
            "+254712345678",
            "0712345678",
            "712345678",
            DIGEST,
        ] {
            assert!(erasure().is(value), "{value}");
        }
        assert!(!erasure().is("254712345678-1"));
        assert_eq!(format!("{:?}", erasure()), "Erasure(2547*****678)");
    }
}
