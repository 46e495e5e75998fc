//! The message as a program writes it to standard input, made fit for SMTP.
//!
//! It promises that all of it was read before anything is sent: a program that writes for hours (a job
//! under cron) holds no connection meanwhile, and one that dies sends no half mail. Of a large message
//! only the header lies in memory, the rest in an unnamed file that goes with the process.

use crate::mail::header::{self, Edit, End};
use memchr::memchr2;
use std::io::{self, Read, Seek, SeekFrom, Write};
use tempfile::SpooledTempFile;

/// Octets read at once.
const READ: usize = 64 * 1024;
/// Octets of a header at most; the daemon takes fewer.
const LARGEST_HEADER: usize = 1024 * 1024;
/// Octets of a body that stay in memory.
const IN_MEMORY: usize = 1024 * 1024;
/// Octets of a message at most: the most `max_message_size` can be. Keeps a runaway program from
/// filling the disk.
const LARGEST: u64 = 1 << 30;

/// Why a message was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Standard input.
    #[error("the message cannot be read: {0}")]
    Input(io::Error),
    /// The place for large messages.
    #[error("the message cannot be put aside: {0}; is there room in TMPDIR?")]
    Aside(io::Error),
    /// The header.
    #[error("the header is larger than any server takes")]
    Header,
    /// All of it.
    #[error("the message is larger than any server takes")]
    TooLarge,
}

/// Turns lines that end in LF or CRLF, mixed as they may be, into lines that end in CRLF.
#[derive(Debug)]
struct Lines {
    /// A line with nothing but a dot ends the message.
    dot_ends: bool,
    place: Place,
    /// CRs that wait for what follows them.
    returns: usize,
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Begin,
    /// Behind a dot at the beginning of a line, which was not given out yet.
    Dot,
    Text,
}

impl Lines {
    fn new(dot_ends: bool) -> Self {
        Self { dot_ends, place: Place::Begin, returns: 0, over: false }
    }

    /// Appends the next piece; what follows the final dot is dropped.
    fn feed(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while let (Some(first), false) = (rest.first(), self.over) {
            match first {
                b'\r' => {
                    self.returns += 1;
                    rest = &rest[1..];
                }
                b'\n' => {
                    self.end_line(out);
                    rest = &rest[1..];
                }
                b'.' if self.dot_ends && self.place == Place::Begin && self.returns == 0 => {
                    self.place = Place::Dot;
                    rest = &rest[1..];
                }
                _ => {
                    self.release(out);
                    self.place = Place::Text;
                    let length = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    out.extend_from_slice(&rest[..length]);
                    rest = &rest[length..];
                }
            }
        }
    }

    /// Gives out the dot and the CRs that waited: alone, each CR is a line end, as the daemon sees it.
    fn release(&mut self, out: &mut Vec<u8>) {
        if self.place == Place::Dot {
            out.push(b'.');
            self.place = Place::Text;
        }
        for _ in 0..std::mem::take(&mut self.returns) {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if self.place == Place::Dot && self.returns < 2 {
            self.over = true;
            return;
        }
        // `CR CR LF` is what becomes of CRLF where somebody's text mode turned LF into CRLF once more.
        self.returns = self.returns.saturating_sub(1).max(1);
        self.release(out);
        self.place = Place::Begin;
    }

    /// Nothing follows: ends the last line.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.over || self.place == Place::Dot && self.returns == 0 {
            return;
        }
        if self.returns > 0 || self.place != Place::Begin {
            self.returns = self.returns.max(1);
            self.release(out);
        }
    }
}

/// A message that was read.
#[derive(Debug)]
pub struct Message {
    header: Vec<u8>,
    end: End,
    body: SpooledTempFile,
    body_size: u64,
    eight_bit: bool,
}

