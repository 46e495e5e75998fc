//! Bodies by DATA and by BDAT: where they end, that nothing but CRLF ends a line of what comes out, that
//! what is sent on ends nowhere else, and that no cut changes any of it.

use super::input::{Input, bit, cut, is_clean};
use bytes::{Bytes, BytesMut};
use submitd::smtp::data::{Decoder, LineEnds, Step, Stuffer};

/// First octet: refuse lone newlines; second: the cuts; third: the limit; then the wire.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let (switch, seed, limit) = (input.octet(), input.octet(), input.octet());
    let wire = input.rest();
    let limit = if bit(switch, 1) { u64::from(limit) } else { 1 << 30 };
    let reject = bit(switch, 0);
    decoded(wire, limit, reject, seed);
    chunks(wire, seed);
    stuffed(wire, seed);
}

struct Decoded {
    body: Vec<u8>,
    /// Octets up to the end of the message, where it ended.
    used: Option<usize>,
    too_large: bool,
    bare: bool,
}

fn decode(pieces: &[&[u8]], limit: u64, reject: bool) -> Decoded {
    let (mut decoder, mut held) = (Decoder::new(limit, reject), BytesMut::new());
    let (mut body, mut fed) = (Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match decoder.decode(&mut held) {
                Step::Body(more) => {
                    assert!(!more.is_empty(), "an empty piece");
                    assert!(!decoder.is_too_large(), "more than the limit");
                    body.extend_from_slice(&more);
                }
                Step::End => {
                    let (too_large, bare) = (decoder.is_too_large(), decoder.has_bare_newline());
                    return Decoded { body, used: Some(fed - held.len()), too_large, bare };
                }
                Step::NeedInput => break,
            }
        }
        assert!(held.len() <= 3, "{} octets are held", held.len());
    }
    let (too_large, bare) = (decoder.is_too_large(), decoder.has_bare_newline());
    Decoded { body, used: None, too_large, bare }
}

fn decoded(wire: &[u8], limit: u64, reject: bool, seed: u8) {
    let whole = decode(&[wire], limit, reject);
    let pieces = decode(&cut(wire, seed), limit, reject);
    assert_eq!(whole.used, pieces.used, "the end depends on the cut");
    assert_eq!(whole.too_large, pieces.too_large);
    assert_eq!(whole.bare, pieces.bare);
    // Only CRLF . CRLF, and the first of them (RFC 5321 §4.5.2); a message begins as if behind CRLF.
    let marked = [b"\r\n", wire].concat();
    let end = marked.windows(5).position(|window| window == b"\r\n.\r\n");
    assert_eq!(whole.used, end.map(|at| at + 3), "not where CRLF . CRLF stands");
    if whole.used.is_none() {
        return;
    }
    assert_eq!(whole.bare, !is_clean(&marked[..whole.used.unwrap_or(0) + 2]));
    if whole.too_large || whole.bare && reject {
        return;
    }
    assert_eq!(whole.body, pieces.body);
    assert!(whole.body.len() as u64 <= limit);
    assert!(is_clean(&whole.body), "a lone CR or LF came out");
    if !whole.bare {
        assert_eq!(whole.body, unstuffed(&marked[2..whole.used.unwrap_or(0) - 1]));
    }
    let mut again = BytesMut::new();
    let mut stuffer = Stuffer::new();
    for piece in cut(&whole.body, seed) {
        stuffer.stuff(piece, &mut again);
    }
    stuffer.finish(&mut again);
    let twice = decode(&[&again], u64::MAX, true);
    assert_eq!(twice.used, Some(again.len()));
    assert!(twice.body.starts_with(&whole.body) && twice.body.len() <= whole.body.len() + 2);
}

/// RFC 5321 §4.5.2 word by word, for text whose lines all end in CRLF.
fn unstuffed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    out
}

/// BDAT: all comes out, with CRLF for every line end.
fn chunks(text: &[u8], seed: u8) {
    let mut expected = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'\r' => rest = rest.strip_prefix(b"\n").unwrap_or(rest),
            b'\n' => {}
            _ => {
                expected.push(*first);
                continue;
            }
        }
        expected.extend_from_slice(b"\r\n");
    }
    let mut ends = LineEnds::default();
    let mut found = Vec::new();
    for piece in cut(text, seed) {
        found.extend_from_slice(&ends.mend(Bytes::copy_from_slice(piece), false));
    }
    found.extend_from_slice(&ends.mend(Bytes::new(), true));
    assert_eq!(found, expected);
    assert_eq!(ends.has_bare_newline(), !is_clean(text));
}

/// Whatever is sent on, even what was never made clean: one lone dot, at its end.
fn stuffed(text: &[u8], seed: u8) {
    let (mut whole, mut pieces) = (BytesMut::new(), BytesMut::new());
    let mut stuffer = Stuffer::new();
    stuffer.stuff(text, &mut whole);
    stuffer.finish(&mut whole);
    let mut stuffer = Stuffer::new();
    for piece in cut(text, seed) {
        stuffer.stuff(piece, &mut pieces);
    }
    stuffer.finish(&mut pieces);
    assert_eq!(whole, pieces);
    // Servers that take LF for a line end see no other end either.
    let marked = [b"\n", &whole[..]].concat();
    for end in [&b"\n.\r\n"[..], b"\n.\n", b"\n.\r"] {
        let found = marked.windows(end.len()).position(|window| window == end);
        assert!(found.is_none_or(|at| at + 4 == marked.len()), "a lone dot in the text");
    }
}
