//! A reply: code, enhanced code and text (RFC 5321 §4.2, RFC 2034, RFC 3463), and how it is read.
//!
//! [`Reader`] takes octets as they come and gives whole replies. It promises a bound on what it keeps
//! whatever the peer sends, a text without control characters (only `\n` between lines) so that it may be
//! logged, stored and passed on, and codes exactly as they were sent. It judges nothing.

use std::borrow::Cow;

/// A reply of a server. Text of several lines holds `\n` between them.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced status code, where there is one. Not in greetings, EHLO and 3xx replies.
    pub enhanced: Option<Enhanced>,
    /// What a person reads, without the codes.
    pub text: Cow<'static, str>,
}

/// An enhanced status code, `class.subject.detail` (RFC 3463 §2). Exchange uses details of three digits
/// and more (`4.7.500`, `5.7.708`), so nothing is clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl Reply {
    /// A reply with an enhanced code.
    pub const fn new(code: u16, enhanced: Enhanced, text: &'static str) -> Self {
        Self { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    /// A reply without one.
    pub const fn plain(code: u16, text: &'static str) -> Self {
        Self { code, enhanced: None, text: Cow::Borrowed(text) }
    }
}

impl Reply {
    /// 2xx: done.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx: not now.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: not so.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The command itself is not understood or not known (RFC 5321 §4.2.4).
    pub fn is_no_command(&self) -> bool {
        matches!(self.code, 500..=504)
    }
}

/// What is kept of one line. RFC 5321 §4.5.3.1.5 says 512 octets; Exchange's SendAsDenied line with its
/// diagnostics is longer than 1,500.
const LINE_KEPT: usize = 8 * 1024;
/// A line without an end after this many octets is no line.
const LINE_LONGEST: usize = 64 * 1024;
/// Lines of one reply.
const LINES_MOST: usize = 100;
/// What is kept of one reply's text.
const TEXT_KEPT: usize = 64 * 1024;

/// Why octets are no reply. After it the connection is of no use: the places of answers are lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line that does not begin with a code of 200 to 599 and a blank, a hyphen or nothing.
    #[error("a line is no reply: {0:?}")]
    NoCode(String),
    /// A continuation line with another code (RFC 5321 §4.2.1).
    #[error("one reply with two codes, {0} and {1}")]
    TwoCodes(u16, u16),
    /// More lines than anybody needs.
    #[error("a reply of more than {LINES_MOST} lines")]
    TooManyLines,
    /// A line that does not end.
    #[error("a reply line of more than {LINE_LONGEST} octets")]
    EndlessLine,
}

/// Reads replies from octets that come in any portions.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    /// Octets of the line so far, those not kept too.
    length: usize,
    lines: usize,
    reply: Option<Reply>,
    text: String,
}

impl Reader {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a reply has begun and not ended.
    pub fn is_midway(&self) -> bool {
        self.length > 0 || self.reply.is_some()
    }

    /// Takes octets from the front of `input`, up to the end of one reply at most.
    ///
    /// # Errors
    /// [`ReplyError`]; do not call again after it.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while !input.is_empty() {
            let end = memchr::memchr(b'\n', input);
            let (piece, rest) = input.split_at(end.map_or(input.len(), |end| end + 1));
            *input = rest;
            self.length += piece.len();
            let room = LINE_KEPT.saturating_sub(self.line.len());
            let piece = &piece[..piece.len().min(room)];
            if self.length > LINE_LONGEST {
                return Err(ReplyError::EndlessLine);
            }
            if end.is_none() {
                self.line.extend_from_slice(piece);
                return Ok(None);
            }
            self.length = 0;
            // Mostly it came whole, and is read where it lies.
            let reply = if self.line.is_empty() {
                self.take_line(piece)?
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(piece);
                self.take_line(&line)?
            };
            if reply.is_some() {
                return Ok(reply);
            }
        }
        Ok(None)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((code, is_last, text)) = split_line(line) else {
            return Err(ReplyError::NoCode(printable(&line[..line.len().min(80)]).into_owned()));
        };
        self.lines += 1;
        if self.lines > LINES_MOST {
            return Err(ReplyError::TooManyLines);
        }
        let first = self.reply.is_none();
        let reply = self.reply.get_or_insert(Reply::plain(code, ""));
        if reply.code != code {
            return Err(ReplyError::TwoCodes(reply.code, code));
        }
        let text = printable(text);
        let mut text = text.as_ref();
        if let Some((enhanced, rest)) = split_enhanced(code, text) {
            // It stands in every line (RFC 2034 §4); a line with another one keeps it as text.
            if *reply.enhanced.get_or_insert(enhanced) == enhanced {
                text = rest;
            }
        }
        if !first {
            self.text.push('\n');
        }
        let room = TEXT_KEPT.saturating_sub(self.text.len());
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        if !is_last {
            return Ok(None);
        }
        self.lines = 0;
        let text = std::mem::take(&mut self.text);
        Ok(self.reply.take().map(|reply| Reply { text: Cow::Owned(text), ..reply }))
    }
}

