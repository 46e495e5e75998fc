//! A reply on its way to the wire (RFC 5321 §4.2, RFC 2034 §4).
//!
//! It promises that whatever the text holds (it may come from another server, or quote what a client
//! sent) only printable ASCII leaves, that no line is longer than asked, and that each line bears the
//! code and the enhanced code.

use super::Reply;
use bytes::BytesMut;
use std::fmt::Write as _;

/// The longest reply line, CRLF included (RFC 5321 §4.5.3.1.5).
pub const LONGEST_LINE: usize = 512;

impl Reply {
    /// Appends the reply; lines that would pass 512 octets are cut.
    pub fn write(&self, out: &mut BytesMut) {
        self.write_within(LONGEST_LINE, out);
    }

    /// Appends the reply; lines that would pass this many octets (CRLF included) are cut. Exchange writes
    /// lines of 1,500 octets and more, so the sandbox must be able to.
    pub fn write_within(&self, longest: usize, out: &mut BytesMut) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let start = out.len();
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            let line = line.trim_end();
            // Writing to memory does not fail.
            let _ = write!(out, "{}{mark}", self.code);
            if let Some(enhanced) = self.enhanced {
                let gap = if line.is_empty() { "" } else { " " };
                let _ = write!(out, "{enhanced}{gap}");
            }
            let room = longest.saturating_sub(2 + out.len() - start);
            match line.as_bytes() {
                octets if octets.iter().all(|octet| matches!(octet, b' '..=b'~')) => {
                    out.extend_from_slice(&octets[..octets.len().min(room)]);
                }
                _ => out.extend(line.chars().take(room).map(harmless)),
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn harmless(c: char) -> u8 {
    match c {
        ' '..='~' => c as u8,
        '\t' | '\r' => b' ',
        _ => b'?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::Enhanced;

    fn written(code: u16, enhanced: Option<Enhanced>, text: &str) -> String {
        let mut out = BytesMut::new();
        Reply { code, enhanced, text: text.to_owned().into() }.write(&mut out);
        String::from_utf8(out.to_vec()).expect("ASCII")
    }

    #[test]
    fn each_line_bears_the_codes() {
        for (code, enhanced, text, wire) in [
            (250, Some(Enhanced(2, 0, 0)), "OK", "250 2.0.0 OK\r\n"),
            (334, None, "", "334 \r\n"),
            (334, None, "VXNlcm5hbWU6", "334 VXNlcm5hbWU6\r\n"),
            (250, None, "a\nb", "250-a\r\n250 b\r\n"),
            (451, Some(Enhanced(4, 7, 500)), "a\nb", "451-4.7.500 a\r\n451 4.7.500 b\r\n"),
            (
                550,
                Some(Enhanced(5, 7, 1)),
                "a\r\nb\r\n",
                "550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1\r\n",
            ),
        ] {
            assert_eq!(written(code, enhanced, text), wire);
        }
    }

    #[test]
    fn a17_nothing_but_printable_ascii_leaves() {
        let wire = written(550, Some(Enhanced(5, 1, 1)), "<a\0b\x1b[2J\rc\u{7f}é\u{202e}@d>\tno");
        assert_eq!(wire, "550 5.1.1 <a?b?[2J c???@d> no\r\n");
    }

    #[test]
    fn no_line_is_longer_than_512() {
        let text = format!("{}\n{}\nend", "é".repeat(600), "b".repeat(503));
        let wire = written(550, Some(Enhanced(5, 2, 252)), &text);
        let lengths: Vec<usize> = wire.split_inclusive("\r\n").map(str::len).collect();
        assert_eq!(lengths, [512, 512, 17]);
        let mut out = BytesMut::new();
        Reply { code: 554, enhanced: None, text: "x".repeat(1500).into() }
            .write_within(8192, &mut out);
        assert_eq!(out.len(), 1506);
    }
}
