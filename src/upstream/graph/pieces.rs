//! A large message taken apart: what goes as the draft, and the parts that are uploaded to it. Pure.
//!
//! It promises that what stays is the message to the octet but for the parts that were cut out, that a part's
//! octets are those which were encoded in it, and that nothing signed or encrypted is taken apart.

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use std::ops::Range;

/// A message taken apart.
#[derive(Debug)]
pub(super) struct Apart {
    /// The message without the parts.
    pub message: Vec<u8>,
    /// The parts, in their order.
    pub parts: Vec<Part>,
}

/// An attachment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its file name.
    pub name: String,
    /// `type/subtype`.
    pub content_type: String,
    /// What the text of the message calls it, without angle brackets.
    pub content_id: Option<String>,
    /// It is shown within the text.
    pub is_inline: bool,
    /// Its octets, decoded.
    pub octets: Vec<u8>,
}

/// Cuts out the largest attachments until at most so many octets are left.
///
/// # Errors
/// Why it cannot be done, fit for a peer.
pub(super) fn take_apart(raw: &[u8], most: u64) -> Result<Apart, &'static str> {
    let message = MessageParser::default().parse(raw).ok_or("its parts cannot be read")?;
    if message.parts.iter().any(is_sealed) {
        return Err("it is signed or encrypted, and cannot be taken apart");
    }
    let mut found: Vec<(usize, Range<usize>)> = Vec::new();
    for (index, part) in message.parts.iter().enumerate().skip(1) {
        if !is_text(&message, index) && !matches!(part.body, PartType::Multipart(_)) {
            found.push((index, place(raw, part)?));
        }
    }
    found.sort_by_key(|(_, place)| std::cmp::Reverse(place.len()));
    let mut left = raw.len() as u64;
    let enough = found.iter().position(|(_, place)| {
        let fits = left <= most;
        left -= if fits { 0 } else { place.len() as u64 };
        fits
    });
    if left > most {
        return Err("its text alone is larger than one request takes");
    }
    found.truncate(enough.unwrap_or(found.len()));
    found.sort_by_key(|(_, place)| place.start);
    let mut rest = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
    let mut parts = Vec::new();
    let mut at = 0;
    for (index, place) in found {
        let before = raw.get(at..place.start).ok_or("its parts lie within each other")?;
        rest.extend_from_slice(before);
        at = place.end;
        let part = message.parts.get(index).ok_or("its parts cannot be read")?;
        parts.push(attachment(raw, part, parts.len() + 1)?);
    }
    rest.extend_from_slice(raw.get(at..).unwrap_or_default());
    Ok(Apart { message: rest, parts })
}

/// S/MIME and PGP: a signature counts over the parts as they are.
fn is_sealed(part: &MessagePart<'_>) -> bool {
    part.content_type().is_some_and(|kind| {
        let subtype = kind.subtype().unwrap_or_default().to_ascii_lowercase();
        ["signed", "encrypted", "pkcs7-mime", "x-pkcs7-mime"].contains(&subtype.as_str())
    })
}

/// Whether it is what a reader sees as the message's text.
fn is_text(message: &Message<'_>, index: usize) -> bool {
    let is = |all: &[u32]| all.iter().any(|one| *one as usize == index);
    let attached = is(&message.attachments);
    !attached && (is(&message.text_body) || is(&message.html_body))
}

