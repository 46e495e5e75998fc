//! The answer that brings a token, as providers write it. Pure.
//!
//! It promises to take numbers as text and missing lifetimes, and that no token is shown. What refuses is
//! `response`.

use super::login::IdToken;
use crate::secret::Secret;
use oauth2::basic::BasicTokenType;
use oauth2::{RefreshToken, Scope};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The lifetime of a token whose answer names none (RFC 6749 §5.1 only recommends `expires_in`).
pub const USUAL_LIFETIME: Duration = Duration::from_secs(3600);

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
    /// Google names it where access is granted for a time, Microsoft in some flows.
    #[serde(default, deserialize_with = "long_seconds")]
    refresh_token_expires_in: Option<Duration>,
    /// Says who signed in, where that was asked for.
    #[serde(default)]
    pub id_token: Option<IdToken>,
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

    /// A token that came without an answer: printed, or found in a file.
    pub fn found(token: &str, lifetime: Option<Duration>) -> Self {
        Self {
            access_token: oauth2::AccessToken::new(token.to_owned()),
            token_type: BasicTokenType::Bearer,
            expires_in: lifetime,
            refresh_token: None,
            refresh_token_expires_in: None,
            id_token: None,
        }
    }

    /// How long the refresh token lives from now on, where the answer says so.
    pub fn refresh_lifetime(&self) -> Option<Duration> {
        self.refresh_token_expires_in
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
    within(from, super::token::LONGEST)
}

/// Refresh tokens live for months; 0 means that one does not end.
fn long_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    within(from, Duration::from_secs(20 * 365 * 86_400))
}

fn within<'de, D: Deserializer<'de>>(
    from: D,
    longest: Duration,
) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(from)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    Ok(seconds
        .filter(|seconds| seconds.is_finite() && *seconds >= 1.0)
        .map(|seconds| Duration::from_secs(seconds.min(longest.as_secs_f64()) as u64)))
}
