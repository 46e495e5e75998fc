//! Content-Transfer-Encoding (RFC 2045 §6), undone piece by piece.
//!
//! It promises that pieces of any size make the same octets, that memory does not grow with what is decoded,
//! and that base64 which could be read in two ways is told rather than guessed.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// What stands at the end may have bits that say nothing: whoever wrote it, its octets are clear.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);
/// So many blanks in a row stand for themselves, whatever follows: a line of quoted-printable has 76 octets, and
/// what is undecided is held.
const MOST_BLANKS: usize = 1000;

/// An encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// None: `7bit`, `8bit`, `binary`, and whatever is not known.
    #[default]
    Plain,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
}

/// The code is none, or could be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct Undecodable;

/// Undoes one encoding.
#[derive(Debug)]
pub struct Decoder {
    transfer: Transfer,
    /// What cannot be decided without what follows.
    held: Vec<u8>,
    /// `=` was seen: nothing may follow.
    is_padded: bool,
}

impl Decoder {
    /// For a part with this encoding.
    pub fn new(transfer: Transfer) -> Self {
        Self { transfer, held: Vec::new(), is_padded: false }
    }

    /// Adds to `out` what this piece makes.
    ///
    /// # Errors
    /// [`Undecodable`].
    pub fn take(&mut self, code: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
        match self.transfer {
            Transfer::Plain => out.extend_from_slice(code),
            Transfer::Base64 => return self.base64(code, out),
            Transfer::QuotedPrintable => {
                self.held.extend_from_slice(code);
                let done = quoted_printable(&self.held, false, out);
                self.held.drain(..done);
            }
        }
        Ok(())
    }

    /// Adds what the end makes.
    ///
    /// # Errors
    /// [`Undecodable`].
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), Undecodable> {
        match self.transfer {
            Transfer::Plain => {}
            Transfer::Base64 => {
                ENGINE.decode_vec(&self.held, out).map_err(|_| Undecodable)?;
            }
            Transfer::QuotedPrintable => {
                quoted_printable(&self.held, true, out);
            }
        }
        Ok(())
    }

    /// RFC 2045 §6.8: what is not of the alphabet is passed over.
    fn base64(&mut self, code: &[u8], out: &mut Vec<u8>) -> Result<(), Undecodable> {
        for octet in code {
            match octet {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if self.is_padded => {
                    return Err(Undecodable);
                }
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => self.held.push(*octet),
                b'=' => self.is_padded = true,
                _ => {}
            }
        }
        let whole = self.held.len() - self.held.len() % 4;
        ENGINE.decode_vec(&self.held[..whole], out).map_err(|_| Undecodable)?;
        self.held.drain(..whole);
        Ok(())
    }
}

/// Decodes as far as it is clear, all of it at the end; gives how much was read. What is no code stands for
/// itself (RFC 2045 §6.7).
fn quoted_printable(code: &[u8], is_end: bool, out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while at < code.len() {
        let next = code[at..].iter().position(|octet| b"= \t".contains(octet));
        let plain = next.unwrap_or(code.len() - at);
        out.extend_from_slice(&code[at..at + plain]);
        at += plain;
        let Some(mark) = code.get(at) else { break };
        let rest = &code[at + 1..];
        if let (b'=', Some(octet)) = (mark, rest.get(..2).and_then(hex)) {
            out.push(octet);
            at += 3;
            continue;
        }
        let blanks = rest.iter().take_while(|octet| b" \t".contains(octet)).count();
        let after = &rest[blanks..];
        if blanks >= MOST_BLANKS {
            out.extend_from_slice(&code[at..at + MOST_BLANKS]);
            at += MOST_BLANKS;
            continue;
        }
        let is_open = after.is_empty() || after == b"\r" || (*mark == b'=' && rest.len() < 2);
        match (mark, line_end(after)) {
            // A soft line break.
            (b'=', Some(end)) => at += 1 + blanks + end,
            // Blanks before a line end were put there on the way.
            (_, Some(_)) => at += 1 + blanks,
            _ if is_open && !is_end => break,
            _ if after.is_empty() => at = code.len(),
            (b'=', None) => {
                out.push(b'=');
                at += 1;
            }
            (_, None) => {
                out.extend_from_slice(&code[at..at + 1 + blanks]);
                at += 1 + blanks;
            }
        }
    }
    at
}

