//! The server half of SMTP as a machine: the daemon's front door and the sandbox's.
//!
//! `feed` takes what came, `advance` says what is to be done next and never waits, `output` holds what
//! is to be written before waiting for more input. An event that asks (marked so) must be answered with
//! [`Dialogue::answer`] before the next `advance`.

use super::Reply;
use crate::mail::{Address, BodyKind, Recipient, Ret};
use crate::secret::Secret;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// What this server offers and how far it goes. One for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Our name: first word of the greeting and of the EHLO reply.
    pub hostname: String,
    /// What follows the name in the greeting, `ESMTP submitd`.
    pub greeting: String,
    /// What follows the name in the first line of the EHLO reply.
    pub hello: String,
    /// Offered extensions in the order of the EHLO reply. STARTTLS shows only before TLS, AUTH only where
    /// it may be used now.
    pub extensions: Vec<super::extension::Extension>,
    /// SASL mechanisms offered and understood, in order.
    pub mechanisms: Vec<super::sasl::Mechanism>,
    /// AUTH only inside TLS.
    pub auth_needs_tls: bool,
    /// MAIL only after AUTH.
    pub auth_required: bool,
    /// MAIL only inside TLS.
    pub tls_required: bool,
    /// Octets of one message.
    pub max_message_size: u64,
    /// RCPT TO of one mail.
    pub max_recipients: usize,
    /// Wrong commands until 421.
    pub max_errors: usize,
    /// Refuse a lone CR or LF in a body (550 5.6.11) instead of turning it into CRLF.
    pub reject_bare_newline: bool,
    /// The fixed replies.
    pub phrases: &'static Phrases,
}

/// The fixed replies of a server; the sandbox has Exchange's.
#[derive(Debug)]
pub struct Phrases {
    /// 503 where EHLO is missing.
    pub hello_first: Reply,
    // … one field for each fixed reply; `Phrases::OURS` is the daemon's table
}

/// What is to be done next.
#[derive(Debug)]
pub enum Event {
    /// Write the output, read, `feed`.
    NeedInput,
    /// Write the output, do the TLS handshake, call `tls_started`. Whatever was buffered is gone.
    StartTls,
    /// EHLO or HELO was answered; for the log and `Received:`.
    Hello,
    /// Asks: is this login good? The answer is 235, 535 or 454.
    Authenticate(Credentials),
    /// Asks: may this sender? 250 opens the transaction.
    Mail(Mail),
    /// Asks: may this recipient?
    Rcpt(Recipient),
    /// Asks: shall the body come? 354 (only DATA shows it; BDAT goes on without a reply).
    Data,
    /// More of the body: dot-unstuffed, lines ended by CRLF.
    Body(Bytes),
    /// Asks: is the mail taken? `Err` holds the machine's own verdict (too large, bare newline), which is
    /// sent whatever the answer says; the driver then drops the mail and calls `answer` all the same.
    BodyEnd(Result<(), Reply>),
    /// The transaction was dropped (RSET, EHLO, an aborted BDAT): forget the envelope.
    Reset,
    /// Write the output and close.
    Close,
}

/// MAIL FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// None is `<>`.
    pub sender: Option<Address>,
    /// `SIZE=`.
    pub size: Option<u64>,
    /// `BODY=`.
    pub body: BodyKind,
    /// `SMTPUTF8`.
    pub smtputf8: bool,
    /// `RET=`.
    pub ret: Option<Ret>,
    /// `ENVID=`, still in xtext.
    pub envid: Option<String>,
}

/// What a client proved itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// PLAIN or LOGIN.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// XOAUTH2 or OAUTHBEARER (only the sandbox understands them).
    Bearer {
        /// The mailbox.
        user: String,
        /// The access token.
        token: Secret,
    },
}

/// One session.
#[derive(Debug)]
pub struct Dialogue {
    _terms: Arc<Terms>,
}

impl Dialogue {
    /// A new session; its greeting lies in the output. `tls`: the connection is already inside TLS.
    pub fn new(_terms: Arc<Terms>, _tls: bool) -> Self {
        todo!()
    }

    /// A session that is turned away with this reply (421) and closed.
    pub fn refused(_terms: Arc<Terms>, _reply: &Reply) -> Self {
        todo!()
    }

    /// Takes octets from the peer.
    pub fn feed(&mut self, _octets: &[u8]) {
        todo!()
    }

    /// The peer closed its side.
    pub fn feed_end(&mut self) {
        todo!()
    }

    /// What is to be done next; never waits.
    pub fn advance(&mut self) -> Event {
        todo!()
    }

    /// The driver's yes or no to the event that asked.
    pub fn answer(&mut self, _reply: &Reply) {
        todo!()
    }

    /// TLS stands: everything before it is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self) {
        todo!()
    }

    /// Says this (421) and closes, between replies: timeout, shutdown.
    pub fn hang_up(&mut self, _reply: &Reply) {
        todo!()
    }

    /// What is to be written.
    pub fn output(&mut self) -> &mut BytesMut {
        todo!()
    }

    /// The name the client gave in EHLO or HELO, made printable; empty before.
    pub fn client_name(&self) -> &str {
        todo!()
    }

    /// Whether the client said EHLO (not HELO): for the protocol word in `Received:`.
    pub fn is_extended(&self) -> bool {
        todo!()
    }

    /// Whether a transaction or body is under way: a drain lets it finish.
    pub fn is_in_transaction(&self) -> bool {
        todo!()
    }
}
