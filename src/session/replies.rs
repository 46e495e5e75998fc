//! Our answers to a client, each with the reason for its code. Pure.
//!
//! The client hears a short line that names no path, account or token; the log hears the cause.

use crate::accounts::{Forbidden, Unsendable};
use crate::config::Account;
use crate::queue::{AcceptError, Receipt};
use crate::smtp::{Enhanced, Reply};

/// A client in direct mode held its turn and did nothing.
pub const TURN_LOST: Reply = Reply::new(
    451,
    Enhanced(4, 4, 2),
    "no progress for too long, the connection to the server was given up; begin the mail again",
);
/// A client in direct mode is gone; nobody reads this.
pub const CLIENT_GONE: Reply = Reply::new(451, Enhanced(4, 4, 2), "the client is gone");

/// The mail is durable. Only a receipt makes this reply.
pub fn queued(receipt: &Receipt) -> Reply {
    Reply {
        code: 250,
        enhanced: Some(Enhanced(2, 0, 0)),
        text: format!("queued as {}", receipt.id()).into(),
    }
}

/// The mail was not taken; the client may try again (RFC 5321 §4.2.3: 452 for space, 451 for faults).
pub fn not_accepted(error: &AcceptError) -> Reply {
    match error {
        AcceptError::Full(_) => QUEUE_FULL,
        AcceptError::Store(_) => STORE_FAILED,
    }
}

/// What the client may not do; trying again would not help.
pub fn forbidden(what: Forbidden) -> Reply {
    match what {
        Forbidden::NoAccount => NO_ACCOUNT,
        Forbidden::Sender => SENDER_FORBIDDEN,
        Forbidden::Header => HEADER_FORBIDDEN,
        Forbidden::Recipient => RECIPIENT_FORBIDDEN,
    }
}

/// The way of the account, Graph, would not take the mail as it is.
pub fn unsendable(why: &Unsendable) -> Reply {
    let (code, enhanced) = match why {
        Unsendable::Author { .. } => (550, Enhanced(5, 7, 1)),
        Unsendable::Recipients(_) | Unsendable::Unreadable(_) => (550, Enhanced(5, 6, 0)),
        Unsendable::Size { .. } => (552, Enhanced(5, 3, 4)),
    };
    Reply { code, enhanced: Some(enhanced), text: why.to_string().into() }
}

/// Larger than the account's server takes (RFC 1870 §6.1), so it would only come back.
pub fn too_large(account: &Account, by_graph: bool) -> Reply {
    if !by_graph {
        return TOO_LARGE;
    }
    let most = account.max_message_size(by_graph);
    let text = format!("message is larger than the {most} octets Graph takes for this account");
    Reply { text: text.into(), ..TOO_LARGE }
}

/// The user's `senders` do not hold MAIL FROM.
pub const SENDER_FORBIDDEN: Reply =
    Reply::new(550, Enhanced(5, 7, 1), "this login may not use this sender address");
/// The user's `senders` do not hold `From:` or `Sender:`.
pub const HEADER_FORBIDDEN: Reply = Reply::new(
    550,
    Enhanced(5, 7, 1),
    "this login may not use this From or Sender, or the field cannot be read",
);
/// The `recipients` of user or listener do not hold RCPT TO.
pub const RECIPIENT_FORBIDDEN: Reply =
    Reply::new(550, Enhanced(5, 7, 1), "mail to this recipient is not allowed here");
/// Too many wrong logins; the session ends.
pub const LOGIN_BLOCKED: Reply =
    Reply::new(421, Enhanced(4, 7, 0), "too many failed logins from your address, try again later");

/// The queue's bound or the disk's reserve is reached.
pub const QUEUE_FULL: Reply = Reply::new(452, Enhanced(4, 3, 1), "queue is full, try again later");
/// The disk said no.
pub const STORE_FAILED: Reply =
    Reply::new(451, Enhanced(4, 3, 0), "mail could not be stored, try again later");
/// RFC 4954 §6: the login was right.
pub const LOGGED_IN: Reply = Reply::new(235, Enhanced(2, 7, 0), "authentication succeeded");
/// RFC 4954 §6: the login was wrong; nothing is told of which half.
pub const LOGIN_WRONG: Reply = Reply::new(535, Enhanced(5, 7, 8), "user name or password is wrong");
/// RFC 4954 §6: our own trouble, the password may be right.
pub const LOGIN_BROKEN: Reply = Reply::new(454, Enhanced(4, 7, 0), "login cannot be checked now");
/// MAIL was taken.
pub const SENDER_OK: Reply = Reply::new(250, Enhanced(2, 1, 0), "sender ok");
/// RCPT was taken.
pub const RECIPIENT_OK: Reply = Reply::new(250, Enhanced(2, 1, 5), "recipient ok");
/// The configuration does not say which account; no use trying again before it does.
pub const NO_ACCOUNT: Reply = Reply::new(
    550,
    Enhanced(5, 7, 1),
    "no account is configured for this sender; the administrator must name one",
);
/// The body may come.
pub const START_INPUT: Reply = Reply::plain(354, "end data with <CR><LF>.<CR><LF>");
/// Larger than the account's server takes (RFC 1870 §6.1), so it would only come back.
pub const TOO_LARGE: Reply =
    Reply::new(552, Enhanced(5, 3, 4), "message is larger than the server of this account takes");
/// The header alone is larger than any mail program writes; Exchange refuses it too.
pub const HEADER_TOO_LARGE: Reply = Reply::new(552, Enhanced(5, 3, 4), "message header too large");
/// RFC 5321 §6.3.
pub const MAIL_LOOP: Reply =
    Reply::new(554, Enhanced(5, 4, 6), "mail loop: too many Received fields");
/// RFC 5321 §3.8: going down.
pub const SHUTTING_DOWN: Reply =
    Reply::new(421, Enhanced(4, 3, 2), "service is shutting down, try again later");
/// RFC 5321 §4.5.3.2.7: the client was silent for too long.
pub const TIMED_OUT: Reply = Reply::new(421, Enhanced(4, 4, 2), "timeout, closing connection");
/// More connections than the listener allows.
pub const TOO_MANY_CONNECTIONS: Reply =
    Reply::new(421, Enhanced(4, 7, 0), "too many connections, try again later");
/// More connections than one address may have.
pub const TOO_MANY_OF_CLIENT: Reply =
    Reply::new(421, Enhanced(4, 7, 0), "too many connections from your address, try again later");
/// The client's address is not in the listener's `clients`.
pub const NOT_ALLOWED: Reply =
    Reply::new(554, Enhanced(5, 7, 1), "this address may not submit mail here");
