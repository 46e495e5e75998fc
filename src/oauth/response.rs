//! What the token endpoint answered. Pure.
//!
//! It promises to read whatever providers send (numbers as text, missing lifetimes, HTML in place of
//! JSON) without panicking, and that nothing it hands on for people to read contains a secret: of a
//! body that is not an error body not one octet is shown, of an error body only its code, its ids
//! and a redacted first line. It must not decide when to ask again.

pub use super::granted::{Granted, USUAL_LIFETIME};
use crate::diagnosis::Class;
use crate::diagnosis::entra::{self, Diagnosis};
use crate::diagnosis::google;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// No answer is read further than this many octets.
pub const MOST_OCTETS: usize = 1024 * 1024;

/// No `Retry-After` is obeyed for longer: a header must not silence an account for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Only a locked user has to wait that long.
const LOCKOUT: Duration = Duration::from_secs(15 * 60);

/// A line of an error description is cut here, in characters.
const LONGEST_TEXT: usize = 240;

/// Runs of token characters as long as this are not shown, unless they are an id.
const SECRET_RUN: usize = 32;

/// Why no token could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody answered: name, connection, TLS, timeout. The network's fault; retrying helps.
    #[error("the token endpoint cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that is no answer: HTML, garbage, a redirect, too long. Retrying helps as a rule.
    #[error("the token endpoint answered {status} with {what}")]
    Unclear {
        /// HTTP status.
        status: u16,
        /// What came, in our own words.
        what: String,
        /// Not before this long, if it said so.
        retry_after: Option<Duration>,
    },
    /// The provider said no, and why. The diagnosis tells who can mend it.
    #[error("{text}")]
    Refused {
        /// Who can mend it and how.
        diagnosis: Diagnosis,
        /// Code, meaning, what the provider said, ids: one line without secrets.
        text: String,
        /// Not before this long, if it said so.
        retry_after: Option<Duration>,
    },
    /// The token had ended before its answer arrived.
    #[error("the token had ended before it arrived")]
    Stale,
    /// The request ended without an answer, because the program stops or a part of it failed.
    #[error("the token request was given up")]
    GivenUp,
    /// The refresh token that came back could not be stored, so its access token is not used.
    #[error("the new refresh token cannot be stored: {0}")]
    Store(String),
    /// The certificates of `ca_file` or of the system cannot be used: the operator's to mend.
    #[error("certificates cannot be used: {0}")]
    Trust(String),
    /// Something on this machine that a grant needs: a key, a file, a program.
    #[error("{what}")]
    Local {
        /// Who can mend it.
        class: Class,
        /// What is wrong, in one line without secrets.
        what: String,
        /// The next step; placeholders as in [`crate::diagnosis::fill`].
        remedy: &'static str,
    },
}

impl Fault {
    /// Who can mend it.
    pub fn class(&self) -> Class {
        match self {
            Fault::Refused { diagnosis, .. } => diagnosis.class,
            Fault::Local { class, .. } => *class,
            Fault::Trust(_) => Class::Administrator,
            Fault::Unreachable(_)
            | Fault::Unclear { .. }
            | Fault::Stale
            | Fault::GivenUp
            | Fault::Store(_) => Class::Transient,
        }
    }

