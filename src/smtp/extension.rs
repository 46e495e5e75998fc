//! What a server offers in its EHLO reply.

use super::sasl::Mechanism;

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

impl Extension {
    /// The keyword as it stands in the EHLO reply.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::BinaryMime => "BINARYMIME",
            Self::Chunking => "CHUNKING",
            Self::Dsn => "DSN",
            Self::EightBitMime => "8BITMIME",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Pipelining => "PIPELINING",
            Self::Size => "SIZE",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::StartTls => "STARTTLS",
        }
    }

    /// The line of the EHLO reply, with the mechanisms behind AUTH and the octets behind SIZE.
    pub fn line(self, mechanisms: &[Mechanism], max_message_size: u64) -> String {
        let mut line = self.keyword().to_owned();
        match self {
            Self::Size => line.push_str(&format!(" {max_message_size}")),
            Self::Auth => {
                for mechanism in mechanisms {
                    line.push(' ');
                    line.push_str(mechanism.name());
                }
            }
            _ => {}
        }
        line
    }
}
