//! What the sandbox shall do wrong: the document behind `PUT /sandbox/faults`.
//!
//! Everything is off by default. A fault is on for good, or for a number of times and then gone; the
//! number left is what `GET /sandbox/faults` shows. An unknown name is refused, so that a misspelt fault
//! is never silently off.

pub use super::fault_value::{Aadsts, Fault, ReplyText, Switch};
pub use super::graph::faults::{GraphAnswer, GraphFaults, GraphPoint, GraphStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// All faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Of the token endpoint.
    pub token: TokenFaults,
    /// Of the mail server.
    pub smtp: SmtpFaults,
    /// Of the pages where people sign in.
    pub sign_in: SignInFaults,
    /// Of Microsoft Graph.
    pub graph: GraphFaults,
}

/// Faults of the pages where people sign in, and of their codes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInFaults {
    /// Whoever is chosen, this user signs in.
    pub user: Option<String>,
    /// The browser comes back with this as the sender's name (`iss`, RFC 9207).
    pub issuer: Option<String>,
    /// What the browser comes back with where somebody cancels.
    pub error_description: Option<String>,
    /// Seconds that a code in the address is good; 600 by default.
    pub code_life: Option<u64>,
    /// Seconds that a code to type in is good; 900 by default.
    pub device_life: Option<u64>,
    /// Seconds between two questions of a device; 5 by default.
    pub device_interval: Option<u64>,
    /// A device that asks is told that it asks too often.
    pub slow_down: Switch,
}

/// Faults of the token endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenFaults {
    /// Every request is refused with this Entra error: `"AADSTS7000222"`.
    pub error: Option<Fault<Aadsts>>,
    /// Every request is answered with this HTTP status and no JSON; with `error`, the status of that error.
    pub status: Option<Fault<u16>>,
    /// `Retry-After` of an answer that one of the two above made: seconds or an HTTP date.
    pub retry_after: Option<String>,
    /// The body that goes with `status`.
    pub body: FaultBody,
    /// Milliseconds before the answer.
    pub delay_ms: u64,
    /// Requests wait until this is switched off.
    pub hold: bool,
    /// The connection is cut instead of an answer.
    pub drop: Switch,
    /// Seconds that an access token lives; 3599 by default.
    pub expires_in: Option<u64>,
    /// `"expires_in": "3599"`, as text, the way the managed identity endpoint does it.
    pub expires_in_as_text: bool,
    /// Tokens are made for Microsoft Graph, so that the mail server refuses them.
    pub wrong_audience: Switch,
    /// Tokens lack role and scope: consent was never given.
    pub no_permission: Switch,
    /// Claims that access tokens have instead of the usual ones (`null`: not at all): `{"roles": ["Mail.Send"]}`. The
    /// mail server judges by them as Exchange does.
    pub claims: BTreeMap<String, Value>,
    /// Access tokens cannot be read, as those of personal accounts.
    pub opaque: bool,
    /// Every request is answered with this, whatever was asked.
    pub answer: Option<Fault<TokenAnswer>>,
    /// A refresh brings no new refresh token (Google's way).
    pub no_new_refresh_token: bool,
    /// `\r\nTrace ID:` instead of ` Trace ID:` in descriptions, as older servers wrote it.
    pub old_descriptions: bool,
}

/// A whole answer of the token endpoint: `{"status": 400, "body": {"error": "invalid_grant"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON.
    pub body: Value,
}

/// What stands in the body of an answer that is no JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultBody {
    /// A web page, as gateways send it.
    #[default]
    Html,
    /// Nothing.
    Empty,
}

/// Faults of the mail server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpFaults {
    /// STARTTLS is not offered.
    pub no_starttls: Switch,
    /// DSN is not offered: what the client asks about reports, it must see to itself (RFC 3461 §5.2.2).
    pub no_dsn: Switch,
    /// STARTTLS is offered and then refused with 454.
    pub starttls_refused: Switch,
    /// Clear text follows the 220 of STARTTLS in the same packet: the attack of CVE-2011-0411.
    pub starttls_injection: Switch,
    /// The certificate shown.
    pub certificate: Option<Fault<Certificate>>,
    /// Instead of an answer of our own, by stage: `{"mail": "451 4.7.500 Server busy"}`. Lines are parted by `\n`.
    pub replies: BTreeMap<Stage, Fault<ReplyText>>,
    /// The reply to RCPT for an address (in lower case).
    pub recipients: BTreeMap<String, Fault<ReplyText>>,
    /// Where the connection is cut without a word.
    pub drop_at: BTreeMap<Point, Switch>,
    /// Logins are refused.
    pub auth: Option<Fault<AuthRefusal>>,
    /// Microseconds between the octets of an answer; 0 is off.
    pub slow_octets_us: u64,
    /// Milliseconds of a round trip. Octets wait half of it each way; answers are not put behind each other.
    pub delay_ms: u64,
    /// Nothing is answered to the final dot until this is switched off.
    pub hold_dot: bool,
}

/// Where a reply can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The first line. The connection is closed after it.
    Greeting,
    /// EHLO and HELO, before and after TLS.
    Ehlo,
    /// STARTTLS.
    Starttls,
    /// The end of AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA.
    Data,
    /// The final dot, or BDAT LAST. The mail is not taken unless the reply is 250.
    Dot,
    /// QUIT.
    Quit,
}

/// Where the connection can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Before the greeting.
    Connect,
    /// Instead of the answer to EHLO.
    Ehlo,
    /// Instead of the answer to STARTTLS.
    Starttls,
    /// After the 220, instead of the TLS handshake.
    TlsHandshake,
    /// Instead of the answer to AUTH.
    Auth,
    /// Instead of the answer to MAIL.
    Mail,
    /// Instead of the answer to RCPT.
    Rcpt,
    /// Instead of the answer to DATA.
    Data,
    /// When the first octets of the body have come.
    Body,
    /// After the final dot; the mail is lost.
    AfterDotBeforeAccept,
    /// After the final dot; the mail is taken, but nobody tells the client.
    AfterDotAfterAccept,
    /// Instead of the answer to QUIT.
    Quit,
}