impl Message {
    /// Reads to the end of `input`, or to a line with a lone dot where that ends it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(input: &mut impl Read, dot_ends: bool) -> Result<Self, ReadError> {
        let mut lines = Lines::new(dot_ends);
        let mut octets = vec![0; READ];
        let mut piece = Vec::with_capacity(READ * 2);
        let mut message = Draft::default();
        while !lines.over {
            let count = match input.read(&mut octets) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(ReadError::Input)?,
            };
            match count {
                0 => break,
                count => lines.feed(&octets[..count], &mut piece),
            }
            message.take(&mut piece, false)?;
        }
        lines.finish(&mut piece);
        message.take(&mut piece, true)?;
        let end = message.end.unwrap_or(End { header: 0, needs_blank: true });
        let Draft { header, body, body_size, eight_bit, .. } = message;
        Ok(Self { header, end, body, body_size, eight_bit })
    }

    /// The header's fields, without the empty line.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Whether there is an octet above 127, in the header or the body.
    pub fn has_eight_bit(&self) -> bool {
        self.eight_bit || !self.header.is_ascii()
    }

    /// Takes `Bcc:` and `Resent-Bcc:` out.
    pub fn remove_bcc(&mut self) {
        let end = End { header: self.header.len(), needs_blank: false };
        self.header = Edit { remove_bcc: true, ..Edit::default() }.apply(&self.header, end);
    }

    /// Whether the header has this field.
    pub fn has(&self, name: &str) -> bool {
        header::fields(&self.header).any(|field| field.is(name))
    }

    /// Adds a whole field with its CRLF.
    pub fn add(&mut self, field: &str) {
        self.header.extend_from_slice(field.as_bytes());
    }

    /// Octets as they go over the wire, without stuffed dots (RFC 1870 §5).
    pub fn size(&self) -> u64 {
        let blank = if self.end.needs_blank { 2 } else { 0 };
        (self.header.len() + blank) as u64 + self.body_size
    }

    /// The whole message from its beginning; may be asked for again.
    ///
    /// # Errors
    /// Of the file behind a large message.
    pub fn octets(&mut self) -> io::Result<impl Read> {
        self.body.seek(SeekFrom::Start(0))?;
        let blank: &[u8] = if self.end.needs_blank { b"\r\n" } else { b"" };
        Ok(self.header.as_slice().chain(blank).chain(&mut self.body))
    }
}

/// A message while it is read.
struct Draft {
    /// Everything, as long as the header's end was not seen.
    header: Vec<u8>,
    /// Whether the first line was judged: mailboxes put a `From ` before a message.
    begun: bool,
    end: Option<End>,
    body: SpooledTempFile,
    body_size: u64,
    eight_bit: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            header: Vec::new(),
            begun: false,
            end: None,
            body: SpooledTempFile::new(IN_MEMORY),
            body_size: 0,
            eight_bit: false,
        }
    }
}

impl Draft {
    /// Takes the piece and leaves it empty. `complete`: nothing follows.
    fn take(&mut self, piece: &mut Vec<u8>, complete: bool) -> Result<(), ReadError> {
        if self.end.is_some() {
            self.write(piece)?;
            piece.clear();
            return Ok(());
        }
        self.header.append(piece);
        if !self.begun && !self.begin(complete) {
            return if self.header.len() > LARGEST_HEADER {
                Err(ReadError::Header)
            } else {
                Ok(())
            };
        }
        if let Some(end) = header::find_end(&self.header, complete) {
            let rest = self.header.split_off(end.header);
            self.end = Some(end);
            self.write(&rest)?;
        }
        if self.header.len() > LARGEST_HEADER { Err(ReadError::Header) } else { Ok(()) }
    }

