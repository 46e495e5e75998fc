//! One part of a message, and what its header says of it (RFC 2045, RFC 2183).
//!
//! It promises that a header of any octets says something, and that what is kept of it is short.

use super::header;
use super::transfer::Transfer;
use mail_parser::{ContentType, MessageParser, MimeHeaders};
use std::ops::Range;

/// Characters of a name or a Content-ID that are kept.
const LONGEST_NAME: usize = 255;

/// A part that holds no others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// From the delimiter before it to that behind it; of a message without parts, all of it.
    pub place: Range<u64>,
    /// Where its header begins, behind the delimiter.
    pub header: u64,
    /// Its content, still encoded, without the line end that belongs to the delimiter.
    pub content: Range<u64>,
    /// How it is encoded.
    pub transfer: Transfer,
    /// Octets of the content when decoded.
    pub size: u64,
    /// It can stand as a file beside the message: nothing that a reader sees as the text, and its octets are clear.
    pub is_file: bool,
    /// Which of the containers it stands in; none is the message itself.
    pub within: Option<usize>,
    /// `type/subtype`, in lower case.
    pub content_type: String,
    /// Its file name.
    pub name: Option<String>,
    /// What the text calls it, without angle brackets.
    pub content_id: Option<String>,
    /// It is shown within the text.
    pub is_inline: bool,
}

/// What its parts are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each for itself.
    Mixed,
    /// The first is shown, the others belong to it.
    Related,
    /// One cannot go without the others: `alternative`, `report`.
    Bound,
}

/// What a header says of its part.
pub(super) struct Described {
    /// Lower case; `text/plain` where nothing is said.
    kind: String,
    boundary: Option<String>,
    pub transfer: Transfer,
    disposition: Option<String>,
    name: Option<String>,
    content_id: Option<String>,
}

impl Described {
    /// Reads it.
    pub fn read(header: &[u8]) -> Self {
        let whole = [header, b"\r\n"].concat();
        let parsed = MessageParser::new().with_mime_headers().parse_headers(&whole);
        let part = parsed.as_ref().and_then(|message| message.parts.first());
        let kind = part.and_then(|part| part.content_type());
        let text = |kind: &ContentType<'_>| {
            let subtype = kind.subtype().unwrap_or("octet-stream");
            short(&format!("{}/{subtype}", kind.ctype())).to_ascii_lowercase()
        };
        let transfer = part.and_then(|part| part.content_transfer_encoding());
        let transfer = match transfer.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            Some("base64") => Transfer::Base64,
            Some("quoted-printable") => Transfer::QuotedPrintable,
            _ => Transfer::Plain,
        };
        let name = part.and_then(|part| part.attachment_name());
        let disposition = part.and_then(|part| part.content_disposition());
        let content_id = part.and_then(|part| part.content_id());
        Self {
            kind: kind.map_or_else(|| "text/plain".to_owned(), text),
            boundary: kind.and_then(|kind| kind.attribute("boundary")).map(str::to_owned),
            transfer,
            disposition: disposition.map(|one| one.ctype().to_ascii_lowercase()),
            name: name.map(short).filter(|name| !name.is_empty()),
            content_id: content_id.map(|id| short(id.trim_matches(['<', '>']))),
        }
    }

    /// What it holds other parts as, and what parts them.
    pub fn container(&self) -> Option<(Kind, Vec<u8>)> {
        let subtype = self.kind.strip_prefix("multipart/")?;
        let boundary = self.boundary.as_ref().filter(|boundary| !boundary.is_empty())?;
        let kind = match subtype {
            "related" => Kind::Related,
            "alternative" | "report" => Kind::Bound,
            _ => Kind::Mixed,
        };
        Some((kind, boundary.as_bytes().to_vec()))
    }

    fn is_attached(&self) -> bool {
        self.disposition.as_deref() == Some("attachment")
    }

    /// S/MIME and PGP: a signature counts over the parts as they are. A signed file that is attached to a
    /// message is a file like any other.
    pub fn is_sealed(&self, is_message: bool) -> bool {
        match self.kind.as_str() {
            "multipart/signed" | "multipart/encrypted" => true,
            "application/pkcs7-mime" | "application/x-pkcs7-mime" => {
                is_message || !self.is_attached()
            }
            _ => false,
        }
    }

    /// Whether a reader sees it as the text, or would miss it there: the `nth` part of what is around it.
    pub fn is_text(&self, around: Option<Kind>, nth: usize) -> bool {
        let is_words = matches!(self.kind.as_str(), "text/plain" | "text/html")
            || self.kind.starts_with("multipart/");
        match around {
            _ if self.is_attached() => false,
            Some(Kind::Bound) => true,
            Some(Kind::Related) if nth == 1 => true,
            _ => is_words && (nth == 1 || self.name.is_none()),
        }
    }

    /// The part, but for where it is.
    pub fn into_part(self, around: Option<Kind>) -> Part {
        let is_shown = match self.disposition.as_deref() {
            Some("inline") => true,
            Some(_) => false,
            None => around == Some(Kind::Related),
        };
        Part {
            transfer: self.transfer,
            is_inline: is_shown && self.content_id.is_some(),
            content_type: self.kind,
            name: self.name,
            content_id: self.content_id,
            ..Part::default()
        }
    }
}

/// One line, cut.
fn short(text: &str) -> String {
    let clean = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(LONGEST_NAME).collect()
}

/// Where the fields stand that say of which kind the content is.
pub(super) fn describing(header: &[u8]) -> Vec<Range<u64>> {
    let mut at = 0;
    let places = header::fields(header).map(|field| {
        let begin = at;
        at += field.raw.len() as u64;
        (field, begin..at)
    });
    let is_describing =
        |name: &str| name.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("content-"));
    let own = places.filter(|(field, _)| is_describing(field.name)).map(|(_, place)| place);
    own.collect()
}
