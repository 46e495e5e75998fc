//! The parts of a message (RFC 2046), found while it passes by.
//!
//! It promises that memory grows neither with the message nor with its lines, that a message cut into pieces
//! anywhere has the same outline, and that where two readers might see different parts it says so. It takes
//! nothing apart; [`super::apart`] does.

use super::part::{Described, Kind, Part, describing};
use super::transfer::{Decoder, Transfer};
use std::ops::Range;

/// No longer line is a delimiter, or is held.
const LONGEST_LINE: usize = 1000;
/// Octets of one header at most; the front door takes no larger one.
const LARGEST_HEADER: usize = 512 * 1024 + 64 * 1024;
/// More parts are not told apart.
const MOST_PARTS: usize = 1000;
/// Parts within parts.
const DEEPEST: usize = 32;
/// Octets of a delimiter's own text; RFC 2046 §5.1.1 allows 70.
const LONGEST_BOUNDARY: usize = 200;
/// A whole message as parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Octets of the message.
    pub size: u64,
    /// Those that hold no others, in their order.
    pub parts: Vec<Part>,
    /// How many parts each container holds, containers included.
    pub containers: Vec<usize>,
    /// Fields of the message's header that describe its content, where it is a single part.
    pub described: Vec<Range<u64>>,
    /// Something in it is signed or encrypted.
    pub is_sealed: bool,
    /// Its parts are not the same to every reader, or too many.
    pub is_unclear: bool,
}

/// Finds the parts.
#[derive(Debug)]
pub struct Outline {
    found: Parts,
    /// Where the next line begins.
    at: u64,
    /// A line that is not whole yet.
    held: Vec<u8>,
    /// The line goes on: its begin was looked at.
    is_within_line: bool,
    open: Vec<Open>,
    now: Now,
    /// The delimiter before this part.
    delimiter: Range<u64>,
}

/// A container that has not ended.
#[derive(Debug)]
struct Open {
    boundary: Vec<u8>,
    kind: Kind,
    place: usize,
}

/// What is being read.
#[derive(Debug)]
enum Now {
    Header(Vec<u8>),
    Content(Box<Content>),
    /// Before the first part of a container, or behind its last.
    Aside,
}

/// A part under way.
#[derive(Debug)]
struct Content {
    part: Part,
    /// None once the code turned out to be none.
    decoder: Option<Decoder>,
    /// The last line end: it belongs to the delimiter, where one follows.
    line_end: &'static [u8],
    out: Vec<u8>,
}

impl Default for Outline {
    fn default() -> Self {
        Self {
            found: Parts::default(),
            at: 0,
            held: Vec::new(),
            is_within_line: false,
            open: Vec::new(),
            now: Now::Header(Vec::new()),
            delimiter: 0..0,
        }
    }
}

