//! The one judge: what a failure means for the mail and for the account. Pure.
//!
//! It promises:
//! * nothing said at the greeting, EHLO, STARTTLS or AUTH ever condemns a mail;
//! * a 5xx to MAIL, RCPT, DATA or the dot bounces, unless a row of `diagnosis::exchange` knows that it
//!   means a quota or the account;
//! * a lost answer after the final dot is [`Verdict::Uncertain`], never "not sent"; so are Graph's 500, 502
//!   and 504 to a whole request, since they tell nothing of what was done with it;
//! * what our own store did wrong is never laid on the upstream.
//!
//! It acts on nothing: the lane does.

use crate::diagnosis::Class;
use crate::diagnosis::exchange::{self, Known, Place, Treatment};
use crate::diagnosis::graph;
use crate::smtp::{Enhanced, Reply};
use crate::upstream::{Failure, Fault, Stage};
use std::borrow::Cow;
use std::time::Duration;

/// What is to be done about one recipient's failure.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It cannot be delivered: settle as failed, tell the sender.
    Bounce {
        /// For the report (RFC 3463).
        status: Enhanced,
        /// What it means, where we know more than the upstream said.
        known: Option<&'static Known>,
    },
    /// Again later, by the mail's schedule.
    Retry {
        /// Whether the next mail would meet the same.
        reach: Reach,
        /// What it means, where we know it.
        known: Option<&'static Known>,
    },
    /// Again at once in a second transaction: there were too many recipients for one.
    Surplus,
    /// Again within seconds and with one connection less; counts as no try.
    Busy {
        /// What it means.
        known: &'static Known,
        /// Not before this long, where the upstream said so.
        retry_after: Option<Duration>,
    },
    /// The token is not taken: renew it and try once more; if that fails too, pause.
    RenewToken {
        /// What then holds.
        pause: Pause,
    },
    /// The account waits and all its mail with it; counts as no try.
    PauseAccount(Pause),
    /// After the final dot nothing was heard: it may have been taken.
    Uncertain,
    /// Our own store failed; the upstream is not to blame. Counts as no try.
    Local,
}

/// How far a temporary failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This mail or recipient.
    Mail,
    /// The connection or the server: whatever is sent next would meet the same.
    Server,
}

/// Why an account waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who can mend it.
    pub class: Class,
    /// Whether it is a used-up quota that comes back by itself.
    pub quota: bool,
    /// What it means, in our words; may hold `{mailbox}`.
    pub meaning: Cow<'static, str>,
    /// What is to be done; may hold `{mailbox}` and `{account}`. Empty where nothing is known.
    pub remedy: Cow<'static, str>,
    /// Not before this long, where the other side said so.
    pub retry_after: Option<Duration>,
}

/// Judges one failure.
pub fn judge(failure: &Failure) -> Verdict {
    match &failure.fault {
        Fault::Local(_) => Verdict::Local,
        Fault::Reply(reply) => judge_reply(failure.stage, reply),
        Fault::Login(reply) => judge_login(reply),
        Fault::NotOffered(what) => judge_missing(what, failure.stage),
        Fault::TooLarge { .. } | Fault::Oversize { .. } => {
            Verdict::Bounce { status: Enhanced(5, 3, 4), known: None }
        }
        Fault::Unfit(_) => Verdict::Bounce { status: Enhanced(5, 6, 0), known: None },
        Fault::Http { status, code, text, retry_after } => {
            judge_http(failure.stage, *status, graph::find(*status, code, text), *retry_after)
        }
        // Once the dot is on the wire, only a reply tells what became of the mail.
        _ if failure.stage >= Stage::Dot => Verdict::Uncertain,
        Fault::Tls(_) | Fault::Proxy(_) => Verdict::Retry { reach: Reach::Server, known: None },
        Fault::Timeout | Fault::Closed | Fault::Dns(_) | Fault::Network(_) | Fault::Protocol(_) => {
            Verdict::Retry { reach: reach(failure.stage), known: None }
        }
    }
}

