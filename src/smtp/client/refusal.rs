//! What stands in the way of a mail, and where.
//!
//! It promises that the text of a [`Trouble`] is fit for a log. It judges nothing.

use crate::smtp::Reply;

/// How far a dialogue had come when something stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The 220.
    Greeting,
    /// EHLO, before or after TLS.
    Hello,
    /// STARTTLS.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, up to its 354.
    Data,
    /// The body, before the final dot; BDAT's chunks.
    Body,
    /// After the final dot, or BDAT's last chunk.
    Dot,
}

/// What stood in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The server said so.
    Reply(Reply),
    /// The server does not offer what is needed.
    NotOffered(&'static str),
    /// The message has more octets than the server takes (RFC 1870 §6.1).
    TooLarge {
        /// What SIZE said.
        limit: u64,
    },
    /// The server spoke no SMTP.
    Protocol(String),
    /// The server closed the connection.
    Closed,
    /// The driver broke off; it knows why.
    Interrupted,
}

/// What stood in the way, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where.
    pub step: Step,
    /// What.
    pub trouble: Trouble,
}

/// A refusal where another reply was hoped for.
pub(super) fn refused(reply: Reply) -> Trouble {
    if reply.is_transient() || reply.is_permanent() {
        Trouble::Reply(reply)
    } else {
        out_of_place(&reply)
    }
}

/// A reply that has no place here.
pub(super) fn out_of_place(reply: &Reply) -> Trouble {
    Trouble::Protocol(format!("answer out of place: {reply}"))
}

/// Text that nobody can have sent but somebody in between.
pub(super) fn injected() -> Trouble {
    Trouble::Protocol(
        "text after the 220 of STARTTLS, before TLS: somebody sits in between".to_owned(),
    )
}
