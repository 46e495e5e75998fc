//! The fixed replies of a server. Data only: the daemon's table is here, the sandbox brings Exchange's.

use crate::smtp::{Enhanced, Reply};

/// The fixed replies of a server; the sandbox has Exchange's.
#[derive(Clone, Debug)]
pub struct Phrases {
    /// Whether the reason is put behind `bad_sender`, `bad_recipient`, `unknown_parameter` and
    /// `bad_parameter`. Exchange gives none.
    pub reasons: bool,

    /// A command before EHLO, where the terms ask for it.
    pub hello_first: Reply,
    /// EHLO or HELO without a name.
    pub bad_hello: Reply,

    /// STARTTLS goes ahead.
    pub starttls_ready: Reply,
    /// STARTTLS inside TLS.
    pub starttls_again: Reply,
    /// STARTTLS with an argument.
    pub starttls_argument: Reply,
    /// STARTTLS where it is not offered.
    pub starttls_not_offered: Reply,
    /// MAIL or AUTH before STARTTLS, where TLS is required.
    pub must_starttls: Reply,

    /// MAIL without AUTH, where it is required (RFC 4954 §6).
    pub auth_needed: Reply,
    /// AUTH outside TLS, where it is not allowed there (RFC 4954 §4).
    pub auth_needs_tls: Reply,
    /// AUTH where it is not offered at all.
    pub auth_not_offered: Reply,
    /// AUTH after a good AUTH.
    pub auth_already: Reply,
    /// AUTH between MAIL and the end of the mail.
    pub auth_in_transaction: Reply,
    /// The client sent `*`.
    pub auth_cancelled: Reply,
    /// An answer that is no base64.
    pub auth_bad_base64: Reply,
    /// Good base64 of something the mechanism does not know.
    pub auth_malformed: Reply,
    /// A mechanism that is not offered.
    pub auth_unknown_mechanism: Reply,
    /// An answer of more than 12,288 octets.
    pub auth_line_too_long: Reply,

    /// MAIL within a transaction.
    pub sender_already: Reply,
    /// RCPT, DATA or BDAT without MAIL.
    pub need_mail: Reply,
    /// DATA or BDAT without a good recipient.
    pub need_rcpt: Reply,
    /// MAIL with a path that is none.
    pub bad_sender: Reply,
    /// RCPT with a path that is none.
    pub bad_recipient: Reply,
    /// An address that needs SMTPUTF8 without that parameter (RFC 6531 §3.5).
    pub smtputf8_needed: Reply,
    /// A parameter that is not known or not offered (RFC 5321 §4.1.1.11).
    pub unknown_parameter: Reply,
    /// A known parameter with a value that cannot be read.
    pub bad_parameter: Reply,
    /// RCPT beyond the bound.
    pub too_many_recipients: Reply,
    /// A mail larger than the bound: at MAIL, at the end of the data, at BDAT.
    pub too_large: Reply,
    /// A lone CR or LF in the body, where it is refused.
    pub bare_newline: Reply,
    /// The body may come; what drivers answer to `Event::Data`.
    pub start_input: Reply,

    /// BDAT where CHUNKING is not offered.
    pub bdat_not_offered: Reply,
    /// BDAT with a size that cannot be read.
    pub bdat_size: Reply,
    /// RCPT or DATA after BDAT (RFC 3030 §2).
    pub bdat_under_way: Reply,
    /// DATA for a mail declared BINARYMIME (RFC 3030 §3).
    pub binary_needs_bdat: Reply,
    /// A chunk was taken; `{octets}` is replaced by its size.
    pub chunk_ok: Reply,

    /// RSET.
    pub reset: Reply,
    /// NOOP.
    pub noop: Reply,
    /// VRFY.
    pub vrfy: Reply,
    /// EXPN.
    pub expn: Reply,
    /// HELP.
    pub help: Reply,
    /// QUIT.
    pub goodbye: Reply,

    /// No command we know.
    pub unknown_command: Reply,
    /// A known command with an argument that cannot be read.
    pub bad_syntax: Reply,
    /// A command line beyond the bound.
    pub line_too_long: Reply,
    /// 64 KB without the end of a line; the connection is closed.
    pub endless_line: Reply,
    /// Too many wrong commands; the connection is closed.
    pub too_many_errors: Reply,
    /// A request line of HTTP; the connection is closed.
    pub http: Reply,
    /// A TLS handshake where none was announced; the connection is closed.
    pub tls_unexpected: Reply,
}