/// The row that knows this failure's reply, if any.
pub fn known(failure: &Failure) -> Option<&'static Known> {
    match &failure.fault {
        Fault::Reply(reply) => find(failure.stage, reply),
        Fault::Http { status, code, text, .. } => graph::find(*status, code, text),
        _ => None,
    }
}

fn find(stage: Stage, reply: &Reply) -> Option<&'static Known> {
    let enhanced = reply.enhanced.map(|Enhanced(class, subject, detail)| (class, subject, detail));
    exchange::find(reply.code, enhanced, &reply.text, place(stage))
}

/// Whether this says that SMTP AUTH is switched off for the mailbox or its tenant.
pub fn is_smtp_off(failure: &Failure) -> bool {
    const ROWS: [&str; 2] = ["smtp-auth-off-tenant", "smtp-auth-off-mailbox"];
    matches!(failure.fault, Fault::Reply(_))
        && known(failure).is_some_and(|known| ROWS.contains(&known.name))
}

/// What Graph's answer means.
fn judge_http(
    stage: Stage,
    status: u16,
    known: Option<&'static Known>,
    retry_after: Option<Duration>,
) -> Verdict {
    let bounce = |status| Verdict::Bounce { status, known };
    let Some(row) = known else {
        return match status {
            400 => bounce(Enhanced(5, 0, 0)),
            500..=599 if stage == Stage::Posted => Verdict::Uncertain,
            500..=599 => Verdict::Retry { reach: Reach::Server, known },
            _ => Verdict::Retry { reach: Reach::Mail, known },
        };
    };
    match row.treatment {
        Treatment::Slower => Verdict::Busy { known: row, retry_after },
        Treatment::Quota => Verdict::PauseAccount(Pause { retry_after, ..pause(row, true) }),
        // It may have been revoked early: one renewal shows.
        Treatment::Account if status == 401 => Verdict::RenewToken { pause: pause(row, false) },
        Treatment::Account => Verdict::PauseAccount(pause(row, false)),
        Treatment::Refuse if status == 413 || row.name.ends_with("too-large") => {
            bounce(Enhanced(5, 3, 4))
        }
        Treatment::Refuse if status == 403 => bounce(Enhanced(5, 7, 1)),
        Treatment::Refuse => bounce(Enhanced(5, 0, 0)),
        Treatment::Later | Treatment::Surplus => Verdict::Retry { reach: Reach::Mail, known },
    }
}

fn pause(known: &'static Known, quota: bool) -> Pause {
    Pause {
        class: known.class,
        quota,
        meaning: Cow::Borrowed(known.meaning),
        remedy: Cow::Borrowed(known.remedy),
        retry_after: None,
    }
}

fn judge_reply(stage: Stage, reply: &Reply) -> Verdict {
    let known = find(stage, reply);
    if let Some(known) = known
        && let Some(verdict) = judge_known(stage, reply, known)
    {
        return verdict;
    }
    match reply.code {
        421 => Verdict::Retry { reach: Reach::Server, known },
        // RFC 5321 §4.5.3.1.10: too many recipients, where the server says nothing else.
        452 if stage == Stage::Rcpt && reply.enhanced.is_none() => Verdict::Surplus,
        400..=499 => Verdict::Retry { reach: reach(stage), known },
        500..=599 if stage < Stage::Mail => Verdict::Retry { reach: Reach::Server, known },
        500..=599 => Verdict::Bounce { status: status(reply), known },
        // Neither yes nor no: after the dot that leaves the fate open.
        _ if stage == Stage::Dot => Verdict::Uncertain,
        _ => Verdict::Retry { reach: reach(stage), known },
    }
}

