//! Reads what a mail program composed: subject, text, attachments, whatever their encoding.
//!
//! Of our own making, so that no part under test judges itself; only what the programs here write.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A mail or a part of one.
pub struct Part<'a> {
    header: &'a [u8],
    body: &'a [u8],
}

impl<'a> Part<'a> {
    /// Splits at the first empty line.
    pub fn new(octets: &'a [u8]) -> Self {
        match find(octets, b"\r\n\r\n") {
            Some(at) => Self { header: &octets[..at + 2], body: &octets[at + 4..] },
            None => Self { header: octets, body: b"" },
        }
    }

    /// A field's value, unfolded.
    pub fn field(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(self.header);
        let mut found: Option<String> = None;
        for line in text.split("\r\n") {
            if line.starts_with([' ', '\t']) {
                if let Some(value) = &mut found {
                    value.push_str(line);
                }
            } else if found.is_some() {
                break;
            } else if let Some((field, value)) = line.split_once(':') {
                found = field.eq_ignore_ascii_case(name).then(|| value.trim_start().to_owned());
            }
        }
        found
    }

    /// The subject with its encoded words read (RFC 2047).
    pub fn subject(&self) -> String {
        words(&self.field("Subject").unwrap_or_default())
    }

    /// The leaves: the mail itself, or the parts of a multipart.
    pub fn leaves(&self) -> Vec<Part<'a>> {
        let kind = self.field("Content-Type").unwrap_or_default();
        let lower = kind.to_ascii_lowercase();
        let Some(at) = lower.find("boundary=").filter(|_| lower.starts_with("multipart/")) else {
            return vec![Self { header: self.header, body: self.body }];
        };
        let rest = &kind[at + "boundary=".len()..];
        let boundary = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or(""),
            None => rest.split([';', ' ', '\t']).next().unwrap_or(""),
        };
        let mut parts = Vec::new();
        let mark = format!("--{boundary}");
        let mut rest = self.body;
        while let Some(at) = line_start(rest, mark.as_bytes()) {
            let after = &rest[at + mark.len()..];
            if after.starts_with(b"--") {
                break;
            }
            let begin = find(after, b"\r\n").map_or(after.len(), |at| at + 2);
            let after = &after[begin..];
            let end = line_start(after, mark.as_bytes()).unwrap_or(after.len());
            let part = &after[..end];
            parts.extend(Part::new(part.strip_suffix(b"\r\n").unwrap_or(part)).leaves());
            rest = &after[end..];
        }
        parts
    }

    /// The content without its transfer encoding.
    pub fn content(&self) -> Vec<u8> {
        let encoding = self.field("Content-Transfer-Encoding").unwrap_or_default();
        match encoding.trim().to_ascii_lowercase().as_str() {
            "base64" => {
                let text: Vec<u8> =
                    self.body.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
                STANDARD.decode(text).expect("base64")
            }
            "quoted-printable" => quoted_printable(self.body, false),
            _ => self.body.to_vec(),
        }
    }
}

/// Line ends as LF, none at the end: what composing programs may change.
pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).replace("\r\n", "\n").trim_end_matches('\n').to_owned()
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(octets, what)
}

fn line_start(octets: &[u8], mark: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(octets, mark).find(|&at| at == 0 || octets[at - 1] == b'\n')
}

fn quoted_printable(octets: &[u8], in_word: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'=' if rest.starts_with(b"\r\n") => rest = &rest[2..],
            b'=' => {
                let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                out.push(hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).expect("=XX"));
                rest = &rest[2..];
            }
            b'_' if in_word => out.push(b' '),
            other => out.push(other),
        }
    }
    out
}

/// Encoded words in a text; blanks between two of them go.
fn words(value: &str) -> String {
    let mut out = Vec::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(at) = rest.find("=?") {
        let mut parts = rest[at + 2..].splitn(4, '?');
        let (Some(_charset), Some(kind), Some(text), Some(tail)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            break;
        };
        if !(after_word && rest[..at].trim().is_empty()) {
            out.extend_from_slice(&rest.as_bytes()[..at]);
        }
        match kind {
            "B" | "b" => out.extend(STANDARD.decode(text).expect("base64 of a word")),
            _ => out.extend(quoted_printable(text.as_bytes(), true)),
        }
        rest = tail.strip_prefix('=').unwrap_or(tail);
        after_word = true;
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}