impl Outline {
    /// The next octets of the message.
    pub fn feed(&mut self, mut octets: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', octets) {
            let (line, rest) = octets.split_at(end + 1);
            octets = rest;
            if self.held.is_empty() {
                self.line(line);
            } else {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(line);
                self.line(&held);
                held.clear();
                self.held = held;
            }
        }
        self.held.extend_from_slice(octets);
        if self.held.len() > LONGEST_LINE + 1 {
            let mut held = std::mem::take(&mut self.held);
            // It may begin a line end.
            let rest = if held.ends_with(b"\r") { held.pop() } else { None };
            self.line(&held);
            held.clear();
            held.extend(rest);
            self.held = held;
        }
    }

    /// The end of the message.
    pub fn finish(mut self) -> Parts {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.line(&held);
        }
        self.end_header(self.at, false);
        self.end_part(self.at, false);
        let Self { mut found, at, .. } = self;
        found.size = at;
        found
    }

    /// One line with its end, or a piece of a long one.
    fn line(&mut self, line: &[u8]) {
        let begin = self.at;
        self.at += line.len() as u64;
        let is_begin = !std::mem::replace(&mut self.is_within_line, !line.ends_with(b"\n"));
        if is_begin && line.starts_with(b"--") && self.delimit(line, begin) {
            return;
        }
        match &mut self.now {
            Now::Header(_) if is_begin && line == b"\r\n" => self.end_header(self.at, true),
            Now::Header(header) => {
                let is_bare = line.ends_with(b"\n") && !line.ends_with(b"\r\n");
                if is_bare || header.len() + line.len() > LARGEST_HEADER {
                    self.found.is_unclear = true;
                } else {
                    header.extend_from_slice(line);
                }
            }
            Now::Content(content) => content.take(line),
            Now::Aside => {}
        }
    }

    /// Ends what a delimiter ends; gives whether the line is one.
    fn delimit(&mut self, line: &[u8], begin: u64) -> bool {
        let said = line[2..].trim_ascii_end();
        let is_short = line.len() <= LONGEST_LINE;
        let is = |open: &Open| is_short && said == open.boundary;
        let is_last = |open: &Open| {
            is_short && said.strip_suffix(b"--").is_some_and(|said| said == open.boundary)
        };
        let Some(depth) = self.open.iter().rposition(|open| is(open) || is_last(open)) else {
            // RFC 2046 §5.1.1 lets a reader take what only begins so for a delimiter as well.
            self.found.is_unclear |=
                self.open.iter().any(|open| line[2..].starts_with(&open.boundary));
            return false;
        };
        let is_last = !is(&self.open[depth]);
        self.end_header(begin, false);
        self.end_part(begin, true);
        self.open.truncate(if is_last { depth } else { depth + 1 });
        self.delimiter = begin..self.at;
        self.now = if is_last { Now::Aside } else { Now::Header(Vec::new()) };
        true
    }

    /// Closes the part under way; a delimiter takes the line end before it.
    fn end_part(&mut self, end: u64, is_delimited: bool) {
        let Now::Content(content) = std::mem::replace(&mut self.now, Now::Aside) else { return };
        let Content { mut part, decoder, line_end, mut out } = *content;
        let (cut, code) = if is_delimited { (line_end.len(), &b""[..]) } else { (0, line_end) };
        part.content.end = (end - cut as u64).max(part.content.start);
        part.place.end = end;
        let ended = decoder.map(|mut decoder| {
            decoder.take(code, &mut out)?;
            decoder.finish(&mut out)
        });
        part.is_file &= matches!(ended, Some(Ok(())));
        part.size += out.len() as u64;
        self.found.parts.push(part);
    }

    /// Reads a header that has ended, and what begins at this octet; `is_whole`: an empty line ended it.
    fn end_header(&mut self, begin: u64, is_whole: bool) {
        let Now::Header(header) = &mut self.now else { return };
        let header = std::mem::take(header);
        self.now = Now::Aside;
        let within = self.open.last().map(|open| open.place);
        let nth = within.map(|place| {
            self.found.containers[place] += 1;
            self.found.containers[place]
        });
        if self.found.parts.len() + self.found.containers.len() >= MOST_PARTS {
            self.found.is_unclear = true;
            return;
        }
        let around = self.open.last().map(|open| open.kind);
        let described = Described::read(&header);
        let is_message = within.is_none();
        self.found.is_sealed |= described.is_sealed(is_message);
        if let Some((kind, boundary)) = described.container() {
            self.found.is_unclear |= described.transfer != Transfer::Plain;
            if self.open.len() >= DEEPEST || boundary.len() > LONGEST_BOUNDARY {
                // Not looked into: each line would be compared with each of them.
                self.found.is_unclear = true;
                return;
            }
            self.open.push(Open { boundary, kind, place: self.found.containers.len() });
            self.found.containers.push(0);
            return;
        }
        if is_message {
            self.found.described = describing(&header);
        }
        let has_header = is_whole && !header.is_empty();
        let part = Part {
            place: self.delimiter.start..begin,
            header: self.delimiter.end,
            content: begin..begin,
            within,
            is_file: has_header && !described.is_text(around, nth.unwrap_or(1)),
            ..described.into_part(around)
        };
        let decoder = Some(Decoder::new(part.transfer));
        self.now =
            Now::Content(Box::new(Content { part, decoder, line_end: b"", out: Vec::new() }));
    }
}

