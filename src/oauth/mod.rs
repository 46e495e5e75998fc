//! The side branch: a token for an account.
//!
//! `token`, `request` and `response` are pure: state, question, answer. `provider` carries a question
//! to the endpoint with the proofs that `assertion` signs by `certificate`; `managed` asks the host we run
//! on, `broker` another program; `login` lets a person sign in; `vault` keeps refresh tokens, `renewal` is one
//! credential at work, `keeper` (with `kept`, what it has of one account) joins all into the [`TokenSource`] of the program. `claims` reads a token for
//! people who look for a fault. Nothing here knows SMTP.

mod assertion;
mod broker;
pub mod certificate;
pub mod claims;
mod der;
pub mod ends;
mod granted;
pub mod keeper;
mod kept;
pub mod login;
mod managed;
mod pkcs12;
pub mod provider;
mod renewal;
pub mod request;
pub mod response;
#[cfg(test)]
mod stand_in;
pub mod token;
pub mod vault;

pub use ends::{End, ends};
pub use keeper::{AccountStatus, AdoptError, Keeper};
pub use vault::VaultError;

use crate::config::Audience;
use crate::secret::Secret;
use std::future::Future;
use std::time::{Duration, Instant};

/// A token that the upstream will take.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token itself.
    pub secret: Secret,
    /// It is good until then; renewal begins earlier.
    pub usable_until: Instant,
    /// Counts up with every token of this credential: tells whether a refused one is still the current.
    pub version: u64,
}

impl AccessToken {
    /// For a smart host that wants none: empty, and never old.
    fn of_nobody() -> Self {
        let year = Duration::from_secs(365 * 86_400);
        Self { secret: Secret::new(""), usable_until: Instant::now() + year, version: 0 }
    }
}

/// No token could be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    /// Who can mend it.
    pub class: crate::diagnosis::Class,
    /// What the provider said, in one line, without secrets.
    pub message: String,
    /// The exact next step, where one is known.
    pub remedy: Option<String>,
    /// Not before this long.
    pub retry_after: Option<Duration>,
}

/// Gives tokens. Real: the keeper; in tests: a fixed one.
pub trait TokenSource: Send + Sync + 'static {
    /// A usable token for the account of this name; one request for any number of callers.
    fn access_token(
        &self,
        account: &str,
    ) -> impl Future<Output = Result<AccessToken, TokenError>> + Send;

    /// The upstream refused this token: the next call must bring another one.
    fn refuse(&self, account: &str, token: &AccessToken);

    /// The same for one of several services, where the account's mail can go to more than one.
    fn access_token_for(
        &self,
        account: &str,
        _audience: Audience,
    ) -> impl Future<Output = Result<AccessToken, TokenError>> + Send {
        self.access_token(account)
    }

    /// That service refused this token.
    fn refuse_for(&self, account: &str, _audience: Audience, token: &AccessToken) {
        self.refuse(account, token);
    }
}
