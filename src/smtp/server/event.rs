//! What the dialogue tells and asks its driver.

use crate::mail::{Address, BodyKind, Recipient, Ret};
use crate::secret::Secret;
use crate::smtp::Reply;
use bytes::Bytes;

/// What is to be done next.
#[derive(Debug)]
pub enum Event {
    /// Write the output, read, `feed`.
    NeedInput,
    /// Write the output, do the TLS handshake, call `tls_started`. Whatever was buffered is gone, and so
    /// is a transaction.
    StartTls,
    /// EHLO or HELO was answered; for the log and `Received:`.
    Hello,
    /// Asks: is this login good? The answer is 235, 535 or 454.
    Authenticate(Credentials),
    /// Asks: may this sender? 250 opens the transaction.
    Mail(Mail),
    /// Asks: may this recipient?
    Rcpt(Recipient),
    /// Asks: shall the body come? 354 (only DATA shows it; BDAT goes on without a reply). Another answer
    /// ends the transaction. What was put off is settled before it.
    Data,
    /// Asks: all that was put off is to be answered now, one [`settle`](super::Dialogue::settle) each.
    Settle,
    /// More of the body: dot-unstuffed, lines ended by CRLF (but for BINARYMIME). Pieces are cut anywhere.
    Body(Bytes),
    /// Asks: is the mail taken? `Err` holds the machine's own verdict (too large, bare newline), which is
    /// sent whatever the answer says; the driver then drops the mail and calls `answer` all the same.
    BodyEnd(Result<(), Reply>),
    /// The transaction was dropped (RSET, EHLO, an aborted BDAT): forget the envelope.
    Reset,
    /// Write the output and close. A transaction or body that is under way is lost.
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
        /// The name. No control characters.
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