impl Content {
    fn take(&mut self, line: &[u8]) {
        let (text, line_end): (_, &'static [u8]) = match line {
            [text @ .., b'\r', b'\n'] => (text, b"\r\n"),
            [text @ .., b'\n'] => (text, b"\n"),
            text => (text, b""),
        };
        let before = std::mem::replace(&mut self.line_end, line_end);
        let Some(decoder) = &mut self.decoder else { return };
        let taken =
            decoder.take(before, &mut self.out).and_then(|()| decoder.take(text, &mut self.out));
        if taken.is_err() {
            self.decoder = None;
        }
        self.part.size += self.out.len() as u64;
        self.out.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MessageParser;

    fn outline(message: &[u8], size: usize) -> Parts {
        let mut outline = Outline::default();
        for piece in message.chunks(size) {
            outline.feed(piece);
        }
        outline.finish()
    }

    const NESTED: &str = "From: a@x\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"=_o\"\r\n\r\npreamble\r\n--=_o\r\n\
        Content-Type: multipart/related; boundary=\"=_o1\"\r\n\r\n--=_o1\r\nContent-Type: multipart/alternative; boundary=B\r\n\r\n\
        --B\r\n\r\nplain\r\n--B  \r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<b>=C3=BC</b>\r\n--B--\r\n\r\n\
        --=_o1\r\nContent-Type: image/png\r\nContent-ID: <1@x>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0=\r\n\r\n--=_o1--\r\n\
        --=_o\r\nContent-Type: application/pdf; name*=utf-8''%C3%BC.pdf\r\nContent-Disposition: attachment\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nSGVs\r\nbG8=\r\n\
        --=_o\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/signed; boundary=i\r\n\r\n--i\r\n\r\nx\r\n--i--\r\n\
        --=_o--\r\nepilogue\r\n";

    #[test]
    fn b24_parts_are_found_with_what_they_are() {
        let found = outline(NESTED.as_bytes(), NESTED.len());
        assert!(!found.is_unclear && !found.is_sealed, "{found:?}");
        assert_eq!(found.containers, [3, 2, 2]);
        assert_eq!(found.size, NESTED.len() as u64);
        let content = |part: &Part| &NESTED[part.content.start as usize..part.content.end as usize];
        let short: Vec<_> = found
            .parts
            .iter()
            .map(|part| (part.content_type.as_str(), content(part), part.size, part.is_file))
            .collect();
        let inner = "Subject: in\r\nContent-Type: multipart/signed; boundary=i\r\n\r\n--i\r\n\r\nx\r\n--i--";
        assert_eq!(
            short,
            [
                ("text/plain", "plain", 5, false),
                ("text/html", "<b>=C3=BC</b>", 9, false),
                ("image/png", "iVBORw0=\r\n", 5, true),
                ("application/pdf", "SGVs\r\nbG8=", 5, true),
                ("message/rfc822", inner, inner.len() as u64, true),
            ]
        );
        assert_eq!(found.parts[2].content_id.as_deref(), Some("1@x"));
        assert!(found.parts[2].is_inline && !found.parts[3].is_inline);
        assert_eq!(found.parts[3].name.as_deref(), Some("\u{fc}.pdf"));
        for part in &found.parts {
            let place = &NESTED[part.place.start as usize..part.place.end as usize];
            assert!(place.starts_with("--") && place.ends_with("\r\n"), "{place:?}");
            assert!(NESTED[part.place.end as usize..].starts_with("--"));
        }
    }

    #[test]
    fn b24_pieces_of_any_size_have_the_same_outline() {
        let long = format!("{NESTED}{}\r\n--=_o\r\n\r\n{}", "y".repeat(2500), "z".repeat(3000));
        let wide = |end: &str| {
            NESTED.replacen("--=_o\r\n", &format!("--=_o{}{end}\r\n", " ".repeat(1500)), 2)
        };
        for message in [NESTED, &long, &wide(""), &wide("x")] {
            let whole = outline(message.as_bytes(), message.len());
            for size in 1..200 {
                assert_eq!(outline(message.as_bytes(), size), whole, "{size}");
            }
        }
        for end in 0..NESTED.len() {
            let cut = &NESTED.as_bytes()[..end];
            let found = outline(cut, 7);
            assert_eq!(found.size, end as u64);
            for part in &found.parts {
                assert!(
                    part.place.start <= part.header && part.header <= part.content.start,
                    "{end}"
                );
                assert!(part.content.start <= part.content.end, "{end}");
                assert!(
                    part.content.end <= part.place.end && part.place.end <= end as u64,
                    "{end}"
                );
            }
        }
    }

    /// The second reader, which does the same for whole messages in memory.
    #[test]
    fn b24_another_reader_finds_the_same_parts() {
        let parsed = MessageParser::default().parse(NESTED).expect("parsed");
        let theirs: Vec<(usize, usize)> = parsed
            .parts
            .iter()
            .filter(|part| !matches!(part.body, mail_parser::PartType::Multipart(_)))
            .map(|part| (part.offset_body as usize, part.offset_end as usize))
            .collect();
        let found = outline(NESTED.as_bytes(), 100);
        let place = |part: &Part| (part.content.start as usize, part.content.end as usize);
        assert_eq!(found.parts.iter().map(place).collect::<Vec<_>>(), theirs);
    }

    #[test]
    fn what_is_sealed_or_unclear_is_told() {
        let with = |head: &str, part: &str| {
            format!(
                "{head}\r\n\r\n--B\r\n\r\ntext\r\n--B\r\n{part}\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\nxx\r\n--B--\r\n"
            )
        };
        let mixed = "Content-Type: multipart/mixed; boundary=B";
        for (message, is_sealed, is_unclear) in [
            (with(mixed, "Content-Type: application/pdf"), false, false),
            (with(&mixed.replace("mixed", "signed"), "Content-Type: application/pgp-signature"), true, false),
            (with(&mixed.replace("mixed", "encrypted"), "Content-Type: application/pgp-encrypted"), true, false),
            // A signed invoice is a file like any other; an S/MIME part that is shown is not.
            (with(mixed, "Content-Type: application/pkcs7-mime; name=a.xml.p7m"), false, false),
            ("Content-Type: application/pkcs7-mime\r\nContent-Disposition: attachment\r\n\r\nMII=\r\n".to_owned(), true, false),
            (with(mixed, "Content-Type: x/y").replace("xx\r\n", "--Bx\r\n"), false, true),
            (with(mixed, "Content-Type: x/y").replace("Disposition", "Disposition\n"), false, true),
            (with(&format!("{mixed}\r\nContent-Transfer-Encoding: base64"), "Content-Type: x/y"), false, true),
            (format!("{mixed}\r\n\r\n{}", "--B\r\n\r\n\r\n".repeat(MOST_PARTS + 1)), false, true),
            (format!("{mixed}\r\n\r\n{}", format!("--B\r\n{mixed}\r\n\r\n").repeat(DEEPEST + 1)), false, true),
        ] {
            let found = outline(message.as_bytes(), 50);
            assert_eq!((found.is_sealed, found.is_unclear), (is_sealed, is_unclear), "{message:?}");
        }
    }

    #[test]
    fn what_a_reader_sees_as_the_text_is_no_file() {
        let many = |kind: &str, first: &str, second: &str| {
            let message = format!(
                "Content-Type: multipart/{kind}; boundary=B\r\n\r\n--B\r\n{first}\r\n\r\na\r\n--B\r\n{second}\r\n\r\nb\r\n--B--\r\n"
            );
            let found = outline(message.as_bytes(), 50);
            found.parts.iter().map(|part| part.is_file).collect::<Vec<_>>()
        };
        let (text, html) = ("Content-Type: text/plain", "Content-Type: text/html");
        let (csv, calendar) = ("Content-Type: text/csv", "Content-Type: text/calendar");
        let image = "Content-Type: image/png; name=a.png";
        let attached = "Content-Type: text/plain\r\nContent-Disposition: attachment";
        for (kind, first, second, expected) in [
            ("mixed", text, csv, [false, true]),
            ("mixed", text, text, [false, false]),
            ("mixed", text, attached, [false, true]),
            ("mixed", text, "Content-Type: text/plain; name=a.txt", [false, true]),
            ("mixed", image, image, [true, true]),
            ("alternative", text, html, [false, false]),
            ("alternative", html, calendar, [false, false]),
            (
                "alternative",
                html,
                "Content-Type: text/calendar\r\nContent-Disposition: attachment",
                [false, true],
            ),
            ("related", html, image, [false, true]),
            ("related", image, image, [false, true]),
            ("report", text, "Content-Type: message/delivery-status", [false, false]),
            (
                "mixed",
                text,
                "X: 1\r\nContent-Transfer-Encoding: base64\r\nContent-Type: x/y\r\n\r\n=A",
                [false, false],
            ),
        ] {
            assert_eq!(many(kind, first, second), expected, "{kind} {first} {second}");
        }
    }
}
