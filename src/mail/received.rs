//! The `Received:` field we add (RFC 5321 §4.4), and the mail loops it gives away.

use super::{Id, header};
use std::net::IpAddr;
use std::time::SystemTime;

/// Own fields in one header beyond which a mail goes in circles.
const MOST_OWN: usize = 5;
/// Fields of anybody beyond which a mail goes in circles (RFC 5321 §6.3 wants 100 at least).
const MOST_OF_ALL: usize = 100;

/// Where a mail came from and who takes it.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// The client, unless nothing shall be told of it: its EHLO name and address.
    pub client: Option<(&'a str, Option<IpAddr>)>,
    /// Our name.
    pub hostname: &'a str,
    /// `ESMTP`, `ESMTPA`, `SMTP`, … (RFC 3848).
    pub protocol: &'a str,
    /// The queue id.
    pub id: Id,
    /// When it was taken.
    pub date: SystemTime,
}

impl Received<'_> {
    /// The whole field with its CRLF.
    pub fn field(&self) -> String {
        let from = match self.client {
            None => String::new(),
            Some((name, None)) => format!("from {} ", harmless(name)),
            Some((name, Some(address))) => {
                let literal = match address {
                    IpAddr::V4(address) => format!("[{address}]"),
                    IpAddr::V6(address) => format!("[IPv6:{address}]"),
                };
                format!("from {} ({literal})\r\n\t", harmless(name))
            }
        };
        format!(
            "Received: {from}by {} (submitd) with {} id {};\r\n\t{}\r\n",
            self.hostname,
            self.protocol,
            self.id,
            date(self.date)
        )
    }
}

/// The date-time of RFC 5322 §3.3, in UTC.
pub fn date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time).replace("GMT", "+0000")
}

/// Whether a mail with this header has come by too often.
pub fn is_loop(header: &[u8], hostname: &str) -> bool {
    let ours = format!("by {hostname} (submitd)");
    let mut own = 0;
    let mut all = 0;
    for field in header::fields(header).filter(|field| field.is("Received")) {
        all += 1;
        own += usize::from(memchr::memmem::find(field.raw, ours.as_bytes()).is_some());
    }
    own > MOST_OWN || all > MOST_OF_ALL
}

/// A client's name as a word that cannot break out of the field.
fn harmless(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || ".-_:[]".contains(c) { c } else { '?' })
        .take(255)
        .collect();
    if name.is_empty() { "unknown".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn received(name: &'static str) -> Received<'static> {
        Received {
            client: Some((name, Some([127, 0, 0, 1].into()))),
            hostname: "relay.contoso.com",
            protocol: "ESMTPA",
            id: Id::new(UNIX_EPOCH, 7),
            date: UNIX_EPOCH,
        }
    }

    #[test]
    fn writes_the_field() {
        assert_eq!(
            received("erp").field(),
            "Received: from erp ([127.0.0.1])\r\n\tby relay.contoso.com (submitd) with ESMTPA id \
             0000000000000007;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n"
        );
        let minimal = Received { client: None, ..received("erp") };
        assert!(minimal.field().starts_with("Received: by relay.contoso.com (submitd) with"));
    }

    #[test]
    fn a17_a_client_name_cannot_break_out() {
        let field = received("x\r\nBcc: y (").field();
        assert!(field.starts_with("Received: from x??Bcc:?y?? ([127.0.0.1])\r\n\tby"), "{field}");
        assert!(received("").field().contains("from unknown ("));
    }

    #[test]
    fn b25_loops_are_seen() {
        let ours = received("erp").field();
        assert!(!is_loop(ours.repeat(MOST_OWN).as_bytes(), "relay.contoso.com"));
        assert!(is_loop(ours.repeat(MOST_OWN + 1).as_bytes(), "relay.contoso.com"));
        assert!(!is_loop(ours.repeat(MOST_OWN + 1).as_bytes(), "other.contoso.com"));
        assert!(is_loop("Received: by x\r\n".repeat(101).as_bytes(), "relay.contoso.com"));
    }
}
