//! A failure in the words of `check`: what is wrong, who can mend it, and how.

use super::{Trouble, token};
use crate::config::Account;
use crate::delivery::verdict;
use crate::delivery::words::clean;
use crate::diagnosis::exchange::Known;
use crate::diagnosis::{Class, fill};
use crate::oauth::claims::Claims;
use crate::oauth::{TokenError, request};
use crate::tls::TrustError;
use crate::upstream::{Failure, Fault};
use std::time::SystemTime;

/// Rows of `diagnosis::exchange` whose remedy is a part of the set-up at the provider.
const SET_UP: &[&str] =
    &["token-refused", "smtp-auth-off-tenant", "smtp-auth-off-mailbox", "not-authenticated"];

/// Nobody to trust.
pub(super) fn distrust(account: &Account, error: &TrustError) -> Trouble {
    let remedy = format!("mend `ca_file` in [account.upstream] of account {:?}", account.name);
    let class = Class::Administrator;
    Trouble { what: error.to_string(), remedy: Some(remedy), class, needs_setup: false }
}

/// No token. Where Entra itself refused, the way to the whole set-up is told too.
pub(super) fn token(account: &Account, error: TokenError) -> Trouble {
    let is_refused = error.class == Class::Administrator && error.message.contains("AADSTS");
    let setup = format!("; the whole set-up: submitd check --setup {}", account.name);
    let remedy = match error.remedy {
        Some(remedy) if is_refused => Some(remedy + &setup),
        remedy => remedy,
    };
    Trouble { what: error.message, remedy, class: error.class, needs_setup: false }
}

/// Whether it happened in clear text, before the handshake.
pub(super) fn is_clear(failure: &Failure) -> bool {
    matches!(failure.fault, Fault::NotOffered(_) | Fault::Reply(_) | Fault::Protocol(_))
}

/// What stood in the way, with the remedy that is known for it.
pub(super) fn failure(account: &Account, failure: &Failure) -> Trouble {
    let what = clean(&failure.to_string());
    match (verdict::known(failure), &failure.fault) {
        (Some(known), _) => by_row(account, what, known),
        (None, Fault::Reply(reply)) => {
            let (class, remedy) = match reply.code {
                400..=499 => (Class::Transient, "it passes by itself as a rule: try again"),
                _ => (
                    Class::Administrator,
                    "no such reply is known here: its own words say the reason",
                ),
            };
            Trouble { what, remedy: Some(remedy.to_owned()), class, needs_setup: false }
        }
        (None, fault) => {
            let remedy = verdict::explain(failure).map(str::to_owned);
            Trouble { what, remedy, class: class(fault), needs_setup: false }
        }
    }
}

/// The same at a login, where a refusal without a reason is explained by the token's own words.
pub(super) fn login(account: &Account, refused: &Failure, claims: Option<&Claims>) -> Trouble {
    let is_silent = verdict::known(refused).is_some_and(|known| known.name == "token-refused");
    let now = SystemTime::now();
    let row = claims.filter(|_| is_silent).and_then(|claims| {
        let row = token::suspect(claims, account, now)?;
        Some(token::tell(row, claims, account))
    });
    let Some(Trouble { what, remedy, class, needs_setup }) = row else {
        return failure(account, refused);
    };
    Trouble { what: format!("{}: {what}", clean(&refused.to_string())), remedy, class, needs_setup }
}

fn by_row(account: &Account, what: String, known: &Known) -> Trouble {
    let names = request::names(account);
    Trouble {
        what: format!("{what}: {}", fill(known.meaning, &names)),
        remedy: Some(fill(known.remedy, &names)),
        class: known.class,
        needs_setup: SET_UP.contains(&known.name),
    }
}

/// Who can mend what is no reply.
fn class(fault: &Fault) -> Class {
    match fault {
        Fault::Timeout | Fault::Closed | Fault::Dns(_) | Fault::Network(_) => Class::Transient,
        _ => Class::Administrator,
    }
}
