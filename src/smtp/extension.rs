//! What a server offers in its EHLO reply.

/// An extension by its keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// AUTH with the terms' mechanisms (RFC 4954).
    Auth,
    /// BINARYMIME (RFC 3030).
    BinaryMime,
    /// CHUNKING (RFC 3030).
    Chunking,
    /// DSN (RFC 3461).
    Dsn,
    /// 8BITMIME (RFC 6152).
    EightBitMime,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    EnhancedStatusCodes,
    /// PIPELINING (RFC 2920).
    Pipelining,
    /// SIZE (RFC 1870).
    Size,
    /// SMTPUTF8 (RFC 6531).
    SmtpUtf8,
    /// STARTTLS (RFC 3207).
    StartTls,
}