    /// Takes a mailbox's `From ` line off; false where more is needed to know.
    fn begin(&mut self, complete: bool) -> bool {
        const MARK: &[u8] = b"From ";
        if self.header.starts_with(MARK) {
            match memchr::memmem::find(&self.header, b"\r\n") {
                Some(end) => drop(self.header.drain(..end + 2)),
                None if !complete => return false,
                None => {}
            }
        } else if MARK.starts_with(&self.header) && !complete {
            return false;
        }
        self.begun = true;
        true
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), ReadError> {
        self.body_size += octets.len() as u64;
        if self.body_size > LARGEST {
            return Err(ReadError::TooLarge);
        }
        self.eight_bit |= !octets.is_ascii();
        self.body.write_all(octets).map_err(ReadError::Aside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the octets in two pieces.
    struct Cut<'a>(Vec<&'a [u8]>);

    impl Read for Cut<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            while self.0.first().is_some_and(|piece| piece.is_empty()) {
                self.0.remove(0);
            }
            match self.0.first_mut() {
                Some(piece) => piece.read(into),
                None => Ok(0),
            }
        }
    }

    fn whole(message: &mut Message) -> Vec<u8> {
        let mut octets = Vec::new();
        message.octets().expect("octets").read_to_end(&mut octets).expect("read");
        assert_eq!(octets.len() as u64, message.size());
        octets
    }

    #[test]
    fn every_kind_of_line_end_and_dot_cut_anywhere() {
        for (text, dot_ends, expected) in [
            ("A: b\n\nx\n", true, "A: b\r\n\r\nx\r\n"),
            ("A: b\r\n\r\nx\r\n", true, "A: b\r\n\r\nx\r\n"),
            ("A: b\r\nB: c\n\nx", true, "A: b\r\nB: c\r\n\r\nx\r\n"),
            ("A: b\r\r\n\r\r\nx\r\r\n", true, "A: b\r\n\r\nx\r\n"),
            ("A: b\n\nx\n.\ny\n", true, "A: b\r\n\r\nx\r\n"),
            ("A: b\n\nx\r\n.\r\ny\n", true, "A: b\r\n\r\nx\r\n"),
            ("A: b\n\nx\n.\ny\n", false, "A: b\r\n\r\nx\r\n.\r\ny\r\n"),
            ("A: b\n\n.\n", true, "A: b\r\n\r\n"),
            ("A: b\n\nx\n.", true, "A: b\r\n\r\nx\r\n"),
            ("A: b\n\nx\n.", false, "A: b\r\n\r\nx\r\n.\r\n"),
            ("A: b\n\n..\n.x\n. \n", true, "A: b\r\n\r\n..\r\n.x\r\n. \r\n"),
            ("A: b\n\nx\r.\r\ny\r", true, "A: b\r\n\r\nx\r\n.\r\ny\r\n"),
            ("A: b\n\n.\rx\n", true, "A: b\r\n\r\n.\r\nx\r\n"),
            ("A: b\n\n\n\n", true, "A: b\r\n\r\n\r\n\r\n"),
            ("From x@y Sat Nov 21 08:00:00 2026\nA: b\n\nx\n", true, "A: b\r\n\r\nx\r\n"),
            ("From: x\n\nx\n", true, "From: x\r\n\r\nx\r\n"),
            ("Fro\n", true, "\r\nFro\r\n"),
            ("no header\nat all\n", true, "\r\nno header\r\nat all\r\n"),
            ("A: b\nFrom here on text\n", true, "A: b\r\n\r\nFrom here on text\r\n"),
            ("A: b\n", true, "A: b\r\n\r\n"),
            ("A: b", true, "A: b\r\n\r\n"),
            ("", true, "\r\n"),
            (".\n", true, "\r\n"),
            ("From ", true, "\r\n"),
        ] {
            for cut in 0..=text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                let mut message = Message::read(&mut Cut(vec![one, two]), dot_ends).expect("read");
                let found = String::from_utf8(whole(&mut message)).expect("text");
                assert_eq!(found, expected, "{text:?} cut at {cut}");
                let again = whole(&mut message);
                assert_eq!(again, found.as_bytes(), "read again");
            }
        }
    }

    #[test]
    fn a_large_message_goes_through_a_file_and_comes_out_whole() {
        let mut text = b"Subject: large\n\n".to_vec();
        while text.len() < 3 * IN_MEMORY {
            text.extend_from_slice(b"0123456789 a line of a large message\n.dot\n");
        }
        let mut message = Message::read(&mut text.as_slice(), false).expect("read");
        let expected = String::from_utf8(text).expect("text").replace('\n', "\r\n");
        assert!(whole(&mut message) == expected.as_bytes());
        assert!(message.body.is_rolled());
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let endless = io::repeat(b'a');
        let error = Message::read(&mut endless.take(LARGEST_HEADER as u64 + 2), false);
        assert!(matches!(error, Err(ReadError::Header)), "{error:?}");
    }

    #[test]
    fn fields_are_looked_for_added_and_removed() {
        let text = b"To: a\nBcc: b,\n c\nResent-Bcc: d\n\nx\xe4\n";
        let mut message = Message::read(&mut &text[..], true).expect("read");
        assert!(message.has("to") && !message.has("From") && message.has_eight_bit());
        message.remove_bcc();
        message.add("From: e\r\n");
        assert_eq!(whole(&mut message), b"To: a\r\nFrom: e\r\n\r\nx\xe4\r\n");
        let mut message = Message::read(&mut &b"just text"[..], true).expect("read");
        assert!(!message.has_eight_bit());
        message.add("From: e\r\n");
        assert_eq!(whole(&mut message), b"From: e\r\n\r\njust text\r\n");
    }
}
