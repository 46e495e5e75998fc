//! What Graph answered, as a fact. Pure.
//!
//! It promises that only 202 is success, that whatever the body holds comes out short and on one line, and
//! that how long Graph wants to be left alone is heard in seconds and as a date.

use crate::smtp::{Enhanced, Reply};
use crate::upstream::Fault;
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// Characters of Graph's text that are kept.
const LONGEST_TEXT: usize = 400;
/// No wait that Graph asks for is held to be longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// An answer as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// `request-id`: what Microsoft's support asks for.
    pub request_id: Option<&'a str>,
    /// The body, or its first part.
    pub body: &'a [u8],
}

/// `{"error":{"code":"…","message":"…"}}`
#[derive(Deserialize, Default)]
struct Written {
    #[serde(default)]
    error: Said,
}

#[derive(Deserialize, Default)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Answer<'_> {
    /// The answer to a request that `wanted` this status; success gives what is noted of it.
    ///
    /// # Errors
    /// [`Fault::Http`].
    pub fn read(&self, wanted: u16, now: SystemTime) -> Result<Reply, Fault> {
        let request = self.request_id.map(|id| format!(" (request-id {})", short(id)));
        let request = request.unwrap_or_default();
        if self.status == wanted {
            let text = format!("{} taken by Microsoft Graph{request}", self.status);
            return Ok(Reply { code: 250, enhanced: Some(Enhanced(2, 0, 0)), text: text.into() });
        }
        let (code, text) = match serde_json::from_slice::<Written>(self.body) {
            Ok(Written { error }) => (error.code, error.message),
            // A page of something on the way.
            Err(_) => (String::new(), String::from_utf8_lossy(self.body).into_owned()),
        };
        Err(Fault::Http {
            status: self.status,
            code: short(&code),
            text: short(&text) + &request,
            retry_after: self.retry_after.and_then(|value| wait(value, now)),
        })
    }
}

/// One line without control characters, cut.
fn short(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(LONGEST_TEXT).collect()
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let seconds =
        value.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let wait = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT),
        None => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn read(status: u16, retry_after: Option<&str>, body: &str) -> Result<Reply, Fault> {
        let request_id = Some("r-1");
        Answer { status, retry_after, request_id, body: body.as_bytes() }.read(202, now())
    }

    #[test]
    fn b24_only_202_is_success() {
        for status in (100..600).filter(|status| *status != 202) {
            assert!(read(status, None, "").is_err(), "{status}");
        }
        let reply = read(202, None, "").expect("taken");
        assert_eq!(reply.to_string(), "250 2.0.0 202 taken by Microsoft Graph (request-id r-1)");
    }

    #[test]
    fn b24_retry_after_in_seconds_and_as_a_date() {
        for (value, seconds) in [
            ("1", Some(1.0)),
            (" 30 ", Some(30.0)),
            ("0.5", Some(0.5)),
            ("Tue, 14 Nov 2023 22:13:50 GMT", Some(30.0)),
            ("Tue, 14 Nov 2023 22:13:10 GMT", Some(0.0)),
            ("999999999999999999999999", Some(3600.0)),
            ("-1", None),
            ("soon", None),
            ("NaN", None),
            ("", None),
        ] {
            let Err(Fault::Http { retry_after, .. }) = read(429, Some(value), "{}") else {
                panic!()
            };
            assert_eq!(retry_after.map(|wait| wait.as_secs_f64()), seconds, "{value:?}");
        }
    }

    #[test]
    fn bodies_of_any_kind_become_one_short_line() {
        for (body, code, text) in [
            (
                r#"{"error":{"code":"ErrorSendAsDenied","message":"no\r\nright","innerError":{"x":1}}}"#,
                "ErrorSendAsDenied",
                "no right (request-id r-1)",
            ),
            ("<html>\n<b>Bad Gateway</b>", "", "<html> <b>Bad Gateway</b> (request-id r-1)"),
            ("", "", " (request-id r-1)"),
            ("{}", "", " (request-id r-1)"),
            (r#"{"error":{"code":"\u0007\u2028x"}}"#, "x", " (request-id r-1)"),
        ] {
            let Err(Fault::Http { code: seen, text: words, .. }) = read(403, None, body) else {
                panic!()
            };
            assert_eq!((seen.as_str(), words.as_str()), (code, text), "{body}");
        }
        let whole = r#"{"error":{"code":"ErrorAccessDenied","message":"Access is denied."}}"#;
        for end in 0..whole.len() {
            assert!(read(403, None, &whole[..end]).is_err());
        }
    }
}
