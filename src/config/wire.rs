//! How the connection to an upstream becomes safe, and how mail goes over it. Types only.

use super::value::words;

words!(UpstreamTls { "starttls" => StartTls, "implicit" => Implicit, "none" => None } later {});
words!(Chunking { "auto" => Auto, "off" => Off } later {
    "on" => "write \"auto\": it is used where the server offers it",
});

/// Whether BDAT (RFC 3030) carries small mail in one flight with its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunking {
    /// Where the server offers CHUNKING and PIPELINING.
    Auto,
    /// Never: DATA, except for binary mail.
    Off,
}

/// How the connection to the upstream becomes safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// TLS from the first octet (RFC 8314).
    Implicit,
    /// STARTTLS (RFC 3207), never optional.
    StartTls,
    /// Not at all: only to smart hosts, never where a token is used.
    None,
}
