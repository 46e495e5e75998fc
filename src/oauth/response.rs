//! What the token endpoint answered. Pure.
//!
//! It promises to read whatever providers send (numbers as text, missing lifetimes, HTML in place of
//! JSON) without panicking, and that nothing it hands on for people to read contains a secret: of a
//! body that is not an error body not one octet is shown, of an error body only its code, its ids
//! and a redacted first line. It must not decide when to ask again.

use crate::diagnosis::Class;
use crate::diagnosis::entra::{self, Diagnosis};
use crate::secret::Secret;
use oauth2::basic::BasicTokenType;
use oauth2::{RefreshToken, Scope};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// No answer is read further than this many octets.
pub const MOST_OCTETS: usize = 1024 * 1024;

/// The lifetime of a token whose answer names none (RFC 6749 §5.1 only recommends `expires_in`).
pub const USUAL_LIFETIME: Duration = Duration::from_secs(3600);

/// No `Retry-After` is obeyed for longer: a header must not silence an account for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

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
}

impl Fault {
    /// Who can mend it.
    pub fn class(&self) -> Class {
        match self {
            Fault::Refused { diagnosis, .. } => diagnosis.class,
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

/// The answer that brings a token (RFC 6749 §5.1).
#[derive(Debug, Deserialize, Serialize)]
pub struct Granted {
    access_token: oauth2::AccessToken,
    #[serde(default = "bearer", deserialize_with = "only_bearer")]
    token_type: BasicTokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
}

impl Granted {
    /// The token, if it can be put into an `XOAUTH2` line: a control character there would write
    /// into the line itself.
    pub fn access(&self) -> Option<Secret> {
        let text = self.access_token.secret();
        let sound = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        sound.then(|| Secret::new(text.as_str()))
    }

    /// How long it lives.
    pub fn lifetime(&self) -> Duration {
        self.expires_in.unwrap_or(USUAL_LIFETIME)
    }

    /// The refresh token that came back, if any: an empty one is none.
    pub fn refresh(&self) -> Option<Secret> {
        let text = self.refresh_token.as_ref()?.secret();
        (!text.is_empty()).then(|| Secret::new(text.as_str()))
    }
}

impl oauth2::TokenResponse for Granted {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &oauth2::AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

fn bearer() -> BasicTokenType {
    BasicTokenType::Bearer
}

/// RFC 6749 §7.1: a token of a type that is not understood must not be used.
fn only_bearer<'de, D: Deserializer<'de>>(from: D) -> Result<BasicTokenType, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(BasicTokenType::Bearer),
        Value::String(word) if word.eq_ignore_ascii_case("bearer") => Ok(BasicTokenType::Bearer),
        _ => Err(serde::de::Error::custom("token_type is not Bearer")),
    }
}

/// Entra v2 sends a number, v1 and managed identities text, others `3599.0`. Zero and less come from
/// providers that mean "not known": then the usual lifetime holds and a 535 tells the truth.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(from)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    let longest = super::token::LONGEST;
    Ok(seconds
        .filter(|seconds| seconds.is_finite() && *seconds >= 1.0)
        .map(|seconds| Duration::from_secs(seconds.min(longest.as_secs_f64()) as u64)))
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
    let diagnosis = entra::classify(error, &codes, answer.status);
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
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[…]");
    }
    let mut out = String::new();
    let mut run = String::new();
    for letter in text.chars().chain(std::iter::once('\0')) {
        if letter.is_ascii_alphanumeric() || "-._~+/=%".contains(letter) {
            run.push(letter);
            continue;
        }
        out.push_str(if run.len() >= SECRET_RUN && !is_id(&run) { "[…]" } else { &run });
        run.clear();
        if letter.is_control() {
            out.extend((letter != '\0').then_some(' '));
        } else {
            out.push(letter);
        }
    }
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