/// Code, whether it is the last line, and the text.
fn split_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code =
        std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

/// The enhanced code at the front of a text and what follows it. Its class should be the reply's
/// (RFC 2034 §4); where it is not, both stay as they were sent.
fn split_enhanced(code: u16, text: &str) -> Option<(Enhanced, &str)> {
    if code / 100 == 3 {
        return None;
    }
    let (token, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some((token.parse().ok()?, rest))
}

/// Text without control characters, whatever the octets were.
fn printable(octets: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(octets);
    if !text.contains(char::is_control) {
        return text;
    }
    let replace = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(replace).collect()
}

/// The text is no enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code")]
pub struct EnhancedError;

impl std::str::FromStr for Enhanced {
    type Err = EnhancedError;

    fn from_str(text: &str) -> Result<Self, EnhancedError> {
        let mut parts = text.split('.').map(|part| {
            part.parse::<u16>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()))
        });
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(class @ (2 | 4 | 5))), Some(Some(subject)), Some(Some(detail)), None) => {
                Ok(Self(class as u8, subject, detail))
            }
            _ => Err(EnhancedError),
        }
    }
}

impl std::fmt::Display for Enhanced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One line for people: `550 5.1.1 no such user`.
impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for line in self.text.split('\n') {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reply({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let mut reader = Reader::new();
        let mut input = octets;
        let mut replies = Vec::new();
        while let Some(reply) = reader.read(&mut input)? {
            replies.push(reply);
        }
        assert!(input.is_empty());
        Ok(replies)
    }

    fn one(octets: &[u8]) -> Reply {
        let replies = read(octets).unwrap();
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.into_iter().next().unwrap()
    }

    #[test]
    fn takes_codes_apart() {
        let table: &[(&str, u16, Option<Enhanced>, &str)] = &[
            ("250 OK\r\n", 250, None, "OK"),
            ("250\r\n", 250, None, ""),
            ("250 \r\n", 250, None, ""),
            ("250 OK\n", 250, None, "OK"),
            ("354 2.0.0 go\r\n", 354, None, "2.0.0 go"),
            ("334 \r\n", 334, None, ""),
            (
                "451 4.7.500 Server busy. (S77719)\r\n",
                451,
                Some(Enhanced(4, 7, 500)),
                "Server busy. (S77719)",
            ),
            ("550 5.7.708 Access denied\r\n", 550, Some(Enhanced(5, 7, 708)), "Access denied"),
            ("554 5.2.252 SendAsDenied\r\n", 554, Some(Enhanced(5, 2, 252)), "SendAsDenied"),
            ("550 5.7.65535\r\n", 550, Some(Enhanced(5, 7, 65535)), ""),
            ("550 5.7.65536 x\r\n", 550, None, "5.7.65536 x"),
            ("550 5.+7.1 x\r\n", 550, None, "5.+7.1 x"),
            (
                "451 5.7.3 STARTTLS is required\r\n",
                451,
                Some(Enhanced(5, 7, 3)),
                "STARTTLS is required",
            ),
            ("250 10.0.0.1 hello\r\n", 250, None, "10.0.0.1 hello"),
            ("250 2.1.5.4 x\r\n", 250, None, "2.1.5.4 x"),
            (
                "250-2.1.0 a\r\n250-2.1.0 b\r\n250 2.1.0 c\r\n",
                250,
                Some(Enhanced(2, 1, 0)),
                "a\nb\nc",
            ),
            ("550-a\r\n550 5.1.1 b\r\n", 550, Some(Enhanced(5, 1, 1)), "a\nb"),
            ("550-5.1.1 a\r\n550 5.1.2 b\r\n", 550, Some(Enhanced(5, 1, 1)), "a\n5.1.2 b"),
        ];
        for (octets, code, enhanced, text) in table {
            let reply = one(octets.as_bytes());
            assert_eq!((reply.code, reply.enhanced, &*reply.text), (*code, *enhanced, *text));
        }
    }

    #[test]
    fn reads_the_same_however_it_is_cut() {
        let octets =
            "220-one\r\n220 two\r\n250 2.1.0 Gr\u{fc}n\r\n554-5.2.252 a\n554 5.2.252 b\r\n334 \r\n"
                .as_bytes();
        let whole = read(octets).unwrap();
        assert_eq!(whole.len(), 4);
        for cut in 0..=octets.len() {
            let mut reader = Reader::new();
            let mut replies = Vec::new();
            for mut part in [&octets[..cut], &octets[cut..]] {
                while let Some(reply) = reader.read(&mut part).unwrap() {
                    replies.push(reply);
                }
            }
            assert_eq!(replies, whole, "cut at {cut}");
            assert!(!reader.is_midway());
        }
        let mut reader = Reader::new();
        let single =
            octets.iter().filter_map(|b| reader.read(&mut std::slice::from_ref(b)).unwrap());
        assert_eq!(single.collect::<Vec<_>>(), whole);
    }

    #[test]
    fn b09_long_lines_are_kept_up_to_8_kb() {
        let long = "x".repeat(8000);
        assert_eq!(one(format!("554 5.2.252 {long}\r\n").as_bytes()).text, long);
        let longer = "y".repeat(60_000);
        let octets = format!("554 {longer}\r\n250 next\r\n");
        let replies = read(octets.as_bytes()).unwrap();
        assert_eq!(replies[0].text, longer[..LINE_KEPT - 4]);
        assert_eq!(replies[1], Reply { text: "next".into(), ..Reply::plain(250, "") });
    }

    #[test]
    fn b09_fifty_continuation_lines_are_read_and_too_many_refused() {
        let lines = |n: usize| format!("{}250 last\r\n", "250-more\r\n".repeat(n - 1));
        assert_eq!(one(lines(51).as_bytes()).text.lines().count(), 51);
        assert_eq!(one(lines(100).as_bytes()).text.lines().count(), 100);
        assert_eq!(read(lines(101).as_bytes()), Err(ReplyError::TooManyLines));
        let big = format!("{}550 last\r\n", format!("550-{}\r\n", "z".repeat(8000)).repeat(99));
        assert!(one(big.as_bytes()).text.len() <= TEXT_KEPT + LINES_MOST);
    }

    #[test]
    fn b09_non_utf8_and_control_characters_become_harmless() {
        let reply = one(b"550 5.1.1 caf\xe9\x00\x1b[31m\tx\ry\r\n");
        assert_eq!(reply.text, "caf\u{fffd}\u{fffd}\u{fffd}[31m x\u{fffd}y");
        let cut = "550 ".to_owned() + &"\u{20ac}".repeat(4000) + "\r\n";
        assert!(one(cut.as_bytes()).text.starts_with('\u{20ac}'));
    }

    #[test]
    fn b09_an_endless_line_ends_in_an_error() {
        let mut reader = Reader::new();
        let chunk = [b'2'; 1000];
        let mut fed = 0;
        loop {
            fed += chunk.len();
            match reader.read(&mut &chunk[..]) {
                Ok(reply) => assert_eq!(reply, None),
                Err(error) => {
                    assert_eq!(error, ReplyError::EndlessLine);
                    break;
                }
            }
            assert!(reader.line.len() <= LINE_KEPT && fed <= LINE_LONGEST);
        }
    }

    #[test]
    fn refuses_what_is_no_reply() {
        for octets in [
            "HTTP/1.1 400\r\n",
            "\r\n",
            "25\r\n",
            "250_x\r\n",
            "199 x\r\n",
            "600 x\r\n",
            "+50 x\r\n",
        ] {
            assert!(matches!(read(octets.as_bytes()), Err(ReplyError::NoCode(_))), "{octets:?}");
        }
        assert_eq!(read(b"250-a\r\n550 b\r\n"), Err(ReplyError::TwoCodes(250, 550)));
    }
}
