//! What a server offers, read from its EHLO reply (RFC 5321 §4.1.1.1).
//!
//! Keywords count whatever their case, unknown ones are passed over. It never invents an offer: a
//! keyword with a malformed term is offered without the term.

use super::Reply;
use super::extension::Extension;

/// The offer of one server on one connection; forgotten at STARTTLS (RFC 3207 §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// What was offered, in the server's order.
    pub extensions: Vec<Extension>,
    /// SASL mechanisms, upper case, in the server's order.
    pub mechanisms: Vec<String>,
    /// Octets of one message at most, where SIZE says so (RFC 1870 §3: 0 means no fixed limit).
    pub max_size: Option<u64>,
}

impl Offer {
    /// Reads the reply to EHLO; its first line is a greeting and offers nothing.
    pub fn read(reply: &Reply) -> Self {
        let mut offer = Self::default();
        for line in reply.text.split('\n').skip(1) {
            offer.take(line);
        }
        offer
    }

    /// Whether it is offered.
    pub fn has(&self, extension: Extension) -> bool {
        self.extensions.contains(&extension)
    }

    /// Whether this SASL mechanism is offered; upper case.
    pub fn has_mechanism(&self, name: &str) -> bool {
        self.mechanisms.iter().any(|mechanism| mechanism == name)
    }

    fn take(&mut self, line: &str) {
        let line = line.trim().to_ascii_uppercase();
        // Old servers and old clients agree on `AUTH=LOGIN PLAIN`.
        let (keyword, terms) = line.split_once([' ', '=']).unwrap_or((&line, ""));
        let extension = match keyword {
            "AUTH" => Extension::Auth,
            "BINARYMIME" => Extension::BinaryMime,
            "CHUNKING" => Extension::Chunking,
            "DSN" => Extension::Dsn,
            "8BITMIME" => Extension::EightBitMime,
            "ENHANCEDSTATUSCODES" => Extension::EnhancedStatusCodes,
            "PIPELINING" => Extension::Pipelining,
            "SIZE" => Extension::Size,
            "SMTPUTF8" => Extension::SmtpUtf8,
            "STARTTLS" => Extension::StartTls,
            _ => return,
        };
        if !self.has(extension) {
            self.extensions.push(extension);
        }
        match extension {
            Extension::Auth => {
                for mechanism in terms.split_ascii_whitespace() {
                    if !self.has_mechanism(mechanism) {
                        self.mechanisms.push(mechanism.to_owned());
                    }
                }
            }
            Extension::Size => {
                let size = terms.trim().parse().ok().filter(|size| *size > 0);
                self.max_size = self.max_size.or(size);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Offer {
        Offer::read(&Reply::plain(250, text))
    }

    #[test]
    fn reads_what_exchange_offers_inside_tls() {
        let offer = read(
            "SY5P282CA0097.outlook.office365.com Hello [192.0.2.1]\nSIZE 157286400\nPIPELINING\nDSN\n\
             ENHANCEDSTATUSCODES\nAUTH LOGIN XOAUTH2\n8BITMIME\nBINARYMIME\nCHUNKING\nSMTPUTF8",
        );
        use Extension::*;
        for extension in [
            Size,
            Pipelining,
            Dsn,
            EnhancedStatusCodes,
            Auth,
            EightBitMime,
            BinaryMime,
            Chunking,
            SmtpUtf8,
        ] {
            assert!(offer.has(extension), "{extension:?}");
        }
        assert!(!offer.has(StartTls));
        assert_eq!(offer.max_size, Some(157_286_400));
        assert_eq!(offer.mechanisms, ["LOGIN", "XOAUTH2"]);
    }

    #[test]
    fn reads_every_spelling() {
        let table: &[(&str, Offer)] = &[
            ("h\nstarttls", Offer { extensions: vec![Extension::StartTls], ..Offer::default() }),
            ("h\nSize", Offer { extensions: vec![Extension::Size], ..Offer::default() }),
            ("h\nSIZE 0", Offer { extensions: vec![Extension::Size], ..Offer::default() }),
            ("h\nSIZE lots", Offer { extensions: vec![Extension::Size], ..Offer::default() }),
            ("h\nX-THING 5\nSTARTTLSX", Offer::default()),
            ("STARTTLS", Offer::default()),
            (
                "h\nAUTH=login plain\nAUTH  PLAIN xoauth2",
                Offer {
                    extensions: vec![Extension::Auth],
                    mechanisms: vec!["LOGIN".into(), "PLAIN".into(), "XOAUTH2".into()],
                    max_size: None,
                },
            ),
        ];
        for (text, offer) in table {
            assert_eq!(read(text), *offer, "{text:?}");
        }
    }
}