    /// The next step, with the placeholders of [`crate::diagnosis::fill`].
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Fault::Refused { diagnosis, .. } => Some(diagnosis.remedy),
            Fault::Local { remedy, .. } => Some(remedy),
            Fault::Unreachable(_) => Some(
                "check that this host reaches the token endpoint of account \"{account}\" over \
                 HTTPS: name resolution, firewall, proxy, certificates (`ca_file`)",
            ),
            Fault::Unclear { .. } => Some(
                "check `token_url` of account \"{account}\" and whether a proxy or portal answers \
                 in the place of the provider",
            ),
            Fault::Stale => Some("check that this host's clock is synchronised (`timedatectl`)"),
            Fault::Store(_) => {
                Some("make room in `state_dir` and make it writable for the user of submitd")
            }
            Fault::Trust(_) => {
                Some("check `ca_file` in [account.oauth] of account \"{account}\": a PEM file")
            }
            Fault::GivenUp => None,
        }
    }

    /// The operator's to mend, on this machine.
    pub fn local(what: impl Into<String>, remedy: &'static str) -> Self {
        Self::Local { class: Class::Administrator, what: what.into(), remedy }
    }

    /// On this machine, and another program may mend it by itself.
    pub fn passing(what: impl Into<String>, remedy: &'static str) -> Self {
        Self::Local { class: Class::Transient, what: what.into(), remedy }
    }

    /// Whether the same password may be tried again without a person. A lockout, which the diagnosis
    /// knows by its long pause, grows with every try.
    pub fn allows_another_try(&self) -> bool {
        match self {
            Fault::Refused { diagnosis, .. } => {
                diagnosis.class == Class::Transient && diagnosis.pause < LOCKOUT
            }
            _ => true,
        }
    }

    /// Not before this long, as the provider asked.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Fault::Refused { retry_after, .. } | Fault::Unclear { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Not before this long, as the diagnosis asks.
    pub fn pause(&self) -> Duration {
        match self {
            Fault::Refused { diagnosis, .. } => diagnosis.pause,
            _ => Duration::ZERO,
        }
    }
}

/// An answer before it is judged.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// The value of `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The body, [`MOST_OCTETS`] at most.
    pub body: &'a [u8],
}

/// Whether the answer is a refusal; `None` = it may bring a token. `secrets` are those that went
/// with the request: a provider that repeats them must not make us show them.
pub fn refusal(answer: Answer<'_>, now: SystemTime, secrets: &[&str]) -> Option<Fault> {
    let retry_after = answer.retry_after.and_then(|value| wait(value, now));
    let said = serde_json::from_slice::<Value>(answer.body).ok();
    let member = |name: &str| said.as_ref().and_then(|said| said.get(name));
    let error = member("error").and_then(Value::as_str).filter(|error| !error.is_empty());
    let Some(error) = error else {
        return (answer.status != 200)
            .then(|| unclear(answer.status, answer.body, said.is_some(), retry_after));
    };
    if answer.status == 200 && member("access_token").is_some() {
        return None;
    }
    let description = member("error_description").and_then(Value::as_str).unwrap_or_default();
    let codes = codes(member("error_codes"), description);
    let diagnosis = match google::row_of(error, description).filter(|_| codes.is_empty()) {
        Some(row) => Diagnosis::from(row),
        None => entra::classify(error, &codes, answer.status),
    };
    let mut text = plain(error, secrets);
    for code in &codes {
        let _ = write!(text, " AADSTS{code}");
    }
    let _ = write!(text, ": {}", diagnosis.meaning);
    let line = plain(first_line(description), secrets);
    if !line.is_empty() {
        let _ = write!(text, " (the provider: {line})");
    }
    for (name, words) in [("trace_id", "trace id"), ("correlation_id", "correlation id")] {
        if let Some(id) = member(name).and_then(Value::as_str).filter(|id| is_id(id)) {
            let _ = write!(text, ", {words} {id}");
        }
    }
    Some(Fault::Refused { diagnosis, text, retry_after })
}

/// An answer that is neither a token nor an error body. Nothing of the body is repeated.
pub fn unclear(status: u16, body: &[u8], json: bool, retry_after: Option<Duration>) -> Fault {
    let start = body.iter().position(|octet| !octet.is_ascii_whitespace()).unwrap_or(0);
    let what = match status {
        300..=399 => "a redirect, which is not followed".to_owned(),
        _ if body.is_empty() => "an empty body".to_owned(),
        _ if json => "JSON that is neither a token nor an error".to_owned(),
        _ if body[start..].starts_with(b"<") => format!("an HTML page of {} octets", body.len()),
        _ => format!("{} octets that are not JSON", body.len()),
    };
    Fault::Unclear { status, what, retry_after }
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110 §10.2.3), a day at most.
pub fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) {
        // More digits than a u64 holds still means: very long.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST_WAIT))
}

