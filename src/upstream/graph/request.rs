//! Where a request goes, and a message as base64 piece by piece. Pure.

use crate::config;
use crate::mail::Address;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::fmt::Write as _;
use url::Url;

/// The address of something of the mailbox: `…/users/{mailbox}/sendMail`.
///
/// None where root and mailbox make no address; the configuration sees to that.
pub fn address(graph: &config::Graph, mailbox: &Address, of: &str) -> Option<Url> {
    let root = graph.url.as_str().trim_end_matches('/');
    let owner =
        if graph.is_me { "me".to_owned() } else { format!("users/{}", escaped(mailbox.as_str())) };
    Url::parse(&format!("{root}/{owner}/{of}")).ok()
}

/// RFC 3986 §2.3, and `@`: `#EXT#`, `+` and `'` of user names would end or change the path.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~@".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}

/// Octets of so many as base64.
pub fn encoded_size(octets: u64) -> u64 {
    octets.div_ceil(3).saturating_mul(4)
}

/// Encodes a stream: what does not fill three octets waits for the next piece.
#[derive(Debug, Default)]
pub struct Encoder {
    rest: Vec<u8>,
}

impl Encoder {
    /// The code of what came so far and was not given yet; may be empty.
    pub fn take(&mut self, octets: &[u8]) -> Bytes {
        let missing = (3 - self.rest.len() % 3) % 3;
        let head = octets.len().min(missing);
        self.rest.extend_from_slice(&octets[..head]);
        if !self.rest.len().is_multiple_of(3) {
            return Bytes::new();
        }
        let octets = &octets[head..];
        let whole = octets.len() - octets.len() % 3;
        let mut out = String::with_capacity(4 + whole / 3 * 4);
        STANDARD.encode_string(&self.rest, &mut out);
        STANDARD.encode_string(&octets[..whole], &mut out);
        self.rest.clear();
        self.rest.extend_from_slice(&octets[whole..]);
        Bytes::from(out)
    }

    /// The end, with its padding.
    pub fn finish(self) -> Bytes {
        Bytes::from(STANDARD.encode(&self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Graph, Upload};
    use crate::mail::addressed::Strangers;

    fn graph(url: &str, is_me: bool) -> Graph {
        Graph {
            url: url.parse().expect("url"),
            scope: String::new(),
            recipients: Strangers::Refuse,
            upload: Upload::Off,
            max_size: 1,
            is_me,
        }
    }

    #[test]
    fn b24_addresses() {
        for (url, is_me, mailbox, expected) in [
            (
                "https://graph.microsoft.com/v1.0",
                false,
                "erp@contoso.com",
                "https://graph.microsoft.com/v1.0/users/erp@contoso.com/sendMail",
            ),
            (
                "https://graph.microsoft.us/v1.0/",
                true,
                "erp@contoso.com",
                "https://graph.microsoft.us/v1.0/me/sendMail",
            ),
            (
                "http://127.0.0.1:8/v1.0",
                false,
                "a'b+c#EXT#@x",
                "http://127.0.0.1:8/v1.0/users/a%27b%2Bc%23EXT%23@x/sendMail",
            ),
            (
                "https://x/v1.0",
                false,
                "a/../b?c@x",
                "https://x/v1.0/users/a%2F..%2Fb%3Fc@x/sendMail",
            ),
        ] {
            let mailbox = Address::parse(mailbox).expect("address");
            let url = address(&graph(url, is_me), &mailbox, "sendMail").expect("address");
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn pieces_of_any_size_make_the_same_code() {
        let whole: Vec<u8> = (0..200_u8).collect();
        for size in 1..=whole.len() {
            let mut encoder = Encoder::default();
            let mut out = Vec::new();
            for piece in whole.chunks(size) {
                out.extend_from_slice(&encoder.take(piece));
            }
            out.extend_from_slice(&encoder.finish());
            assert_eq!(out, STANDARD.encode(&whole).into_bytes(), "{size}");
        }
        for length in 0..10 {
            let code = STANDARD.encode(&whole[..length]);
            assert_eq!(encoded_size(length as u64), code.len() as u64);
        }
    }
}
