//! What is said over the admin socket, as JSON; `--json` of the commands prints the same. Pure.
//!
//! It promises that a field once given keeps its name and meaning under `/v1`; fields may be added. Times
//! are RFC 3339 in UTC, durations seconds, sizes octets.

mod account;
mod mail;
mod sign_in;
mod status;

pub use account::{Account, Detour, Pause, Token, TokenFault};
pub use mail::{Done, Findings, Mail, MailPage, Order, Orders, Problem, Query, Recipient};
pub use sign_in::{Lack, Revocation, SignIn, SignInTaken};
pub use status::{Count, Lane, Need, Queue, Status, Verdict};

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// A moment, `2026-11-21T08:15:56Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub SystemTime);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What no calendar of four digits shows comes from a damaged row only.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default().min(LATEST);
        f.pad(&humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string())
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for Time {
    type Error = humantime::TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        humantime::parse_rfc3339(&text).map(Self)
    }
}

/// Why nothing is shown or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// In one sentence, for a person.
    pub error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written_and_none_is_too_odd_to_show() {
        let time = Time(UNIX_EPOCH + Duration::from_secs(1_795_248_956));
        assert_eq!(time.to_string(), "2026-11-21T08:15:56Z");
        assert_eq!(Time::try_from(time.to_string()), Ok(time));
        for (odd, shown) in [
            (UNIX_EPOCH - Duration::from_secs(1), "1970-01-01T00:00:00Z"),
            (UNIX_EPOCH + Duration::from_millis(i64::MAX as u64), "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Time(odd).to_string(), shown);
        }
    }
}
