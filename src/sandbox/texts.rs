//! Exchange Online's words: its greeting, its offers in their order, its replies. Pure.
//!
//! Texts are those of recorded sessions with smtp.office365.com; where none was recorded, those of
//! Exchange Server, from which the service stems.

use super::faults::AuthRefusal;
use super::options::Limits;
use super::phrases::EXCHANGE;
use crate::smtp::extension::Extension;
use crate::smtp::sasl::Mechanism;
use crate::smtp::server::Terms;
use crate::smtp::{Enhanced, Reply};
use std::net::IpAddr;
use std::time::SystemTime;

/// SIZE in EHLO: the server's cap, not the mailbox's.
pub(super) const SIZE: u64 = 157_286_400;
/// The front door's name.
pub(super) const FRONT: &str = "SBX1P282CA0097.outlook.office365.com";
/// The front door's name in trailers.
const FRONT_TRAILER: &str = "SBX1P282CA0097.SBXP282.PROD.OUTLOOK.COM";
/// The name of the server that submits, in `[Hostname=…]`.
pub(super) const BACK: &str = "SBX1P282MB2635.SBXP282.PROD.OUTLOOK.COM";
/// Google's error challenge.
const GMAIL_CHALLENGE: &str =
    r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#;
/// Exchange's diagnostics make lines of more than the 512 octets of RFC 5321 §4.5.3.1.5.
pub(super) const LONGEST_LINE: usize = 8192;

/// One session's own words: when and under which id it runs.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Sixteen hexadecimal digits.
    pub(super) id: String,
    /// When it began.
    pub(super) begun: SystemTime,
    /// The client's address.
    pub(super) peer: IpAddr,
}

impl Session {
    /// What Exchange offers and says in this session.
    pub(super) fn terms(&self, limits: &Limits, starttls: bool, dsn: bool, gmail: bool) -> Terms {
        let mut extensions = vec![Extension::Size, Extension::Pipelining];
        if dsn {
            extensions.push(Extension::Dsn);
        }
        extensions.push(Extension::EnhancedStatusCodes);
        if starttls {
            extensions.push(Extension::StartTls);
        }
        extensions.extend([
            Extension::Auth,
            Extension::EightBitMime,
            Extension::BinaryMime,
            Extension::Chunking,
            Extension::SmtpUtf8,
        ]);
        Terms {
            hostname: FRONT.into(),
            greeting: format!(
                "Microsoft ESMTP MAIL Service ready at {} [{}]",
                self.date(),
                self.id
            ),
            hello: format!("Hello [{}]", self.peer),
            extensions,
            mechanisms: vec![Mechanism::Login, Mechanism::XOAuth2],
            hello_required: true,
            auth_needs_tls: true,
            // MAIL without a login is refused by the driver, which knows why the login failed.
            auth_required: false,
            tls_required: false,
            max_message_size: SIZE,
            max_recipients: positive(limits.recipients_per_message),
            max_errors: positive(limits.errors),
            max_reply_line: LONGEST_LINE,
            bearer_refusal: gmail.then(|| GMAIL_CHALLENGE.to_owned()),
            reject_bare_newline: true,
            phrases: &EXCHANGE,
        }
    }

    /// RFC 5322 date with a numeric zone: `Sun, 23 Nov 2025 11:12:20 +0000`.
    fn date(&self) -> String {
        httpdate::fmt_http_date(self.begun).replace("GMT", "+0000")
    }

    /// `[host date id]` behind the refusal of a login.
    fn trailer(&self, now: SystemTime) -> String {
        format!("[{FRONT_TRAILER} {} {}]", humantime::format_rfc3339_millis(now), self.id)
    }