/// What a row says; none where the row explains only and code and stage decide.
fn judge_known(stage: Stage, reply: &Reply, known: &'static Known) -> Option<Verdict> {
    let pause = |quota| pause(known, quota);
    match known.treatment {
        Treatment::Slower => Some(Verdict::Busy { known, retry_after: None }),
        Treatment::Surplus => Some(Verdict::Surplus),
        Treatment::Quota => Some(Verdict::PauseAccount(pause(true))),
        // 4xx stays temporary whatever it says: 454 4.7.0 and the like pass.
        Treatment::Account if reply.code < 500 => None,
        // A token may have been revoked early, whatever the text: one renewal shows.
        Treatment::Account if stage == Stage::Auth => {
            Some(Verdict::RenewToken { pause: pause(false) })
        }
        Treatment::Account => Some(Verdict::PauseAccount(pause(false))),
        Treatment::Later | Treatment::Refuse => None,
    }
}

/// A password does not change by itself, and the same one again and again may lock the user there.
fn judge_login(reply: &Reply) -> Verdict {
    if !reply.is_permanent() {
        return Verdict::Retry { reach: Reach::Server, known: None };
    }
    Verdict::PauseAccount(Pause {
        class: Class::Administrator,
        quota: false,
        meaning: Cow::Borrowed("the server does not take this user name and password"),
        remedy: Cow::Borrowed(
            "correct username and password_file of account {account}, then reload (SIGHUP)",
        ),
        retry_after: None,
    })
}

/// RFC 6152 §3, RFC 6531 §3.2, RFC 1870 §6.1: what the mail needs and the server lacks fails the mail;
/// what the connection needs is mended elsewhere.
fn judge_missing(what: &str, stage: Stage) -> Verdict {
    let bounce = |status| Verdict::Bounce { status, known: None };
    match what {
        "8BITMIME" | "BINARYMIME" => bounce(Enhanced(5, 6, 3)),
        "SMTPUTF8" => bounce(Enhanced(5, 6, 7)),
        _ => Verdict::Retry { reach: reach(stage), known: None },
    }
}

/// Words for people about a fault whose own text says too little.
pub fn explain(failure: &Failure) -> Option<&'static str> {
    match &failure.fault {
        Fault::NotOffered("BINARYMIME") => Some(
            "the mail was declared binary and the server does not take that; set binarymime = false in [account.upstream] \
             and programs send it as text",
        ),
        Fault::NotOffered("8BITMIME") => {
            Some("the mail was declared to hold 8-bit text and the server takes only 7 bits")
        }
        Fault::NotOffered("SMTPUTF8") => Some(
            "an address or header holds characters beyond ASCII, which the server does not take",
        ),
        Fault::TooLarge { .. } => Some("the mail is larger than the server takes"),
        Fault::Oversize { .. } => Some(
            "Graph takes larger mail only with upload = \"on\" in [account.graph] (needs Mail.ReadWrite), and only what lies in files beside \
             its text, neither signed nor encrypted; transport = \"smtp\" takes it as it is",
        ),
        Fault::Unfit(_) => Some(
            "Graph delivers to whom the header names and knows no envelope: let the program name exactly its recipients, or write \
             recipients = \"rewrite\" into [account.graph], or use transport = \"smtp\"",
        ),
        Fault::NotOffered("STARTTLS") => Some(
            "the server offers no TLS, and without it no token is sent; check host, port and tls of [account.upstream], \
             or a firewall that inspects SMTP",
        ),
        Fault::Login(_) => Some(
            "the server does not take this user name and password; correct username and password_file of the account",
        ),
        Fault::NotOffered("AUTH PLAIN" | "AUTH LOGIN" | "AUTH PLAIN or LOGIN") => Some(
            "the server offers no such login; check host, port, tls and sasl of [account.upstream], or leave username and password \
             out if it knows this machine by its address",
        ),
        Fault::NotOffered(_) if failure.stage <= Stage::Auth => Some(
            "the server offers no login by such a token (AUTH XOAUTH2, OAUTHBEARER); check host and port of [account.upstream], or a firewall that inspects SMTP",
        ),
        Fault::Tls(distrust) => Some(distrust.remedy),
        Fault::Proxy(_) => Some(
            "the proxy did not connect us to the server; check proxy of [account.upstream], and what the proxy allows",
        ),
        Fault::Dns(_) => Some(
            "the server's name was not resolved; check host of [account.upstream] and the DNS here",
        ),
        Fault::Network(_) if failure.stage == Stage::Connect => Some(
            "the server was not reached; check host and port of [account.upstream] and the firewall (outgoing TCP)",
        ),
        Fault::Timeout if failure.stage == Stage::Connect => Some(
            "the server was not reached in time; a firewall that drops outgoing SMTP looks like this",
        ),
        _ => None,
    }
}

