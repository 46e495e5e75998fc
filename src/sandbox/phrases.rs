//! Exchange's fixed replies, a table. Recorded ones first, else those of Exchange Server.

use crate::smtp::server::Phrases;
use crate::smtp::{Enhanced, Reply};

const fn say(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Reply {
    Reply::new(code, Enhanced(enhanced.0, enhanced.1, enhanced.2), text)
}

/// The table.
pub(super) static EXCHANGE: Phrases = Phrases {
    reasons: false,

    hello_first: say(503, (5, 5, 2), "Send hello first"),
    bad_hello: say(501, (5, 5, 4), "Invalid domain name"),

    starttls_ready: say(220, (2, 0, 0), "SMTP server ready"),
    starttls_again: say(503, (5, 5, 2), "Only one STARTTLS command can be issued per session"),
    starttls_argument: say(501, (5, 5, 4), "Invalid arguments"),
    starttls_not_offered: say(500, (5, 3, 3), "Unrecognized command"),
    must_starttls: say(530, (5, 7, 0), "Must issue a STARTTLS command first"),

    auth_needed: say(530, (5, 7, 57), "Client not authenticated to send mail."),
    auth_needs_tls: say(530, (5, 7, 0), "Must issue a STARTTLS command first"),
    auth_not_offered: say(500, (5, 3, 3), "Unrecognized command"),
    auth_already: say(503, (5, 5, 2), "Auth command already specified"),
    auth_in_transaction: say(503, (5, 5, 2), "Sender already specified"),
    // RFC 4954 §4 wants 501; the service says 535.
    auth_cancelled: say(535, (5, 7, 3), "Authentication unsuccessful"),
    auth_bad_base64: say(501, (5, 5, 4), "Invalid arguments"),
    auth_malformed: say(535, (5, 7, 3), "Authentication unsuccessful"),
    auth_unknown_mechanism: say(504, (5, 7, 4), "Unrecognized authentication type"),
    auth_line_too_long: say(500, (5, 5, 2), "Command too long"),

    sender_already: say(503, (5, 5, 2), "Sender already specified"),
    need_mail: say(503, (5, 5, 2), "Need mail command"),
    need_rcpt: say(503, (5, 5, 2), "Need rcpt command"),
    bad_sender: say(501, (5, 1, 7), "Invalid address"),
    bad_recipient: say(501, (5, 1, 3), "Invalid address"),
    smtputf8_needed: say(501, (5, 1, 6), "SMTPUTF8 argument required."),
    unknown_parameter: say(501, (5, 5, 4), "Invalid arguments"),
    bad_parameter: say(501, (5, 5, 4), "Invalid arguments"),
    too_many_recipients: say(452, (4, 5, 3), "Too many recipients"),
    too_large: say(552, (5, 3, 4), "Message size exceeds fixed maximum size"),
    bare_newline: say(554, (5, 6, 0), "Invalid message content, contains bare linefeeds"),
    start_input: Reply::plain(354, "Start mail input; end with <CRLF>.<CRLF>"),

    bdat_not_offered: say(500, (5, 3, 3), "Unrecognized command"),
    bdat_size: say(501, (5, 5, 4), "Invalid arguments"),
    bdat_under_way: say(503, (5, 5, 2), "Bdat command already specified"),
    binary_needs_bdat: say(503, (5, 5, 2), "Need bdat command"),
    chunk_ok: say(250, (2, 6, 0), "CHUNK received OK, {octets} octets"),

    reset: say(250, (2, 0, 0), "Resetting"),
    noop: say(250, (2, 0, 0), "OK"),
    vrfy: say(252, (2, 1, 5), "Cannot VRFY user"),
    expn: say(500, (5, 3, 3), "Unrecognized command"),
    help: Reply::plain(
        214,
        "This server supports the following commands:\n\
         HELO EHLO STARTTLS RCPT DATA RSET MAIL QUIT HELP AUTH BDAT",
    ),
    goodbye: say(221, (2, 0, 0), "Service closing transmission channel"),

    unknown_command: say(500, (5, 3, 3), "Unrecognized command"),
    bad_syntax: say(501, (5, 5, 4), "Invalid arguments"),
    line_too_long: say(500, (5, 5, 2), "Command too long"),
    endless_line: say(
        421,
        (4, 7, 0),
        "Too many errors on this connection, closing transmission channel",
    ),
    too_many_errors: say(
        421,
        (4, 7, 0),
        "Too many errors on this connection, closing transmission channel",
    ),
    http: say(421, (4, 7, 0), "Too many errors on this connection, closing transmission channel"),
    tls_unexpected: say(
        421,
        (4, 7, 0),
        "Too many errors on this connection, closing transmission channel",
    ),
};
