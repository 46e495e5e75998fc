//! The server that takes mail from us.
//!
//! It reports facts ([`Outcome`], [`Failure`]) and judges nothing: whether a fault is temporary is
//! `delivery::verdict`'s business. It knows no OAuth: the token comes as an argument.

pub mod graph;
pub mod smtp;
mod way;

pub use way::Way;

use crate::config::Audience;
use crate::mail::{Address, Envelope, Id, Recipient};
use crate::secret::Secret;
use crate::smtp::Reply;
use crate::smtp::client::{Refusal, Step, Trouble};
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

/// Who we are to the upstream.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The XOAUTH2 user.
    pub mailbox: Address,
    /// For which service the token is made.
    pub audience: Audience,
    /// The access token.
    pub token: Secret,
    /// A connection that was opened with it is not used for another mail from then on.
    pub usable_until: Instant,
}

/// A mail on its way: only the recipients to be tried now.
pub struct Outgoing<'a> {
    /// Its queue id, for the log.
    pub id: Id,
    /// Who sends to whom.
    pub envelope: &'a Envelope,
    /// Everybody whom the mail is for, also who is not tried now: who else is named in its header is a
    /// stranger.
    pub everybody: &'a [Recipient],
    /// Octets of the message.
    pub size: u64,
    /// The message.
    pub body: &'a mut dyn Body,
    /// Awaited between the last octet of the body and the final dot; without its yes there is no dot.
    pub commit: Pin<&'a mut (dyn Future<Output = Result<(), String>> + Send)>,
}

/// Takes a mail to where it is to go.
pub trait Courier: Send + Sync {
    /// Delivers one mail and says what became of it. Dropping the future before its end closes the
    /// connection; a mail whose final dot was written by then has an unknown fate.
    fn deliver(
        &self,
        mail: Outgoing<'_>,
        credential: &Credential,
    ) -> impl Future<Output = Outcome> + Send;

    /// A connection for a mail that passes through while its sender waits; a new one where `is_fresh`. A way
    /// that takes a mail only as a whole says so.
    fn transit(
        &self,
        credential: &Credential,
        is_fresh: bool,
    ) -> impl Future<Output = Result<smtp::Transit, Failure>> + Send {
        let _ = (credential, is_fresh);
        let text = "this way takes a mail only as a whole";
        std::future::ready(Err(Failure::at(Stage::Connect, Fault::Local(text.to_owned()))))
    }

