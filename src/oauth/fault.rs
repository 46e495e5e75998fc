//! Why no token could be had: whose fault, whether asking again helps, what the operator does. Pure.

use crate::diagnosis::Class;
use crate::diagnosis::entra::Diagnosis;
use std::time::Duration;

/// Only a locked user has to wait that long.
const LOCKOUT: Duration = Duration::from_secs(15 * 60);

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
