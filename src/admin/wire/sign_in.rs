//! A sign-in on its way to the daemon, and its end. Pure.
//!
//! The one thing said over the socket that holds a secret: it must not be shown.

use serde::{Deserialize, Serialize};

/// `POST /v1/accounts/{name}/sign-in`: what somebody's sign-in brought.
#[derive(Clone, Serialize, Deserialize)]
pub struct SignIn {
    /// The refresh token.
    pub refresh_token: String,
    /// Application, person and provider it is for ([`crate::oauth::request::binding`]).
    pub binding: String,
}

/// Without the token.
impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn").field("binding", &self.binding).finish_non_exhaustive()
    }
}

/// The sign-in is stored and in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInTaken {
    /// The account.
    pub account: String,
    /// Why there is no access token yet; none where there is one.
    pub error: Option<String>,
    /// What to do about that.
    pub remedy: Option<String>,
    /// Why Graph, where it is the account's detour, gives no token; null where all is well.
    #[serde(default)]
    pub graph: Option<Lack>,
}

/// A token that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// Why.
    pub error: String,
    /// What to do about that.
    pub remedy: Option<String>,
}

/// The sign-in is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The account.
    pub account: String,
    /// Whether there was one.
    pub was_signed_in: bool,
    /// Whether the provider was told and took it back.
    pub at_provider: bool,
    /// Why the provider did not take it back, where it was asked.
    pub error: Option<String>,
}
