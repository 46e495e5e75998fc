//! A mail address as it stands in an envelope.
//!
//! It promises that the text is kept byte for byte as the client wrote it (quotes and case too), that
//! it holds no control character, no blank outside quotes and no angle bracket outside quotes, so it
//! may be written into a command line. It does not say whether the mailbox exists.

use serde::{Deserialize, Serialize};

/// The longest local part we take: RFC 5321 §4.5.3.1.1 says 64, Exchange and old programs go further.
const LONGEST_LOCAL: usize = 256;
/// The longest address: RFC 5321 §4.5.3.1.3 (a path of 256 octets with its brackets) with room for UTF-8.
const LONGEST: usize = 512;

/// An address without its angle brackets: `user@domain`, or a bare local part such as `root`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    text: Box<str>,
    /// Index of the `@` that parts local part and domain; the length of `text` where there is none.
    at: usize,
}

/// Why a text is no address. The message is fit for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("empty address")]
    Empty,
    /// Longer than any server takes.
    #[error("address too long")]
    TooLong,
    /// A control character, a blank or a bracket where none may be.
    #[error("character not allowed in an address")]
    BadCharacter,
    /// A quoted local part without its end.
    #[error("unbalanced quotes")]
    Quotes,
    /// Nothing before the `@`, or nothing after it, or a domain that can be none.
    #[error("bad domain or local part")]
    Parts,
}

impl Address {
    /// Takes `user@domain` or a bare local part.
    ///
    /// # Errors
    /// [`AddressError`] where the text could not stand in a command line or is clearly no address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > LONGEST {
            return Err(AddressError::TooLong);
        }
        let at = split(text)?;
        let (local, domain) = (&text[..at], text.get(at + 1..));
        if local.is_empty() || domain.is_some_and(|domain| !is_domain(domain)) {
            return Err(AddressError::Parts);
        }
        if local.len() > LONGEST_LOCAL {
            return Err(AddressError::TooLong);
        }
        Ok(Self { text: text.into(), at })
    }

    /// The whole text, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the `@`, quotes included.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// What stands behind the `@`, where there is one.
    pub fn domain(&self) -> Option<&str> {
        self.text.get(self.at + 1..)
    }

    /// Whether sending it needs SMTPUTF8 (RFC 6531 §3.1).
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }

    /// Whether both name the same mailbox as Exchange sees it: case does not count.
    pub fn is_same_mailbox(&self, other: &Address) -> bool {
        if self.text.is_ascii() && other.text.is_ascii() {
            return self.text.eq_ignore_ascii_case(&other.text);
        }
        self.text.to_lowercase() == other.text.to_lowercase()
    }
}

/// The index of the parting `@`, or the text's length; checks quotes and characters on the way.
fn split(text: &str) -> Result<usize, AddressError> {
    let mut at = None;
    let mut quoted = false;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        if c.is_control() {
            return Err(AddressError::BadCharacter);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if at.is_none() => quoted = !quoted,
            _ if quoted => {}
            // A second one would read otherwise elsewhere: behind `@a:` as the address of a source route.
            '@' if at.is_none() => at = Some(index),
            '@' | ' ' | '<' | '>' | ',' | ';' | '"' | '\\' => {
                return Err(AddressError::BadCharacter);
            }
            _ => {}
        }
    }
    if quoted {
        return Err(AddressError::Quotes);
    }
    Ok(at.unwrap_or(text.len()))
}

/// Sloppy on purpose: underscores and literals occur in real networks.
fn is_domain(domain: &str) -> bool {
    if let Some(literal) = domain.strip_prefix('[') {
        return literal.len() > 1 && literal.ends_with(']');
    }
    !domain.is_empty()
        && domain.len() <= 255
        && domain
            .trim_end_matches('.')
            .split('.')
            .all(|label| !label.is_empty() && label.len() <= 63)
        && domain
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_') || !c.is_ascii())
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.text.into()
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_real_programs_write() {
        for (text, local, domain) in [
            ("a@b.example", "a", Some("b.example")),
            ("root", "root", None),
            ("root@host_with_underscore", "root", Some("host_with_underscore")),
            ("\"a b\"@c.example", "\"a b\"", Some("c.example")),
            ("\"a@b\"@c.example", "\"a@b\"", Some("c.example")),
            ("\"a\\\"b\"@c.example", "\"a\\\"b\"", Some("c.example")),
            ("a@[127.0.0.1]", "a", Some("[127.0.0.1]")),
            ("a@[IPv6:::1]", "a", Some("[IPv6:::1]")),
            ("o'brien+tag@c.example", "o'brien+tag", Some("c.example")),
            ("grün@bäcker.example", "grün", Some("bäcker.example")),
            ("/o=x/ou=y@c.example", "/o=x/ou=y", Some("c.example")),
            ("a..b@c.example", "a..b", Some("c.example")),
            ("a@c.example.", "a", Some("c.example.")),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!((address.local(), address.domain()), (local, domain), "{text}");
            assert_eq!(address.as_str(), text);
        }
    }

    #[test]
    fn refuses_what_could_harm_or_cannot_be_delivered() {
        for (text, error) in [
            ("", AddressError::Empty),
            ("a\r\nRCPT@b.example", AddressError::BadCharacter),
            ("a b@c.example", AddressError::BadCharacter),
            ("a>@c.example", AddressError::BadCharacter),
            ("a@b@c.example", AddressError::BadCharacter),
            ("@a:b@c.example", AddressError::BadCharacter),
            ("\"a@c.example", AddressError::Quotes),
            ("@c.example", AddressError::Parts),
            ("a@", AddressError::Parts),
            ("a@b..example", AddressError::Parts),
            ("a@[]", AddressError::Parts),
            ("a\u{0}b@c.example", AddressError::BadCharacter),
            ("\"a\u{7f}b\"@c.example", AddressError::BadCharacter),
        ] {
            assert_eq!(Address::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@b", "a".repeat(600))), Err(AddressError::TooLong));
    }

    #[test]
    fn case_does_not_part_mailboxes() {
        let (a, b) = (Address::parse("Erp@Contoso.com"), Address::parse("erp@contoso.COM"));
        assert!(a.expect("a").is_same_mailbox(&b.expect("b")));
    }
}
