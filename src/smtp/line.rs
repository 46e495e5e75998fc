//! Command lines cut from the input (RFC 5321 §2.3.8, §4.5.3.1.4).
//!
//! It promises that a line costs time in proportion to its length however it is cut, and memory within
//! [`LONGEST`]. A lone LF ends a command line too, as programs and people at a terminal write it: what
//! hides a command from one server and shows it to the next are message bodies, and those are decoded
//! strictly in `data`.

use bytes::{Buf, BytesMut};
use memchr::memchr;

/// The longest line that is kept, its end not counted: what one answer of an AUTH exchange may be
/// (RFC 4954 §4.5), with room for the command before an initial response.
pub const LONGEST: usize = AUTH + 64;
/// The longest answer within an AUTH exchange (RFC 4954 §4.5).
pub const AUTH: usize = 12_288;
/// The longest command line (RFC 5321 §4.5.3.1.4: 512 with its CRLF).
pub const COMMAND: usize = 510;
/// The longest MAIL or RCPT line: 512 and what SIZE, DSN, AUTH= and SMTPUTF8 add, generously.
pub const PATH_COMMAND: usize = 2_046;
/// A line that did not end within this many octets never will.
const ENDLESS: u64 = 64 * 1024;
/// How much of an overlong line is kept, to see which command it was.
const HEAD: usize = 16;

/// What the input holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its end.
    Whole(BytesMut),
    /// A line longer than [`LONGEST`] that ended now; its first octets.
    TooLong(BytesMut),
    /// More than 64 KB without an end.
    Endless,
    /// No line yet.
    NeedInput,
}

/// Where the search for the end of the line stands.
#[derive(Debug, Default)]
pub struct Lines {
    /// Octets at the beginning of the input that were searched already.
    searched: usize,
    /// Octets of an overlong line that were dropped.
    dropped: u64,
    /// The beginning of an overlong line.
    head: BytesMut,
}

impl Lines {
    /// The next line of the input, taken out of it.
    pub fn take(&mut self, input: &mut BytesMut) -> Line {
        let Some(index) = memchr(b'\n', &input[self.searched..]).map(|i| i + self.searched) else {
            self.searched = input.len();
            if self.dropped > 0 || input.len() > LONGEST + 1 {
                self.drop_octets(input, input.len());
            }
            return if self.dropped > ENDLESS { Line::Endless } else { Line::NeedInput };
        };
        self.searched = 0;
        if self.dropped > 0 || index > LONGEST + 1 {
            self.drop_octets(input, index + 1);
            if std::mem::take(&mut self.dropped) > ENDLESS {
                return Line::Endless;
            }
            return Line::TooLong(std::mem::take(&mut self.head));
        }
        let mut line = input.split_to(index);
        input.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(index - 1);
        }
        Line::Whole(line)
    }

    fn drop_octets(&mut self, input: &mut BytesMut, octets: usize) {
        if self.dropped == 0 {
            self.head = BytesMut::from(&input[..HEAD.min(octets)]);
        }
        self.dropped += octets as u64;
        self.searched = 0;
        input.advance(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8]) -> Line {
        Line::Whole(BytesMut::from(text))
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let wire = b"EHLO a\r\n\r\nNOOP\nRSET \r\r\nQUI";
        let expected = [whole(b"EHLO a"), whole(b""), whole(b"NOOP"), whole(b"RSET \r")];
        for cut in 0..=wire.len() {
            let (mut lines, mut input, mut found) = (Lines::default(), BytesMut::new(), Vec::new());
            for part in [&wire[..cut], &wire[cut..]] {
                input.extend_from_slice(part);
                loop {
                    match lines.take(&mut input) {
                        Line::NeedInput => break,
                        line => found.push(line),
                    }
                }
            }
            assert_eq!(found, expected, "cut at {cut}");
            assert_eq!(&input[..], b"QUI");
        }
    }

    #[test]
    fn a05_an_overlong_line_is_dropped_as_it_comes() {
        for step in [1, 100, 5000, 20_000] {
            let (mut lines, mut input) = (Lines::default(), BytesMut::new());
            let mut found = Vec::new();
            let mut wire = b"AUTH PLAIN ".to_vec();
            wire.resize(20_000, b'x');
            wire.extend_from_slice(b"\r\nNOOP\r\n");
            for part in wire.chunks(step) {
                input.extend_from_slice(part);
                loop {
                    match lines.take(&mut input) {
                        Line::NeedInput => break,
                        line => found.push(line),
                    }
                }
                assert!(input.len() <= LONGEST + 1);
            }
            let head = BytesMut::from(&b"AUTH PLAIN xxxxx"[..]);
            assert_eq!(found, [Line::TooLong(head), whole(b"NOOP")], "{step}");
        }
    }

    #[test]
    fn a05_an_endless_line_is_given_up() {
        let (mut lines, mut input) = (Lines::default(), BytesMut::new());
        for _ in 0..100 {
            input.extend_from_slice(&[b'x'; 1024]);
            match lines.take(&mut input) {
                Line::NeedInput => assert!(input.len() <= LONGEST),
                Line::Endless => return,
                other => panic!("{other:?}"),
            }
        }
        panic!("never given up");
    }

    #[test]
    fn the_longest_line_passes() {
        for end in ["\r\n", "\n"] {
            for (length, passes) in [(LONGEST, true), (LONGEST + 2, false)] {
                let text = "x".repeat(length);
                let mut input = BytesMut::from(format!("{text}{end}").as_bytes());
                let line = Lines::default().take(&mut input);
                assert_eq!(line == whole(text.as_bytes()), passes, "{length}");
            }
        }
    }
}
