//! What people are told: one event, as a line, as JSON for a program, as a paragraph of a mail. Pure.
//!
//! It promises that every form holds the account, what happened and what to do, and no text of a message.
//! What came from a peer was cleaned before it came here.

use crate::mail::Id;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An account sends nothing until a person does something.
    AccountFailed,
    /// It sends again.
    AccountRecovered,
    /// A secret, certificate or sign-in nears its end.
    EndsSoon,
    /// It is over.
    Ended,
    /// Mail was given up and its sender could not be told; it is kept and listed as failed.
    MailFailed,
    /// A report of ours could not be delivered; it is kept and listed as failed.
    ReportFailed,
}

impl Kind {
    /// The word in JSON, in `$SUBMITD_EVENT` and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountFailed => "account_failed",
            Self::AccountRecovered => "account_recovered",
            Self::EndsSoon => "ends_soon",
            Self::Ended => "ended",
            Self::MailFailed => "mail_failed",
            Self::ReportFailed => "report_failed",
        }
    }

    /// Whether something must be done.
    pub fn is_trouble(self) -> bool {
        !matches!(self, Self::AccountRecovered | Self::EndsSoon)
    }
}

/// One thing that people are told once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    #[serde(rename = "event")]
    pub kind: Kind,
    /// To which account.
    pub account: String,
    /// Its mailbox.
    pub mailbox: String,
    /// Who can mend it: `sign-in` or `administrator`; none where that is not the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What happened, in one line.
    pub what: String,
    /// What to do, in one line; empty where nothing is to be done.
    pub remedy: String,
    /// What ends: `client_secret`, `certificate` or `sign_in`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// When that ends, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// How many mails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mails: Option<u64>,
    /// The latest of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<Id>,
    /// When it was seen, as RFC 3339 writes it.
    pub time: String,
}

impl Event {
    /// With nothing but what every event has.
    pub fn new(kind: Kind, account: &str, mailbox: &str, now: SystemTime) -> Self {
        Self {
            kind,
            account: account.to_owned(),
            mailbox: mailbox.to_owned(),
            class: None,
            what: String::new(),
            remedy: String::new(),
            of: None,
            ends: None,
            mails: None,
            ids: Vec::new(),
            time: written(now),
        }
    }

    /// For a program: one object, one line.
    pub fn json(&self, hostname: &str) -> String {
        let mut object = serde_json::to_value(self).unwrap_or_default();
        object["hostname"] = hostname.into();
        format!("{object}\n")
    }

    /// For a subject and a log: `account "erp": …`.
    pub fn headline(&self) -> String {
        let account = &self.account;
        match self.kind {
            Kind::AccountFailed => format!("account \"{account}\" sends nothing"),
            Kind::AccountRecovered => format!("account \"{account}\" sends again"),
            Kind::EndsSoon | Kind::Ended => format!("account \"{account}\": {}", self.what),
            Kind::MailFailed => format!("account \"{account}\": mail was given up"),
            Kind::ReportFailed => format!("account \"{account}\": a report was not delivered"),
        }
    }
}

/// A moment as RFC 3339 writes it, in UTC; one beyond the years of four digits is the last of them.
pub fn written(time: SystemTime) -> String {
    let last = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(time.clamp(UNIX_EPOCH, last)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_with_what_is_known() {
        let mut event = Event::new(Kind::EndsSoon, "erp", "erp@contoso.com", UNIX_EPOCH);
        event.what = "the \"client secret\"\nends".to_owned();
        event.of = Some("client_secret".to_owned());
        let json = event.json("relay.test");
        assert_eq!(json.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        for (key, expected) in [
            ("event", "ends_soon"),
            ("account", "erp"),
            ("of", "client_secret"),
            ("hostname", "relay.test"),
            ("time", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(read[key], expected, "{key}");
        }
        assert!(read.get("mails").is_none() && read.get("ends").is_none());
        let back: Event = serde_json::from_value(read).expect("an event");
        assert_eq!(back, event);
    }

    #[test]
    fn times_beyond_the_calendar_do_not_panic() {
        for time in [UNIX_EPOCH - Duration::from_secs(9), UNIX_EPOCH + Duration::from_secs(1 << 40)]
        {
            assert_eq!(written(time).len(), 20);
        }
    }
}
