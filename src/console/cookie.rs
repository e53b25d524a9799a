//! The console's two cookies: the session, and the one sentence that the next page shows.

use actix_web::HttpRequest;
use actix_web::http::header::{COOKIE, HeaderValue};

/// How long a sentence waits for the page that shows it, in seconds.
const NOTICE_SECONDS: u32 = 60;
/// The longest sentence, in bytes once it is percent-encoded: a browser keeps 4 KiB.
const NOTICE_MAX: usize = 2_000;

/// Which cookies, by whether callers reach us by https: then they are `Secure` and bound to this very host.
#[derive(Debug, Clone, Copy)]
pub struct Cookies {
    /// Whether callers reach us by https.
    pub is_https: bool,
}

impl Cookies {
    fn name(self, plain: &'static str, host: &'static str) -> &'static str {
        if self.is_https { host } else { plain }
    }

    fn session_name(self) -> &'static str {
        self.name("console_session", "__Host-console_session")
    }

    fn notice_name(self) -> &'static str {
        self.name("console_notice", "__Host-console_notice")
    }

    /// The session's token, as the browser sent it.
    pub fn session(self, request: &HttpRequest) -> Option<String> {
        value(request, self.session_name())
    }

    /// The sentence for this page.
    pub fn notice(self, request: &HttpRequest) -> Option<String> {
        let encoded = value(request, self.notice_name())?;
        url::form_urlencoded::parse(format!("n={encoded}").as_bytes())
            .next()
            .map(|(_, text)| text.into_owned())
    }

    /// Keeps a session's token until the browser is closed.
    pub fn keep_session(self, token: &str) -> Option<HeaderValue> {
        self.set(self.session_name(), token, None)
    }

    /// Forgets the session's token.
    pub fn forget_session(self) -> Option<HeaderValue> {
        self.set(self.session_name(), "", Some(0))
    }

    /// Keeps a sentence for the next page.
    pub fn keep_notice(self, text: &str) -> Option<HeaderValue> {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let is_short = encoded.len() <= NOTICE_MAX;
        is_short
            .then(|| self.set(self.notice_name(), &encoded, Some(NOTICE_SECONDS)))
            .flatten()
    }

    /// Forgets the sentence once it was shown.
    pub fn forget_notice(self) -> Option<HeaderValue> {
        self.set(self.notice_name(), "", Some(0))
    }

    fn set(self, name: &str, value: &str, seconds: Option<u32>) -> Option<HeaderValue> {
        let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
        let secure = if self.is_https { "; Secure" } else { "" };
        HeaderValue::from_str(&format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Strict{age}{secure}"
        ))
        .ok()
    }
}

fn value(request: &HttpRequest, name: &str) -> Option<String> {
    request
        .headers()
        .get_all(COOKIE)
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn by_https_a_cookie_is_secure_and_bound_to_the_host() {
        let set = |is_https| {
            let header = Cookies { is_https }.keep_session("abc").unwrap();
            header.to_str().unwrap().to_owned()
        };
        assert_eq!(
            set(true),
            "__Host-console_session=abc; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            set(false),
            "console_session=abc; Path=/; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn a_sentence_comes_back_as_it_was() {
        let cookies = Cookies { is_https: false };
        let text = "Saved; \"50 %\" & more — ümlaut\r\nx=1";
        let header = cookies.keep_notice(text).unwrap();
        let pair = header
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let request = TestRequest::default()
            .insert_header(("cookie", format!("a=b; {pair}; c=d")))
            .to_http_request();
        assert_eq!(cookies.notice(&request).unwrap(), text);
        assert_eq!(cookies.session(&request), None);
        assert_eq!(cookies.keep_notice(&"x".repeat(NOTICE_MAX + 1)), None);
    }
}
