//! How long a caller would rather wait than hear that there is nothing new: `wait=N`, or `Prefer: wait=N` (RFC 7240).

use std::time::Duration;

use actix_web::HttpRequest;

use super::error::ApiError;
use super::request::{Query, quote};

/// The parameter.
pub const PARAMETER: &str = "wait";
/// The longest wait, seconds: below the half minute after which many proxies and clients give up.
pub const WAIT_MAX_SECONDS: i64 = 25;

const HEADER: &str = "prefer";

/// The time to wait, zero unless told; the parameter stands above the header.
///
/// # Errors
/// VALIDATION_1002 for anything but 0 to [`WAIT_MAX_SECONDS`] whole seconds.
pub fn time(query: &Query, request: &HttpRequest) -> Result<Duration, ApiError> {
    let range = 0..=WAIT_MAX_SECONDS;
    let seconds = match query.whole_number(PARAMETER, range)? {
        Some(seconds) => seconds,
        None => preferred(request)?.unwrap_or(0),
    };
    Ok(Duration::from_secs(
        u64::try_from(seconds).unwrap_or_default(),
    ))
}

/// `Preference-Applied` (RFC 7240) for an answer that waits because the header asked for it.
pub fn applied(query: &Query, request: &HttpRequest) -> Option<(&'static str, String)> {
    if query.value(PARAMETER).is_some() {
        return None;
    }
    let seconds = preferred(request).ok().flatten()?;
    Some(("preference-applied", format!("{PARAMETER}={seconds}")))
}

fn preferred(request: &HttpRequest) -> Result<Option<i64>, ApiError> {
    for value in request.headers().get_all(HEADER) {
        let text = String::from_utf8_lossy(value.as_bytes());
        if let Some(wait) = wait_in(&text) {
            let is_plain = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
            let seconds = wait.parse::<i64>().ok().filter(|_| is_plain);
            return match seconds.filter(|seconds| (0..=WAIT_MAX_SECONDS).contains(seconds)) {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(ApiError::field(
                    "Prefer",
                    format!(
                        "has wait={}; accepted is a whole number from 0 to {WAIT_MAX_SECONDS}",
                        quote(wait)
                    ),
                )),
            };
        }
    }
    Ok(None)
}

/// The value of the first `wait` among the preferences; other preferences are not ours to judge.
fn wait_in(preferences: &str) -> Option<&str> {
    preferences.split(',').find_map(|preference| {
        let (first, _) = preference.split_once(';').unwrap_or((preference, ""));
        let (name, value) = first.split_once('=').unwrap_or((first, ""));
        name.trim()
            .eq_ignore_ascii_case(PARAMETER)
            .then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn wait(query: &str, prefer: &[&str]) -> Option<u64> {
        let mut request = TestRequest::default();
        for value in prefer {
            request = request.append_header((HEADER, *value));
        }
        let query = Query::parse(query, &[PARAMETER]).unwrap();
        let time = time(&query, &request.to_http_request()).ok()?;
        Some(time.as_secs())
    }

    #[test]
    fn the_parameter_or_the_header_says_how_long() {
        assert_eq!(wait("", &[]), Some(0));
        assert_eq!(wait("wait=25", &[]), Some(25));
        assert_eq!(wait("", &["wait=7"]), Some(7));
        assert_eq!(wait("", &["respond-async, Wait = \"9\"; foo=1"]), Some(9));
        assert_eq!(wait("", &["respond-async", "wait=3"]), Some(3));
        assert_eq!(wait("", &["return=minimal"]), Some(0));
        assert_eq!(wait("wait=0", &["wait=20"]), Some(0));
    }

    #[test]
    fn anything_else_is_refused() {
        for query in ["wait=26", "wait=-1", "wait=1.5", "wait=+5", "wait=5s"] {
            assert_eq!(wait(query, &[]), None, "{query}");
        }
        for prefer in [
            "wait=26",
            "wait=-1",
            "wait=soon",
            "wait",
            "wait=",
            "wait=+5",
        ] {
            assert_eq!(wait("", &[prefer]), None, "{prefer}");
        }
    }
}
