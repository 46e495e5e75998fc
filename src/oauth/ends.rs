//! What of an account ends at a day that is known ahead.
//!
//! It promises that only a known end is given: the day of a secret stands in the portal and in the
//! configuration, that of a certificate in the certificate; a sign-in ends when its refresh token is not
//! used for as long as its provider says, or at the moment that came with it.

use super::certificate;
use super::request::names;
use crate::config::Account;
use crate::diagnosis::fill;
use std::time::{Duration, SystemTime};

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The application's secret.
    ClientSecret,
    /// Its certificate.
    Certificate,
    /// The refresh token, that is the sign-in of a person.
    SignIn,
}

impl What {
    /// The word for JSON and state: `client_secret`, `certificate`, `sign_in`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecret => "client_secret",
            Self::Certificate => "certificate",
            Self::SignIn => "sign_in",
        }
    }

    /// In a sentence.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::ClientSecret => "the client secret",
            Self::Certificate => "the certificate",
            Self::SignIn => "the sign-in",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::ClientSecret => {
                "Entra admin center > App registrations > {client_id} > Certificates & secrets > New client \
                 secret; put its Value into `client_secret` of account \"{account}\" and its day into \
                 `client_secret_expires`; the old one works beside it until its end"
            }
            Self::Certificate => {
                "make a new certificate, upload it for application {client_id} (App registrations > \
                 Certificates & secrets), then put it in place of `certificate` of account \"{account}\""
            }
            Self::SignIn => {
                "sign in again as {mailbox} and put the new refresh token into account \"{account}\""
            }
        }
    }
}

/// An end that is known ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Of what.
    pub what: What,
    /// When.
    pub at: SystemTime,
    /// What to do before, in one line.
    pub remedy: String,
}

/// What is known of a refresh token that is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// When it was used last, or came.
    pub used: Option<SystemTime>,
    /// When it ends, as the provider said.
    pub ends: Option<SystemTime>,
}

/// All ends of an account that are known; `held` is its refresh token as it is stored. Blocks for the disk.
pub fn ends(account: &Account, held: Option<&Held>) -> Vec<End> {
    let host = account.oauth.token_url.host_str().unwrap_or_default();
    let known = [
        (What::ClientSecret, account.client_secret_expires),
        (What::Certificate, certificate::expires(&account.grant)),
        (What::SignIn, held.and_then(|held| sign_in(held, host))),
    ];
    let end = |(what, at): (What, Option<SystemTime>)| {
        Some(End { what, at: at?, remedy: fill(What::remedy(what), &names(account)) })
    };
    known.into_iter().filter_map(end).collect()
}

/// The earlier of the end that the provider named and the one that comes by not being used.
fn sign_in(held: &Held, host: &str) -> Option<SystemTime> {
    let idle = held.used.zip(idle_life(host)).and_then(|(used, life)| used.checked_add(life));
    held.ends.into_iter().chain(idle).min()
}

/// How long a refresh token lives unused. Entra ID: 90 days (24 hours for a single-page application, which
/// we are not). Google: six months; an application in testing names its seven days with the token.
fn idle_life(host: &str) -> Option<Duration> {
    let days = match host {
        _ if host.starts_with("login.") && host.contains("microsoftonline.") => 90,
        "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => 90,
        "oauth2.googleapis.com" => 180,
        _ => return None,
    };
    Some(Duration::from_secs(days * 86_400))
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{app_only, delegated};
    use super::*;
    use std::time::UNIX_EPOCH;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_secret_ends_on_its_day_and_says_where_to_make_another() {
        let url =
            "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token".parse().unwrap();
        let mut account = app_only("erp", &url);
        assert_eq!(ends(&account, None), []);
        account.client_secret_expires = Some(UNIX_EPOCH + DAY);
        let found = ends(&account, None);
        assert_eq!((found[0].what, found[0].at), (What::ClientSecret, UNIX_EPOCH + DAY));
        assert!(found[0].remedy.contains("account \"erp\""), "{}", found[0].remedy);
    }

    #[test]
    fn a_sign_in_ends_by_not_being_used_or_at_the_moment_that_came_with_it() {
        let entra = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token";
        let google = "https://oauth2.googleapis.com/token";
        let day = |days: u32| UNIX_EPOCH + DAY * days;
        for (url, used, named, expected) in [
            (entra, Some(10), None, Some(100)),
            (entra, None, None, None),
            (entra, Some(10), Some(20), Some(20)),
            (entra, Some(10), Some(200), Some(100)),
            (google, Some(0), None, Some(180)),
            (google, Some(0), Some(7), Some(7)),
            ("https://idp.contoso.com/token", Some(0), None, None),
            ("https://idp.contoso.com/token", Some(0), Some(3), Some(3)),
        ] {
            let account = delegated("erp", &url.parse().unwrap(), "seed");
            let held = Held { used: used.map(day), ends: named.map(day) };
            let found = ends(&account, Some(&held));
            let expected = expected.map(|days| (What::SignIn, day(days)));
            let found = found.first().map(|end| (end.what, end.at));
            assert_eq!(found, expected, "{url} {used:?} {named:?}");
        }
    }
}