    /// A refused login.
    pub(super) fn auth_refused(&self, refusal: AuthRefusal, now: SystemTime) -> Reply {
        let policy = |words: &str| {
            (
                535,
                Enhanced(5, 7, 139),
                format!("Authentication unsuccessful, {words} {}", self.trailer(now)),
            )
        };
        let (code, enhanced, text) = match refusal {
            AuthRefusal::Rejected => (
                535,
                Enhanced(5, 7, 3),
                format!("Authentication unsuccessful {}", self.trailer(now)),
            ),
            AuthRefusal::TenantDisabled => policy(
                "SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.",
            ),
            AuthRefusal::MailboxDisabled => policy(
                "SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.",
            ),
            AuthRefusal::SecurityDefaults => policy(
                "user is locked by your organization's security defaults policy. Contact your administrator.",
            ),
            AuthRefusal::ConditionalAccess => policy(
                "the request did not meet the criteria to be authenticated successfully. Contact your administrator.",
            ),
            AuthRefusal::AccountIssue => {
                policy("account has an issue. Contact your administrator.")
            }
            AuthRefusal::Temporary => {
                (454, Enhanced(4, 7, 0), "Temporary authentication failure".into())
            }
            AuthRefusal::ExpiresSoon => (
                501,
                Enhanced(5, 5, 127),
                "Invalid XOAUTH2 auth data - Token will expire soon error".into(),
            ),
            AuthRefusal::GmailChallenge => (
                535,
                Enhanced(5, 7, 8),
                "Username and Password not accepted. For more information, go to\n \
                 https://support.google.com/mail/?p=BadCredentials 5b1f17b1804b1-sandbox - gsmtp"
                    .into(),
            ),
        };
        Reply { code, enhanced: Some(enhanced), text: text.into() }
    }

    /// A login with a password. No password is ever right.
    pub(super) fn basic_refused(&self, now: SystemTime) -> Reply {
        let text = format!(
            "Authentication unsuccessful, basic authentication is disabled. {}",
            self.trailer(now)
        );
        Reply { code: 535, enhanced: Some(Enhanced(5, 7, 139)), text: text.into() }
    }
}

/// MAIL without a login; with the reason of the failed one, if there was one.
pub(super) fn not_authenticated(failure: Option<&Reply>) -> Reply {
    let mut text = "Client not authenticated to send mail.".to_owned();
    if let Some(failure) = failure {
        text.push_str(&format!(" Error: {failure}"));
    }
    Reply { code: 530, enhanced: Some(Enhanced(5, 7, 57)), text: text.into() }
}

/// The mail is taken.
pub(super) fn accepted(message_id: &str) -> Reply {
    let text = format!("OK {message_id} [Hostname={BACK}]");
    Reply { code: 250, enhanced: Some(Enhanced(2, 0, 0)), text: text.into() }
}

/// Zero is no limit.
fn positive(limit: u32) -> usize {
    if limit == 0 { usize::MAX } else { limit as usize }
}

/// The login is good.
pub(super) const AUTHENTICATED: Reply =
    Reply::new(235, Enhanced(2, 7, 0), "Authentication successful");
/// MAIL is taken.
pub(super) const SENDER_OK: Reply = Reply::new(250, Enhanced(2, 1, 0), "Sender OK");
/// RCPT is taken.
pub(super) const RECIPIENT_OK: Reply = Reply::new(250, Enhanced(2, 1, 5), "Recipient OK");
/// DATA is taken.
pub(super) const START: Reply = Reply::plain(354, "Start mail input; end with <CRLF>.<CRLF>");
/// A fourth connection sends.
pub(super) const TOO_MANY_CONNECTIONS: Reply =
    Reply::new(432, Enhanced(4, 3, 2), "Concurrent connections limit exceeded");
/// The rate is passed and excess is refused.
pub(super) const TOO_FAST: Reply = Reply::new(
    421,
    Enhanced(4, 4, 2),
    "Message submission rate for this client has exceeded the configured limit",
);
/// `MAIL FROM:<>` of a client.
pub(super) const NO_SENDER: Reply = Reply::new(
    550,
    Enhanced(5, 7, 60),
    "SMTP; Client does not have permissions to send as this sender",
);
/// The mailbox's own limit.
pub(super) const TOO_LARGE: Reply =
    Reply::new(552, Enhanced(5, 3, 4), "Message size exceeds fixed maximum size");
/// The day's recipients are used up.
pub(super) const QUOTA: Reply = Reply::new(
    554,
    Enhanced(5, 2, 0),
    "STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent \
     exception with message The message can't be submitted because the sender's submission quota was exceeded. \
     [Hostname=SBX1P282MB2635.SBXP282.PROD.OUTLOOK.COM]",
);
/// The directory cannot be written.
pub(super) const NO_ROOM: Reply =
    Reply::new(452, Enhanced(4, 3, 1), "Insufficient system resources");
/// STARTTLS does not work now.
pub(super) const NO_TLS_NOW: Reply =
    Reply::new(454, Enhanced(4, 7, 0), "TLS not available due to temporary reason");
/// Nothing came for long.
pub(super) const IDLE: Reply = Reply::new(421, Enhanced(4, 4, 1), "Connection timed out");