/// Which certificate is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificate {
    /// The right one.
    #[default]
    Good,
    /// One whose time has passed.
    Expired,
    /// One for another name.
    WrongName,
    /// One of an authority that nobody knows.
    UnknownAuthority,
}

/// How a login is refused, although it may be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthRefusal {
    /// `535 5.7.3`: the token is not accepted.
    Rejected,
    /// `535 5.7.139`: SMTP AUTH is off for the tenant.
    TenantDisabled,
    /// `535 5.7.139`: SMTP AUTH is off for the mailbox.
    MailboxDisabled,
    /// `535 5.7.139`: security defaults.
    SecurityDefaults,
    /// `535 5.7.139`: an access policy.
    ConditionalAccess,
    /// `535 5.7.139`: the account is blocked.
    AccountIssue,
    /// `454 4.7.0`: try later.
    Temporary,
    /// `501 5.5.127`: what the high-volume service says to a token that ends soon.
    ExpiresSoon,
    /// Google's way: `334` with JSON, an empty line of the client is awaited, then 535.
    GmailChallenge,
}

/// Why a `NAME=VALUE` of the command line is no fault.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// No `=`.
    #[error("{0:?}: NAME=VALUE is expected, such as smtp.no_starttls=true")]
    Form(String),
    /// The name or the value does not fit.
    #[error("{0:?}: {1}")]
    Value(String, serde_json::Error),
}

impl Faults {
    /// Sets one fault by its path: `smtp.no_starttls=2`, `token.error=AADSTS50196`,
    /// `smtp.replies.mail=451 4.7.500 Server busy`, `smtp.recipients.x@y.example=550 5.1.1 no`.
    ///
    /// # Errors
    /// [`FaultError`] where the name is unknown or the value does not fit it.
    pub fn set(&mut self, assignment: &str) -> Result<(), FaultError> {
        let Some((path, value)) = assignment.split_once('=') else {
            return Err(FaultError::Form(assignment.to_owned()));
        };
        let failed = |error| FaultError::Value(assignment.to_owned(), error);
        // A reply such as `451 busy` is no JSON and is taken as text.
        let mut value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        for key in path.splitn(3, '.').collect::<Vec<_>>().into_iter().rev() {
            value = serde_json::Value::Object([(key.to_owned(), value)].into_iter().collect());
        }
        let mut whole = serde_json::to_value(&*self).map_err(failed)?;
        merge(&mut whole, value);
        *self = serde_json::from_value(whole).map_err(failed)?;
        Ok(())
    }
}

/// Lays `over` upon `base`, object by object.
fn merge(base: &mut serde_json::Value, over: serde_json::Value) {
    match (base, over) {
        (serde_json::Value::Object(base), serde_json::Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_person_writes_and_shows_it_again() {
        let text = r#"{"token": {"error": {"what": "AADSTS50196", "times": 2}, "status": 429},
            "smtp": {"no_starttls": true, "starttls_refused": 3, "certificate": "expired",
              "replies": {"mail": "451 4.7.500 Server busy", "dot": {"what": "554 no", "times": 1}},
              "drop_at": {"after_dot_before_accept": 1}, "auth": "tenant_disabled"}}"#;
        let faults: Faults = serde_json::from_str(text).expect("faults");
        assert_eq!(faults.token.error, Some(Fault::times(Aadsts(50196), 2)));
        assert_eq!(faults.token.status, Some(Fault::always(429)));
        assert_eq!(faults.smtp.starttls_refused, Switch::Times(3));
        assert_eq!(faults.smtp.auth, Some(Fault::always(AuthRefusal::TenantDisabled)));
        assert_eq!(faults.smtp.drop_at[&Point::AfterDotBeforeAccept], Switch::Times(1));
        let again = serde_json::to_string(&faults).expect("json");
        assert_eq!(serde_json::from_str::<Faults>(&again).expect("again"), faults);
    }

    #[test]
    fn refuses_misspelt_faults() {
        for text in [
            r#"{"smpt": {}}"#,
            r#"{"smtp": {"no_startls": true}}"#,
            r#"{"smtp": {"replies": {"mails": "451 x"}}}"#,
            r#"{"smtp": {"replies": {"mail": "busy"}}}"#,
            r#"{"smtp": {"replies": {"mail": "451 x\r\n250 y"}}}"#,
            r#"{"token": {"error": "AADSTSx"}}"#,
        ] {
            assert!(serde_json::from_str::<Faults>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn is_set_from_the_command_line() {
        let mut faults = Faults::default();
        for assignment in [
            "smtp.no_starttls=2",
            "token.error=AADSTS50196",
            "token.status=429",
            "smtp.replies.mail=451 4.7.500 Server busy",
            "smtp.recipients.x@y.example=550 5.1.1 no",
        ] {
            faults.set(assignment).expect(assignment);
        }
        assert_eq!(faults.smtp.no_starttls, Switch::Times(2));
        assert_eq!(faults.token.error, Some(Fault::always(Aadsts(50196))));
        assert!(faults.smtp.recipients.contains_key("x@y.example"));
        let reply = faults.smtp.replies[&Stage::Mail].what.to_reply();
        assert_eq!(reply.to_string(), "451 4.7.500 Server busy");
        for wrong in ["smtp.no_starttls", "smtp.wrong=1", "nothing=1", "token.status=many"] {
            assert!(faults.set(wrong).is_err(), "{wrong}");
        }
    }
}