/// The enhanced code for a report, made up from the reply where the upstream gave none or a contrary one.
fn status(reply: &Reply) -> Enhanced {
    match reply.enhanced {
        Some(enhanced @ Enhanced(5, ..)) => enhanced,
        _ if reply.code == 552 => Enhanced(5, 2, 2),
        _ => Enhanced(5, 0, 0),
    }
}

fn reach(stage: Stage) -> Reach {
    if stage < Stage::Mail { Reach::Server } else { Reach::Mail }
}

fn place(stage: Stage) -> Place {
    match stage {
        Stage::Connect | Stage::Greeting | Stage::Hello | Stage::Tls => Place::Connection,
        Stage::Auth => Place::SignIn,
        Stage::Mail => Place::Sender,
        Stage::Rcpt => Place::Recipient,
        Stage::Data | Stage::Body | Stage::Dot | Stage::Posted => Place::Message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Distrust;

    const ALL: [Stage; 10] = [
        Stage::Connect,
        Stage::Greeting,
        Stage::Hello,
        Stage::Tls,
        Stage::Auth,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Body,
        Stage::Dot,
    ];

    /// A reply written as on the wire, so that the tables below read like a log.
    fn wire(line: &str) -> Reply {
        let (code, rest) = line.split_at(3);
        let rest = rest.trim_start();
        let mut parts = rest.splitn(2, ' ');
        let numbers: Option<Vec<u16>> =
            parts.next().unwrap_or_default().split('.').map(|number| number.parse().ok()).collect();
        let (enhanced, text) = match numbers.as_deref() {
            Some([class, subject, detail]) => {
                (Some(Enhanced(*class as u8, *subject, *detail)), parts.next().unwrap_or_default())
            }
            _ => (None, rest),
        };
        Reply { code: code.parse().expect("code"), enhanced, text: Cow::Owned(text.to_owned()) }
    }

    fn at(stage: Stage, line: &str) -> Verdict {
        judge(&Failure { stage, fault: Fault::Reply(wire(line)) })
    }

    /// The verdict as a word, to compare.
    fn word(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Bounce { status, .. } => format!("bounce {status}"),
            Verdict::Retry { reach: Reach::Mail, .. } => "retry".into(),
            Verdict::Retry { reach: Reach::Server, .. } => "retry server".into(),
            Verdict::Surplus => "surplus".into(),
            Verdict::Busy { .. } => "busy".into(),
            Verdict::RenewToken { pause } => format!("renew {:?}", pause.class),
            Verdict::PauseAccount(pause) if pause.quota => "quota".into(),
            Verdict::PauseAccount(pause) => format!("pause {:?}", pause.class),
            Verdict::Uncertain => "uncertain".into(),
            Verdict::Local => "local".into(),
        }
    }

    #[test]
    fn b24_graphs_answers() {
        let http = |stage, status, code: &str, seconds: Option<u64>| Failure {
            stage,
            fault: Fault::Http {
                status,
                code: code.to_owned(),
                text: String::new(),
                retry_after: seconds.map(Duration::from_secs),
            },
        };
        for (status, code, expected) in [
            (200, "", "retry"),
            (307, "", "retry"),
            (400, "ErrorInvalidRecipients", "bounce 5.0.0"),
            (400, "else", "bounce 5.0.0"),
            (401, "InvalidAuthenticationToken", "renew Administrator"),
            (403, "ErrorSendAsDenied", "bounce 5.7.1"),
            (403, "ErrorAccessDenied", "pause Administrator"),
            (403, "", "pause Administrator"),
            (404, "ErrorInvalidUser", "pause Administrator"),
            (404, "", "pause Administrator"),
            (409, "", "retry"),
            (413, "", "bounce 5.3.4"),
            (429, "ApplicationThrottled", "busy"),
            (429, "ErrorExceededMessageLimit", "quota"),
            (500, "", "uncertain"),
            (502, "", "uncertain"),
            (503, "", "busy"),
            (504, "", "uncertain"),
            (507, "", "pause Administrator"),
        ] {
            let verdict = judge(&http(Stage::Posted, status, code, None));
            assert_eq!(word(&verdict), expected, "{status} {code}");
            // Before the last octet nothing was sent, whatever is said.
            let early = judge(&http(Stage::Body, status, code, None));
            assert!(!matches!(early, Verdict::Uncertain), "{status} {code}");
        }
        for fault in [Fault::Closed, Fault::Timeout, Fault::Network("reset".into())] {
            let lost = |stage| word(&judge(&Failure { stage, fault: fault.clone() }));
            assert_eq!(lost(Stage::Posted), "uncertain", "{fault}");
            assert_eq!(lost(Stage::Body), "retry", "{fault}");
            assert_eq!(lost(Stage::Connect), "retry server", "{fault}");
        }
        let Verdict::Busy { retry_after, .. } = judge(&http(Stage::Posted, 429, "", Some(30)))
        else {
            panic!("busy")
        };
        assert_eq!(retry_after, Some(Duration::from_secs(30)));
        for stage in [Stage::Body, Stage::Posted] {
            let fault = Fault::Oversize { size: 3_000_000, why: "Graph answered 200" };
            assert_eq!(word(&judge(&Failure { stage, fault })), "bounce 5.3.4");
        }
        let unfit = Failure { stage: Stage::Body, fault: Fault::Unfit("strangers".into()) };
        assert_eq!(word(&judge(&unfit)), "bounce 5.6.0");
    }

    #[test]
    fn b05_every_stage_by_code() {
        for stage in ALL {
            let early = stage < Stage::Mail;
            let temporary = if early { "retry server" } else { "retry" };
            for line in [
                "400 no",
                "450 4.2.0 greylisted",
                "451 try later",
                "452 4.3.1 Insufficient system resources",
                "454 4.7.0 Temporary authentication failure",
            ] {
                assert_eq!(word(&at(stage, line)), temporary, "{stage:?} {line}");
            }
            assert_eq!(
                word(&at(stage, "421 4.3.2 Service not available")),
                "retry server",
                "{stage:?}"
            );
            for (line, bounce) in [
                ("550 5.1.1 no such user", "bounce 5.1.1"),
                ("550 denied", "bounce 5.0.0"),
                ("500 what", "bounce 5.0.0"),
                ("554 5.9.9 new and unknown", "bounce 5.9.9"),
                ("599 4.0.0 contrary", "bounce 5.0.0"),
            ] {
                let wanted = if early { "retry server" } else { bounce };
                assert_eq!(word(&at(stage, line)), wanted, "{stage:?} {line}");
            }
        }
    }

    #[test]
    fn b05_an_answer_before_mail_never_condemns_a_mail() {
        for stage in ALL.into_iter().filter(|stage| *stage < Stage::Mail) {
            for code in 200..=599_u16 {
                for enhanced in [
                    None,
                    Some(Enhanced(5, 7, 1)),
                    Some(Enhanced(5, 7, 3)),
                    Some(Enhanced(5, 2, 252)),
                ] {
                    let reply =
                        Reply { code, enhanced, text: Cow::Borrowed("SendAsDenied 5.7.60") };
                    let verdict = judge(&Failure { stage, fault: Fault::Reply(reply.clone()) });
                    assert!(
                        !matches!(verdict, Verdict::Bounce { .. }),
                        "{stage:?} {reply}: {verdict:?}"
                    );
                }
            }
        }
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn b05_known_replies_of_exchange() {
        use Stage::*;
        for (stage, line, wanted) in [
            (
                Mail,
                "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.",
                "busy",
            ),
            (Dot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "busy"),
            (Dot, "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", "busy"),
            (
                Greeting,
                "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel",
                "busy",
            ),
            (
                Mail,
                "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
                "busy",
            ),
            (
                Greeting,
                "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)",
                "busy",
            ),
            (
                Mail,
                "451 4.7.651 The mail server [192.0.2.1] has been temporarily rate limited",
                "busy",
            ),
            (
                Dot,
                "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException.MapiExceptionSubmissionQuotaExceeded; Failed to process message",
                "quota",
            ),
            (Rcpt, "550 5.2.2 Submission quota exceeded", "quota"),
            (
                Rcpt,
                "550 5.7.233 Your message can't be sent because your tenant exceeded its daily limit for sending email to external recipients",
                "quota",
            ),
            (Dot, "550 5.7.233 tenant external recipient rate limit", "quota"),
            (Dot, "550 5.7.236 onmicrosoft sender limit", "quota"),
            (
                Dot,
                "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail",
                "quota",
            ),
            (
                Dot,
                "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
                "pause Administrator",
            ),
            (
                Dot,
                "554 5.2.0 STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionQuotaExceeded; Failed",
                "pause Administrator",
            ),
            (Rcpt, "552 5.2.2 mailbox full", "bounce 5.2.2"),
            (
                Dot,
                "554 5.2.252 SendAsDenied; a@contoso.com not allowed to send as b@contoso.com; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception",
                "bounce 5.2.252",
            ),
            (
                Dot,
                "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
                "bounce 5.7.60",
            ),
            (
                Mail,
                "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
                "bounce 5.7.60",
            ),
            (
                Dot,
                "550 5.7.1 Client does not have permissions to send on behalf of the from address",
                "bounce 5.7.1",
            ),
            (
                Dot,
                "554 5.2.0 STOREDRV.Submission.Exception:CorruptDataException; Failed to process message due to a permanent exception with message",
                "bounce 5.2.0",
            ),
            (
                Dot,
                "451 4.2.0 STOREDRV.Submission.Exception:StorageTransientException; Failed to process message due to a transient exception with message",
                "retry",
            ),
            (Dot, "550 5.1.8 Access denied, bad outbound sender AS(42004)", "pause Administrator"),
            (Mail, "501 5.1.8 UTF-8 addresses not supported", "bounce 5.1.8"),
            (Mail, "550 5.7.501 Access denied, spam abuse detected", "pause Administrator"),
            (Mail, "550 5.7.502 Access denied, banned sender", "pause Administrator"),
            (Mail, "550 5.7.503 Access denied, banned sender", "pause Administrator"),
            (Rcpt, "550 5.7.504 Recipient address rejected: Access denied", "bounce 5.7.504"),
            (Mail, "550 5.7.511 Access denied, banned sender[192.0.2.1]", "pause Administrator"),
            (
                Dot,
                "550 5.7.705 Access denied, tenant has exceeded threshold",
                "pause Administrator",
            ),
            (
                Dot,
                "550 5.7.708 Access denied, traffic not accepted from this IP",
                "pause Administrator",
            ),
            (
                Greeting,
                "550 5.7.708 Access denied, traffic not accepted from this IP",
                "pause Administrator",
            ),
            (
                Dot,
                "550 5.7.750 Access denied, client blocked from sending from unregistered domains",
                "pause Administrator",
            ),
            (Auth, "421 4.3.2 Service not active [AM0PR01CA0001]", "retry server"),
            (
                Auth,
                "451 4.7.0 Temporary server error. Please try again later. PRX4 [AM0PR01CA0001]",
                "retry server",
            ),
            (Mail, "451 4.7.0 Temporary server error. Please try again later. PRX2", "retry"),
            (
                Dot,
                "451 4.3.111 Temporary server error. Please try again later MRH1 [Hostname=x]",
                "retry",
            ),
            (Dot, "421 4.4.2 Connection dropped due to TimeOut", "retry server"),
            (Auth, "454 4.7.0 Temporary authentication failure", "retry server"),
            (
                Mail,
                "530 5.7.57 Client not authenticated to send mail. Error: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
                "pause Administrator",
            ),
            (
                Mail,
                "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
                "pause Administrator",
            ),
            (
                Mail,
                "550 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
                "pause Administrator",
            ),
            (Mail, "530 5.7.0 Authentication required", "pause Administrator"),
            (Mail, "501 5.1.7 Invalid address", "bounce 5.1.7"),
            (Rcpt, "501 5.1.3 Invalid address", "bounce 5.1.3"),
            (Rcpt, "501 5.1.6 SMTPUTF8 argument required.", "bounce 5.1.6"),
            (
                Rcpt,
                "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found",
                "bounce 5.1.10",
            ),
            (Rcpt, "550 5.4.1 Recipient address rejected: Access denied", "bounce 5.4.1"),
            (Rcpt, "452 4.5.3 Too many recipients", "surplus"),
            (Rcpt, "452 too many recipients", "surplus"),
            (Rcpt, "552 too many recipients", "surplus"),
            (Mail, "452 4.5.3 odd place", "retry"),
            (Mail, "552 5.3.4 Message size exceeds fixed maximum size", "bounce 5.3.4"),
            (
                Dot,
                "552 5.2.3 RESOLVER.RST.SendSizeLimit.Sender; message too large for this sender",
                "bounce 5.2.3",
            ),
            (Dot, "554 5.6.0 Invalid message content, contains bare linefeeds", "bounce 5.6.0"),
            (Dot, "550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal", "bounce 5.6.11"),
            (
                Dot,
                "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant",
                "bounce 5.7.512",
            ),
            (Dot, "554 5.4.14 Hop count exceeded - possible mail loop", "bounce 5.4.14"),
            (
                Dot,
                "550 5.7.1 TRANSPORT.RULES.RejectMessage; the message was rejected by organization policy",
                "bounce 5.7.1",
            ),
        ] {
            assert_eq!(word(&at(stage, line)), wanted, "{stage:?} {line}");
        }
    }

    /// Texts, class and a piece of the remedy: written by hand.
    #[test]
    #[allow(clippy::too_many_lines, reason = "a table")]
    fn b05_answers_to_auth_renew_the_token_and_then_say_what_to_do() {
        for (line, class, remedy) in [
            (
                "535 5.7.3 Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]",
                Class::Administrator,
                "New-ServicePrincipal",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [MN2PR05CA0004.namprd05.prod.outlook.com 2023-09-12T20:59:57.214Z 08DBB276B7E699C4]",
                Class::Administrator,
                "Set-TransportConfig",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.",
                Class::Administrator,
                "Authenticated SMTP",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator.",
                Class::Administrator,
                "security defaults",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator.",
                Class::Administrator,
                "sign-in log",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, account has an issue. Contact your administrator.",
                Class::Administrator,
                "licence",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
                Class::Administrator,
                "AUTH XOAUTH2",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.",
                Class::Administrator,
                "AUTH XOAUTH2",
            ),
            (
                "535 5.7.139 Authentication unsuccessful, federated STS service was unreachable.",
                Class::Transient,
                "by itself",
            ),
            (
                "550 5.7.30 Basic authentication is not supported for Client Submission.",
                Class::Administrator,
                "AUTH XOAUTH2",
            ),
            ("501 5.5.124 Invalid XOAUTH2 auth data", Class::Administrator, "scope"),
            (
                "501 5.5.127 Invalid XOAUTH2 auth data - Token will expire soon error",
                Class::Transient,
                "renewed",
            ),
            (
                "535 5.7.8 Username and Password not accepted. For more information, go to\nhttps://support.google.com/mail/?p=BadCredentials x - gsmtp",
                Class::SignIn,
                "mail.google.com",
            ),
            ("534 5.7.9 Application-specific password required", Class::SignIn, "mail.google.com"),
            ("535 no", Class::Administrator, "Add-MailboxPermission"),
        ] {
            let Verdict::RenewToken { pause } = at(Stage::Auth, line) else {
                panic!("{line}: {:?}", at(Stage::Auth, line));
            };
            assert_eq!(pause.class, class, "{line}");
            assert!(pause.remedy.contains(remedy), "{line}: {}", pause.remedy);
        }
        for line in [
            "504 5.7.4 Unrecognized authentication type",
            "500 5.3.3 Unrecognized command",
            "550 what",
            "538 no",
        ] {
            assert_eq!(word(&at(Stage::Auth, line)), "retry server", "{line}");
        }
    }

    #[test]
    fn b04_what_is_lost_after_the_dot_is_uncertain_and_before_it_is_not() {
        for stage in ALL {
            for fault in [
                Fault::Timeout,
                Fault::Closed,
                Fault::Network("reset".into()),
                Fault::Protocol("garbage".into()),
                Fault::Tls(Distrust::new("record")),
            ] {
                let verdict = word(&judge(&Failure { stage, fault: fault.clone() }));
                let wanted = match stage {
                    Stage::Dot => "uncertain",
                    _ if stage < Stage::Mail || matches!(fault, Fault::Tls(_)) => "retry server",
                    _ => "retry",
                };
                assert_eq!(verdict, wanted, "{stage:?} {fault}");
            }
            let local = Failure { stage, fault: Fault::Local("disk".into()) };
            assert_eq!(word(&judge(&local)), "local");
        }
        assert_eq!(word(&at(Stage::Dot, "354 go on")), "uncertain");
        assert_eq!(word(&at(Stage::Data, "250 odd")), "retry");
    }

    #[test]
    fn a_password_that_is_refused_waits_for_somebody_and_never_condemns_a_mail() {
        let judged = |line| {
            let failure = Failure { stage: Stage::Auth, fault: Fault::Login(wire(line)) };
            assert!(explain(&failure).is_some_and(|text| text.contains("password_file")));
            judge(&failure)
        };
        for line in ["535 5.7.8 Error: authentication failed", "535 5.7.3 no", "501 what"] {
            let Verdict::PauseAccount(pause) = judged(line) else { panic!("{line}") };
            assert!(pause.remedy.contains("password_file") && !pause.quota, "{line}");
        }
        assert_eq!(word(&judged("454 4.7.0 Temporary authentication failure")), "retry server");
        let proxy = Failure { stage: Stage::Connect, fault: Fault::Proxy("is down".into()) };
        assert_eq!(word(&judge(&proxy)), "retry server");
        assert!(explain(&proxy).is_some_and(|text| text.contains("proxy of [account.upstream]")));
    }

    #[test]
    fn b07_what_is_not_offered() {
        for (stage, what, wanted) in [
            (Stage::Mail, "8BITMIME", "bounce 5.6.3"),
            (Stage::Mail, "BINARYMIME", "bounce 5.6.3"),
            (Stage::Mail, "SMTPUTF8", "bounce 5.6.7"),
            (Stage::Tls, "STARTTLS", "retry server"),
            (Stage::Auth, "AUTH XOAUTH2", "retry server"),
            (Stage::Hello, "AUTH", "retry server"),
        ] {
            let failure = Failure { stage, fault: Fault::NotOffered(what) };
            assert_eq!(word(&judge(&failure)), wanted, "{what}");
            assert!(explain(&failure).is_some(), "{what}");
        }
        let large = Failure { stage: Stage::Mail, fault: Fault::TooLarge { limit: 1 } };
        assert_eq!(word(&judge(&large)), "bounce 5.3.4");
        assert!(explain(&large).is_some());
        let certificate = Failure { stage: Stage::Tls, fault: Fault::Tls(Distrust::new("x")) };
        assert_eq!(word(&judge(&certificate)), "retry server");
        assert!(explain(&certificate).expect("words").contains("no token was sent"));
    }
}