/// `error_codes`, or where it is missing the `AADSTS…` of the description; few at most.
fn codes(listed: Option<&Value>, description: &str) -> Vec<u32> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let listed: Vec<u32> = listed
        .and_then(Value::as_array)
        .map(|codes| codes.iter().filter_map(number).take(8).collect())
        .unwrap_or_default();
    if !listed.is_empty() {
        return listed;
    }
    let parts = description.split("AADSTS").skip(1);
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    parts.filter_map(|part| digits(part).parse().ok()).take(8).collect()
}

/// The description up to the ids: `\r\n` before them in older answers, a blank in newer ones.
fn first_line(description: &str) -> &str {
    let line = description.split(['\r', '\n']).next().unwrap_or_default();
    line.split(" Trace ID:").next().unwrap_or_default().trim()
}

/// Text of a peer as it may be shown: without secrets, without control characters, not too long.
pub fn plain(text: &str, secrets: &[&str]) -> String {
    // First the control characters: taken out later they would join the halves of a secret.
    let blank = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut text: String = text.chars().map(blank).collect();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[…]");
    }
    let mut out = String::new();
    let mut run = String::new();
    // A space ends the last run.
    for letter in text.chars().chain(std::iter::once(' ')) {
        if letter.is_ascii_alphanumeric() || "-._~+/=%".contains(letter) {
            run.push(letter);
            continue;
        }
        out.push_str(if run.len() >= SECRET_RUN && !is_id(&run) { "[…]" } else { &run });
        run.clear();
        out.push(letter);
    }
    out.pop();
    if let Some((end, _)) = out.char_indices().nth(LONGEST_TEXT) {
        out.truncate(end);
        out.push('…');
    }
    out.trim().to_owned()
}