/// From the delimiter before a part to that behind it (RFC 2046 §5.1.1).
fn place(raw: &[u8], part: &MessagePart<'_>) -> Result<Range<usize>, &'static str> {
    const UNCLEAR: &str = "its parts cannot be told apart";
    let header = part.offset_header as usize;
    let before = raw.get(..header).and_then(|raw| raw.strip_suffix(b"\r\n")).ok_or(UNCLEAR)?;
    let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let mut end = part.offset_end as usize;
    while raw.get(end..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
        end += 2;
    }
    let is_delimiter = |at: usize| raw.get(at..).is_some_and(|rest| rest.starts_with(b"--"));
    if start < header && is_delimiter(start) && is_delimiter(end) {
        Ok(start..end)
    } else {
        Err(UNCLEAR)
    }
}

fn attachment(raw: &[u8], part: &MessagePart<'_>, number: usize) -> Result<Part, &'static str> {
    let body = raw.get(part.offset_body as usize..part.offset_end as usize);
    let body = body.ok_or("its parts cannot be read")?;
    let octets = match part.encoding {
        Encoding::Base64 => base64_decode(body).ok_or("an attachment is no base64")?,
        Encoding::QuotedPrintable => {
            quoted_printable_decode(body).ok_or("an attachment is no quoted-printable")?
        }
        Encoding::None => body.to_vec(),
    };
    let kind = part.content_type();
    let content_type = kind.map_or_else(
        || "application/octet-stream".to_owned(),
        |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("octet-stream")),
    );
    let ending = if content_type.eq_ignore_ascii_case("message/rfc822") { ".eml" } else { "" };
    let name = part.attachment_name().filter(|name| !name.trim().is_empty());
    let content_id = part.content_id().map(|id| id.trim_matches(['<', '>']).to_owned());
    Ok(Part {
        name: name.map_or_else(|| format!("attachment-{number}{ending}"), str::to_owned),
        is_inline: part.content_disposition().is_some_and(|kind| kind.is_inline())
            && content_id.is_some(),
        content_type,
        content_id,
        octets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn base64_lines(octets: &[u8]) -> String {
        let code = STANDARD.encode(octets);
        let lines: Vec<&str> =
            code.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        lines.join("\r\n")
    }

    fn message(first: &[u8], second: &str) -> String {
        format!(
            "From: a@x\r\nTo: b@y\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"B\"\r\n\r\n\
             preamble\r\n--B\r\nContent-Type: text/plain\r\n\r\nHello\r\n\
             --B\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"a.pdf\"\r\n\r\n{}\r\n\
             --B\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=b.csv\r\n\r\n{second}\r\n\
             --B--\r\n",
            base64_lines(first)
        )
    }

    #[test]
    fn b24_the_largest_parts_are_cut_out_and_the_rest_stays() {
        let (pdf, csv) = (vec![7; 5000], "a;b\r\nc;\u{e4}".to_owned());
        let raw = message(&pdf, &csv);
        let apart = take_apart(raw.as_bytes(), 1000).expect("taken apart");
        assert_eq!(apart.parts.len(), 1);
        assert_eq!(apart.parts[0].octets, pdf);
        assert_eq!(
            (apart.parts[0].name.as_str(), apart.parts[0].content_type.as_str()),
            ("a.pdf", "application/pdf")
        );
        let rest = String::from_utf8(apart.message).expect("text");
        let start = raw.find("--B\r\nContent-Type: application/pdf").expect("there");
        let end = raw.find("--B\r\nContent-Type: text/csv").expect("there");
        assert_eq!(rest, format!("{}{}", &raw[..start], &raw[end..]));
        let apart = take_apart(raw.as_bytes(), rest.len() as u64 - 1).expect("taken apart");
        assert_eq!(apart.parts.len(), 2);
        assert_eq!(apart.parts[1].octets, csv.as_bytes());
        assert!(String::from_utf8(apart.message).expect("text").ends_with("Hello\r\n--B--\r\n"));
    }

    #[test]
    fn what_cannot_be_taken_apart_is_told() {
        let plain = format!("From: a@x\r\n\r\n{}\r\n", "x".repeat(5000));
        assert!(take_apart(plain.as_bytes(), 1000).is_err_and(|why| why.contains("text alone")));
        let signed = message(&[7; 5000], "x").replace("multipart/mixed", "multipart/signed");
        assert!(take_apart(signed.as_bytes(), 1000).is_err_and(|why| why.contains("signed")));
        let sealed = message(&[7; 5000], "x").replace("application/pdf", "application/pkcs7-mime");
        assert!(take_apart(sealed.as_bytes(), 1000).is_err());
    }

    #[test]
    fn b24_a_message_cut_anywhere_is_taken_apart_or_refused() {
        let raw = message(&[9; 900], "x;y");
        for end in 0..raw.len() {
            let cut = &raw.as_bytes()[..end];
            if let Ok(apart) = take_apart(cut, 300) {
                assert!(apart.message.len() <= cut.len(), "{end}");
            }
        }
    }
}