fn line_end(octets: &[u8]) -> Option<usize> {
    match octets {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value * 16 + u8::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn decoded(transfer: Transfer, code: &[u8], size: usize) -> Result<Vec<u8>, Undecodable> {
        let (mut decoder, mut out) = (Decoder::new(transfer), Vec::new());
        for piece in code.chunks(size) {
            decoder.take(piece, &mut out)?;
        }
        decoder.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn base64_in_pieces_of_any_size() {
        let octets: Vec<u8> = (0..=255).collect();
        for length in 0..octets.len() {
            let code = STANDARD.encode(&octets[..length]);
            let lines: Vec<_> = code.as_bytes().chunks(20).map(<[u8]>::to_vec).collect();
            let lines = lines.join(&b"\r\n"[..]);
            for size in [1, 3, 7, 64, 1000] {
                let found = decoded(Transfer::Base64, &lines, size);
                assert_eq!(found.as_deref(), Ok(&octets[..length]), "{length} {size}");
            }
        }
    }

    #[test]
    fn base64_as_programs_write_it() {
        for (code, expected) in [
            ("SGVsbG8", Ok("Hello")),
            ("SGVsbG8=\r\n\r\n", Ok("Hello")),
            ("SG!Vs bG8=", Ok("Hello")),
            ("SGVsbG9=", Ok("Hello")),
            ("", Ok("")),
            ("SGVsbG8=SGVsbG8=", Err(Undecodable)),
            ("SGVsb", Err(Undecodable)),
        ] {
            for size in 1..=20 {
                let found = decoded(Transfer::Base64, code.as_bytes(), size);
                assert_eq!(found, expected.map(|text| text.as_bytes().to_vec()), "{code}");
            }
        }
    }

    #[test]
    fn quoted_printable_in_pieces_of_any_size() {
        for (code, expected) in [
            ("Gr=C3=BC=c3=9fe", "Grüße"),
            ("one=\r\ntwo\r\nthree", "onetwo\r\nthree"),
            ("one= \t\r\ntwo", "onetwo"),
            ("one=\ntwo\n", "onetwo\n"),
            ("blanks \t\r\nare cut  \r\n", "blanks\r\nare cut\r\n"),
            ("blanks  stay", "blanks  stay"),
            ("cut at the end \t", "cut at the end"),
            ("=3D==3D", "==="),
            ("=4", "=4"),
            ("=ZZ=", "=ZZ"),
            ("a = b", "a = b"),
            ("=0D=0A\r\n", "\r\n\r\n"),
            ("a\rb", "a\rb"),
            (" \r", " \r"),
        ] {
            for size in 1..=code.len() {
                let found = decoded(Transfer::QuotedPrintable, code.as_bytes(), size);
                let found = found.map(|octets| String::from_utf8_lossy(&octets).into_owned());
                assert_eq!(found.as_deref(), Ok(expected), "{code:?} {size}");
            }
        }
        let blanks = [vec![b' '; 2 * MOST_BLANKS + 5], b"\r\n".to_vec()].concat();
        for size in [1, 64, 999, 5000] {
            let found = decoded(Transfer::QuotedPrintable, &blanks, size).expect("decoded");
            assert_eq!(found.len(), 2 * MOST_BLANKS + 2, "{size}");
        }
    }

    #[test]
    fn what_has_no_encoding_stays() {
        let octets: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(Transfer::Plain, &octets, 9), Ok(octets));
    }
}