const fn say(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Reply {
    Reply::new(code, Enhanced(enhanced.0, enhanced.1, enhanced.2), text)
}

impl Phrases {
    /// The daemon's.
    pub const OURS: &'static Phrases = &Phrases {
        reasons: true,

        hello_first: say(503, (5, 5, 1), "Send EHLO first"),
        bad_hello: say(501, (5, 5, 4), "Your name is missing"),

        starttls_ready: say(220, (2, 0, 0), "Ready to start TLS"),
        starttls_again: say(503, (5, 5, 1), "TLS is active already"),
        starttls_argument: say(501, (5, 5, 4), "STARTTLS takes no argument"),
        starttls_not_offered: say(502, (5, 5, 1), "STARTTLS is not offered here"),
        must_starttls: say(530, (5, 7, 0), "Must issue a STARTTLS command first"),

        auth_needed: say(530, (5, 7, 0), "Authentication required"),
        auth_needs_tls: say(538, (5, 7, 11), "Authentication only inside TLS: use STARTTLS first"),
        auth_not_offered: say(502, (5, 5, 1), "AUTH is not offered here"),
        auth_already: say(503, (5, 5, 1), "Already authenticated"),
        auth_in_transaction: say(503, (5, 5, 1), "AUTH not possible within a mail transaction"),
        auth_cancelled: say(501, (5, 7, 0), "Authentication cancelled"),
        auth_bad_base64: say(501, (5, 5, 2), "Cannot decode base64"),
        auth_malformed: say(501, (5, 5, 2), "Malformed authentication data"),
        auth_unknown_mechanism: say(504, (5, 5, 4), "Authentication mechanism not offered"),
        auth_line_too_long: say(500, (5, 5, 6), "Authentication exchange line too long"),

        sender_already: say(503, (5, 5, 1), "Sender already specified"),
        need_mail: say(503, (5, 5, 1), "MAIL first"),
        need_rcpt: say(554, (5, 5, 1), "No valid recipients"),
        bad_sender: say(501, (5, 1, 7), "Bad sender address"),
        bad_recipient: say(501, (5, 1, 3), "Bad recipient address"),
        smtputf8_needed: say(553, (5, 6, 7), "Address needs SMTPUTF8"),
        unknown_parameter: say(555, (5, 5, 4), "Unsupported parameter"),
        bad_parameter: say(501, (5, 5, 4), "Bad parameter"),
        too_many_recipients: say(452, (4, 5, 3), "Too many recipients"),
        too_large: say(552, (5, 3, 4), "Message too large"),
        bare_newline: say(
            550,
            (5, 6, 11),
            "Message contains a bare CR or LF; lines must end in CRLF",
        ),
        start_input: Reply::plain(354, "Start mail input; end with <CRLF>.<CRLF>"),

        bdat_not_offered: say(502, (5, 5, 1), "BDAT is not offered here"),
        bdat_size: say(501, (5, 5, 4), "Bad chunk size"),
        bdat_under_way: say(503, (5, 5, 1), "BDAT is under way"),
        binary_needs_bdat: say(503, (5, 5, 1), "BINARYMIME needs BDAT"),
        chunk_ok: say(250, (2, 0, 0), "{octets} octets received"),

        reset: say(250, (2, 0, 0), "OK"),
        noop: say(250, (2, 0, 0), "OK"),
        vrfy: say(252, (2, 0, 0), "Cannot verify, will try delivery"),
        expn: say(502, (5, 5, 1), "EXPN is not offered here"),
        help: say(214, (2, 0, 0), "RFC 5321"),
        goodbye: say(221, (2, 0, 0), "Bye"),

        unknown_command: say(500, (5, 5, 1), "Unknown command"),
        bad_syntax: say(501, (5, 5, 4), "Syntax error"),
        line_too_long: say(500, (5, 5, 2), "Line too long"),
        endless_line: say(421, (4, 7, 0), "Line without end, closing connection"),
        too_many_errors: say(421, (4, 7, 0), "Too many errors, closing connection"),
        http: say(421, (4, 7, 0), "This is SMTP, not HTTP"),
        tls_unexpected: say(
            421,
            (4, 7, 0),
            "TLS does not begin at once on this port; see STARTTLS",
        ),
    };
}