    /// Closes what it keeps open for the next mail, since another way to the same mailbox is about to
    /// be used and both count against the mailbox's connections.
    fn close_idle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Where the octets of a message come from.
pub trait Body: Send {
    /// The next octets; none at the end.
    fn chunk(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<bytes::Bytes>, String>> + Send + '_>>;

    /// Begins again: the next chunk starts with this octet.
    ///
    /// # Errors
    /// It cannot be read twice.
    fn again(&mut self, from: u64) -> Result<(), String>;
}

/// What became of a mail: one result a recipient of the [`Outgoing`], in its order.
#[derive(Debug)]
pub struct Outcome {
    /// The final reply where the upstream took it, else what stood in the way.
    pub recipients: Vec<Result<Reply, Failure>>,
    /// Whether the upstream offered DSN and so got NOTIFY, RET and the rest: where it did not, the
    /// reports of success that were asked for are ours to write (RFC 3461 §5.2.2).
    pub dsn: bool,
}

impl Outcome {
    /// The same failure for every recipient.
    pub fn all(recipients: usize, failure: &Failure) -> Self {
        Self { recipients: vec![Err(failure.clone()); recipients], dsn: false }
    }
}

/// What stood in the way, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stage}{}: {fault}", doubt(*stage, fault))]
pub struct Failure {
    /// How far it had come.
    pub stage: Stage,
    /// What happened there.
    pub fault: Fault,
}

/// How far a delivery had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Name resolution and TCP.
    Connect,
    /// The 220.
    Greeting,
    /// EHLO, before or after TLS.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, up to its 354.
    Data,
    /// The body, before the final dot was written.
    Body,
    /// After the final dot: here a missing answer means an unknown fate.
    Dot,
    /// The same of a request by HTTP: all of it was sent.
    Posted,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Greeting => "waiting for the greeting",
            Self::Hello => "EHLO",
            Self::Tls => "TLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Data => "DATA",
            Self::Body => "sending the body",
            Self::Dot => "end of data",
            Self::Posted => "sendMail",
        })
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The upstream said so.
    #[error("{0}")]
    Reply(Reply),
    /// The upstream's answer to a user name and a password, where no token is used.
    #[error("{0}")]
    Login(Reply),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended.
    #[error("connection closed")]
    Closed,
    /// The name has no address.
    #[error("{0}")]
    Dns(String),
    /// TCP or the local network said no.
    #[error("{0}")]
    Network(String),
    /// The proxy, or the way to it.
    #[error("the proxy {0}")]
    Proxy(String),
    /// The certificate or the handshake.
    #[error("{0}")]
    Tls(crate::tls::Distrust),
    /// The upstream does not offer what this mail or this account needs.
    #[error("{0} is not offered")]
    NotOffered(&'static str),
    /// The message has more octets than the upstream takes.
    #[error("the message is larger than the {limit} octets the upstream takes")]
    TooLarge {
        /// What its SIZE said, octets.
        limit: u64,
    },
    /// The message has more octets than Graph takes in one request, and does not go in several.
    #[error(
        "{size} octets are too many for one request of Graph, and it goes in no other way: {why}"
    )]
    Oversize {
        /// Octets of the message.
        size: u64,
        /// What is in the way.
        why: &'static str,
    },
    /// The upstream spoke no SMTP.
    #[error("not SMTP: {0}")]
    Protocol(String),
    /// Graph said so.
    #[error("HTTP {status}{}{code}: {text}", if code.is_empty() { "" } else { " " })]
    Http {
        /// The status.
        status: u16,
        /// Its error code, `ErrorSendAsDenied`; empty where the body held none.
        code: String,
        /// Its words.
        text: String,
        /// Not before this long.
        retry_after: Option<std::time::Duration>,
    },
    /// The message cannot go this way, which knows no envelope.
    #[error("not sent by Graph: {0}")]
    Unfit(String),
    /// Our own store could not give the body or note the try; the upstream is not to blame.
    #[error("{0}")]
    Local(String),
}

/// Only a missing answer leaves the fate open; a refusal is one.
fn doubt(stage: Stage, fault: &Fault) -> &'static str {
    match fault {
        Fault::Reply(_)
        | Fault::Login(_)
        | Fault::Local(_)
        | Fault::NotOffered(_)
        | Fault::Oversize { .. }
        | Fault::Http { status: ..500, .. } => "",
        _ if stage >= Stage::Dot => " (it may have been taken)",
        _ => "",
    }
}

impl Failure {
    fn at(stage: Stage, fault: Fault) -> Self {
        Self { stage, fault }
    }

    /// What the dialogue says, in our words; `cause` is why the driver broke off, where it did.
    fn of(refusal: Refusal, cause: &Fault) -> Self {
        let fault = match refusal.trouble {
            Trouble::Reply(reply) => Fault::Reply(reply),
            Trouble::NotOffered(what) => Fault::NotOffered(what),
            Trouble::TooLarge { limit } => Fault::TooLarge { limit },
            Trouble::Protocol(text) => Fault::Protocol(text),
            Trouble::Closed => Fault::Closed,
            Trouble::Interrupted => cause.clone(),
        };
        Self { stage: refusal.step.into(), fault }
    }
}

impl From<Step> for Stage {
    fn from(step: Step) -> Self {
        match step {
            Step::Greeting => Self::Greeting,
            Step::Hello => Self::Hello,
            Step::Tls => Self::Tls,
            Step::Auth => Self::Auth,
            Step::Mail => Self::Mail,
            Step::Rcpt => Self::Rcpt,
            Step::Data => Self::Data,
            Step::Body => Self::Body,
            Step::Dot => Self::Dot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_answer_to_the_dot_leaves_doubt() {
        let text = |stage, fault| Failure::at(stage, fault).to_string();
        let refusal = || Fault::Reply(Reply::plain(550, "no"));
        assert_eq!(text(Stage::Dot, refusal()), "end of data: 550 no");
        let lost = text(Stage::Dot, Fault::Closed);
        assert_eq!(lost, "end of data (it may have been taken): connection closed");
        assert_eq!(text(Stage::Body, Fault::Closed), "sending the body: connection closed");
    }
}