/// A GUID, or what looks like one; full stops may follow.
fn is_id(text: &str) -> bool {
    let text = text.trim_end_matches('.');
    (text.len() == 36)
        && text.char_indices().all(|(at, letter)| match at {
            8 | 13 | 18 | 23 => letter == '-',
            _ => letter.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATE: SystemTime = SystemTime::UNIX_EPOCH;

    fn granted(body: &str) -> Option<Granted> {
        serde_json::from_str(body).ok()
    }

    fn refused(status: u16, body: &str) -> Fault {
        let answer = Answer { status, retry_after: None, body: body.as_bytes() };
        refusal(answer, LATE, &["planted-secret"]).expect("a refusal")
    }

    #[test]
    fn success_of_entra_v2_google_and_managed_identities() {
        let entra = granted(
            r#"{"token_type":"Bearer","scope":"https://outlook.office.com/SMTP.Send","expires_in":3599,
                "ext_expires_in":3599,"access_token":"eyJ0","refresh_token":"0.AXoA"}"#,
        )
        .unwrap();
        assert_eq!(entra.access().unwrap().expose(), "eyJ0");
        assert_eq!(entra.lifetime(), Duration::from_secs(3599));
        assert_eq!(entra.refresh().unwrap().expose(), "0.AXoA");
        let google = granted(r#"{"access_token":"ya29","expires_in":3599,"token_type":"bearer"}"#);
        assert!(google.unwrap().refresh().is_none());
        let managed = granted(
            r#"{"access_token":"t","refresh_token":"","expires_in":"3599","token_type":"Bearer"}"#,
        );
        let managed = managed.unwrap();
        assert_eq!(managed.lifetime(), Duration::from_secs(3599));
        assert!(managed.refresh().is_none());
    }

    #[test]
    fn b11_lifetimes_in_every_shape() {
        for (written, seconds) in [
            ("3599", 3599),
            ("3599.0", 3599),
            ("3599.9", 3599),
            ("\"3599\"", 3599),
            ("\" 3599.5 \"", 3599),
            ("null", 3600),
            ("0", 3600),
            ("-5", 3600),
            ("\"\"", 3600),
            ("\"soon\"", 3600),
            ("\"inf\"", 3600),
            ("\"NaN\"", 3600),
            ("[]", 3600),
            ("1e300", 604_800),
            ("1000000000000", 604_800),
            ("99999999999999999999999999", 604_800),
            ("2", 2),
        ] {
            let body = format!(r#"{{"access_token":"t","expires_in":{written}}}"#);
            assert_eq!(granted(&body).unwrap().lifetime().as_secs(), seconds, "{written}");
        }
        assert_eq!(granted(r#"{"access_token":"t"}"#).unwrap().lifetime(), USUAL_LIFETIME);
    }

    #[test]
    fn a_token_that_would_write_into_the_line_or_is_of_another_type_is_none() {
        for text in ["", "a b", "a\\r\\nb", "a\\u0001b", "ä"] {
            let body = format!(r#"{{"access_token":"{text}"}}"#);
            assert!(granted(&body).unwrap().access().is_none(), "{text}");
        }
        for kind in ["\"mac\"", "\"pop\"", "7"] {
            let body = format!(r#"{{"access_token":"t","token_type":{kind}}}"#);
            assert!(granted(&body).is_none(), "{kind}");
        }
        for body in ["{}", "[]", "null", "{\"access_token\":7}", "{\"token_type\":\"Bearer\"}", ""]
        {
            assert!(granted(body).is_none(), "{body}");
        }
    }

    const OLD: &str = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 0000aaaa-11bb-cccc-dd33-eeeeee333333\r\nCorrelation ID: aaaa0000-bb11-2222-33cc-444444dddddd\r\nTimestamp: 2016-01-09 02:02:12Z","error_codes":[7000215],"trace_id":"0000aaaa-11bb-cccc-dd33-eeeeee333333","correlation_id":"aaaa0000-bb11-2222-33cc-444444dddddd"}"#;
    const NEW: &str = r#"{"error":"invalid_grant","error_description":"AADSTS50196: A loop. Trace ID: 0000aaaa-11bb-cccc-dd33-eeeeee333333 Correlation ID: x Timestamp: 2025-03-04 17:46:18Z","suberror":"bad_token"}"#;

    #[test]
    fn b12_error_bodies_old_and_new() {
        let fault = refused(401, OLD);
        assert_eq!(fault.class(), Class::Administrator);
        assert_eq!(
            fault.to_string(),
            "invalid_client AADSTS7000215: the client secret is wrong: often the secret's id was \
             copied instead of its value (the provider: AADSTS7000215: Invalid client secret \
             provided.), trace id 0000aaaa-11bb-cccc-dd33-eeeeee333333, correlation id \
             aaaa0000-bb11-2222-33cc-444444dddddd"
        );
        let fault = refused(400, NEW);
        assert_eq!(fault.class(), Class::Transient);
        assert_eq!(fault.pause(), Duration::from_secs(60));
        assert!(fault.to_string().contains("(the provider: AADSTS50196: A loop.)"), "{fault}");
    }

    #[test]
    fn b11_what_is_no_answer_is_transient_and_told_apart() {
        for (status, body, words) in [
            (502, "<html><h1>planted-secret</h1></html>", "502 with an HTML page of 36 octets"),
            (404, "\r\n <!DOCTYPE html>", "HTML page"),
            (500, "", "an empty body"),
            (503, "{}", "neither a token nor an error"),
            (400, "garbage planted-secret", "22 octets that are not JSON"),
            (400, "{\"error\":7}", "neither a token nor an error"),
            (302, "planted-secret", "redirect"),
            (204, "", "an empty body"),
        ] {
            let fault = refused(status, body);
            assert_eq!(fault.class(), Class::Transient, "{status}");
            assert!(fault.to_string().contains(words), "{fault}");
            assert!(!format!("{fault:?}").contains("planted"), "{fault:?}");
        }
        let fine = Answer { status: 200, retry_after: None, body: b"{\"access_token\":\"t\"}" };
        assert!(refusal(fine, LATE, &[]).is_none());
        assert_eq!(refused(200, r#"{"error":"invalid_grant"}"#).class(), Class::SignIn);
    }

    #[test]
    fn secrets_in_an_error_body_are_not_shown() {
        let jwt = format!("eyJ{}.{}-{}_", "a".repeat(40), "b".repeat(900), "c".repeat(100));
        let body = serde_json::json!({
            "error": "planted-secret",
            "error_description": format!("bad planted-secret, token '{jwt}' and\u{1b}[31m more\r\nplanted-tail"),
            "trace_id": "planted-trace", "correlation_id": ["planted"],
            "claims": "planted-claims",
        });
        let fault = refused(400, &body.to_string());
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains("planted"), "{shown}");
        assert!(!shown.contains("aaaaaaaa") && !shown.contains("bbbbbbbb"), "{shown}");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\r'), "{shown}");
        assert!(shown.contains("bad […], token '[…]' and"), "{shown}");
    }

    #[test]
    fn ids_are_shown_and_long_texts_cut() {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(plain(&format!("application {id}."), &[]), format!("application {id}."));
        assert_eq!(
            plain("planted\0-secret \0planted-secret\0", &["planted-secret"]),
            "planted -secret  […]"
        );
        assert_eq!(plain("two\0words", &["two words"]), "[…]");
        assert_eq!(plain(&"wörter ".repeat(100), &[]).chars().count(), LONGEST_TEXT + 1);
    }

    #[test]
    fn b11_retry_after_in_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Sat, 21 Nov 2026 10:00:00 GMT").unwrap();
        for (value, seconds) in [
            ("60", Some(60)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 10:01:30 GMT", Some(90)),
            ("Sat, 21 Nov 2026 09:00:00 GMT", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(wait(value, now).map(|wait| wait.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn bodies_cut_at_every_octet_are_read_without_panic() {
        for body in [OLD, NEW] {
            for end in 0..body.len() {
                let answer =
                    Answer { status: 400, retry_after: None, body: &body.as_bytes()[..end] };
                assert!(matches!(refusal(answer, LATE, &[]), Some(Fault::Unclear { .. })));
            }
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(
            status in 0_u16..1000,
            body in proptest::collection::vec(any::<u8>(), 0..400),
            retry in "\\PC{0,40}",
        ) {
            let answer = Answer { status, retry_after: Some(&retry), body: &body };
            let _ = refusal(answer, LATE, &["s"]);
            let _ = serde_json::from_slice::<Granted>(&body).map(|granted| granted.access());
        }

        #[test]
        fn any_members_are_read_without_panic(
            error in "\\PC{0,20}", description in "(AADSTS|[0-9]|\\PC| Trace ID:|\r\n){0,40}",
            code in any::<i64>(), lifetime in any::<f64>(),
        ) {
            let body = serde_json::json!({
                "error": error, "error_description": description, "error_codes": [code, "7", null],
                "access_token": description, "expires_in": lifetime,
            }).to_string();
            let answer = Answer { status: 400, retry_after: None, body: body.as_bytes() };
            let shown = refusal(answer, LATE, &[]).map(|fault| fault.to_string());
            prop_assert!(shown.is_none_or(|shown| !shown.contains(char::is_control)));
            if let Ok(granted) = serde_json::from_str::<Granted>(&body) {
                prop_assert!(granted.lifetime() <= crate::oauth::token::LONGEST);
            }
        }
    }
}
