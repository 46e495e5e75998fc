//! The octets of a message as DATA carries them (RFC 5321 §4.5.2): taking them off the wire and
//! putting them on it.
//!
//! [`Decoder`] promises that only `CRLF . CRLF` ends a message, whatever else looks like it (`LF . LF`,
//! `CRLF . CR CRLF`, …: SMTP smuggling), and that what it gives out has CRLF as its only line end.
//! [`Stuffer`] promises that no line of what it writes is a lone dot but the last. Neither looks into
//! the message or changes anything but dots and line ends.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr2, memmem};

/// What the decoder makes of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// More of the message.
    Body(Bytes),
    /// The message is over; what follows in the input are commands.
    End,
    /// More input is needed. Up to three octets may be left in the input.
    NeedInput,
}

/// Where the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind a CRLF, or at the very beginning: a dot means something here.
    Line,
    /// Behind a lone CR or LF. The dot of `CRLF . CRLF` cannot stand here.
    BareLine,
    /// Within a line.
    Text,
}

/// Takes a message off the wire. Holds no octets itself, so it costs nothing while waiting.
#[derive(Debug)]
pub struct Decoder {
    place: Place,
    /// Octets given out, or that would have been.
    size: u64,
    limit: u64,
    bare_newline: bool,
    reject_bare_newline: bool,
}

impl Decoder {
    /// A decoder for one message of at most `limit` octets (unstuffed, without the final dot). With
    /// `reject_bare_newline` nothing more is given out once a lone CR or LF was seen; without it each is
    /// turned into CRLF.
    pub fn new(limit: u64, reject_bare_newline: bool) -> Self {
        Self { place: Place::Line, size: 0, limit, bare_newline: false, reject_bare_newline }
    }

    /// Whether the message is larger than the limit. From then on nothing is given out.
    pub fn is_too_large(&self) -> bool {
        self.size > self.limit
    }

    /// Whether a lone CR or LF was seen.
    pub fn has_bare_newline(&self) -> bool {
        self.bare_newline
    }

    /// The next piece of the message: as much as the input holds, without copying where the piece need
    /// not be changed.
    pub fn decode(&mut self, input: &mut BytesMut) -> Step {
        loop {
            let mut piece = Piece::default();
            let end = self.scan(input, &mut piece);
            let used = piece.at;
            let body = piece.take(input);
            self.size = self.size.saturating_add(body.len() as u64);
            if !body.is_empty() && !self.is_dropping() {
                return Step::Body(body);
            }
            if end && used == 0 {
                input.advance(b".\r\n".len());
                return Step::End;
            }
            if used == 0 || input.is_empty() {
                return Step::NeedInput;
            }
        }
    }

    fn is_dropping(&self) -> bool {
        self.is_too_large() || (self.bare_newline && self.reject_bare_newline)
    }

    /// Goes on until the input is used up, what stands there cannot be judged yet, or the message ends:
    /// then true is returned, the final dot not being part of the piece.
    fn scan(&mut self, input: &[u8], piece: &mut Piece) -> bool {
        while piece.at < input.len() {
            let rest = &input[piece.at..];
            match (self.place, rest) {
                (Place::Line, [b'.', b'\r', b'\n', ..]) => return true,
                (Place::Line, [b'.'] | [b'.', b'\r']) | (Place::BareLine, [b'.']) => return false,
                (Place::Line, [b'.', ..]) => piece.leave_out(input, 1),
                // Programs that end lines by LF and stuff dots at all do it behind LF. A dot alone
                // stays: it is text, and whoever sends the message on stuffs it again.
                (Place::BareLine, [b'.', b'.', ..]) => piece.leave_out(input, 1),
                _ => {}
            }
            self.place = Place::Text;
            let rest = &input[piece.at..];
            let Some(index) = memchr2(b'\r', b'\n', rest) else {
                piece.at = input.len();
                return false;
            };
            piece.at += index;
            let bare = match &rest[index..] {
                [b'\r', b'\n', ..] => {
                    piece.at += 2;
                    self.place = Place::Line;
                    continue;
                }
                [b'\r'] | [b'\r', b'\r'] => return false,
                // What becomes of CRLF where somebody's text mode turns LF into CRLF once more: one
                // line end. Two would end the header section behind its first line.
                [b'\r', b'\r', b'\n', ..] => 3,
                _ => 1,
            };
            piece.replace_by_crlf(input, bare);
            self.bare_newline = true;
            // Three octets end in a true CRLF: a text that ends in a lone CR is followed by
            // `CRLF . CRLF` as any other, and its client waits for the answer.
            self.place = if bare == 3 { Place::Line } else { Place::BareLine };
        }
        false
    }
}

/// A piece of the input on its way out: a run of it, or a copy once something had to be changed.
#[derive(Default)]
struct Piece {
    copy: BytesMut,
    /// Where the run begins that is not in the copy yet.
    from: usize,
    /// How much of the input is used.
    at: usize,
}

impl Piece {
    fn flush(&mut self, input: &[u8]) {
        if self.at > self.from {
            if self.copy.is_empty() {
                self.copy.reserve(input.len() + 16);
            }
            self.copy.extend_from_slice(&input[self.from..self.at]);
        }
    }

    fn leave_out(&mut self, input: &[u8], octets: usize) {
        self.flush(input);
        self.at += octets;
        self.from = self.at;
    }

    fn replace_by_crlf(&mut self, input: &[u8], octets: usize) {
        self.leave_out(input, octets);
        self.copy.extend_from_slice(b"\r\n");
    }

    fn take(mut self, input: &mut BytesMut) -> Bytes {
        if self.copy.is_empty() {
            input.advance(self.from);
            return input.split_to(self.at - self.from).freeze();
        }
        self.flush(input);
        input.advance(self.at);
        self.copy.freeze()
    }
}

/// Makes the line ends of BDAT chunks CRLF as the decoder does for DATA (RFC 3030 leaves them as they
/// are; everything behind us relies on CRLF). Never used for BINARYMIME.
#[derive(Debug, Default)]
pub struct LineEnds {
    /// A CR ended the last piece; it was not given out yet.
    held: bool,
    bare_newline: bool,
}

impl LineEnds {
    /// Whether a lone CR or LF was seen.
    pub fn has_bare_newline(&self) -> bool {
        self.bare_newline
    }

    /// The piece with its line ends mended; `last`: nothing follows it.
    pub fn mend(&mut self, piece: Bytes, last: bool) -> Bytes {
        if !self.held && is_clean(&piece) {
            return piece;
        }
        let mut out = BytesMut::with_capacity(piece.len() + 16);
        let mut rest = &piece[..];
        while self.held || !rest.is_empty() {
            if self.held {
                match rest.first() {
                    None if !last => break,
                    Some(b'\n') => rest = &rest[1..],
                    _ => self.bare_newline = true,
                }
                self.held = false;
                out.extend_from_slice(b"\r\n");
                continue;
            }
            let index = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..index]);
            match rest.get(index) {
                Some(b'\r') => self.held = true,
                Some(_) => {
                    self.bare_newline = true;
                    out.extend_from_slice(b"\r\n");
                }
                None => break,
            }
            rest = &rest[index + 1..];
        }
        out.freeze()
    }
}

/// Whether each CR and LF is part of a CRLF.
fn is_clean(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(index) = memchr2(b'\r', b'\n', rest) {
        if !rest[index..].starts_with(b"\r\n") {
            return false;
        }
        rest = &rest[index + 2..];
    }
    true
}

/// Puts a message on the wire: doubles the dot at the beginning of a line (RFC 5321 §4.5.2). Takes text
/// whose lines end in CRLF, in pieces cut anywhere.
#[derive(Debug)]
pub struct Stuffer {
    /// The last two octets; a message begins as if behind a CRLF.
    tail: [u8; 2],
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Stuffer {
    /// For one message.
    pub fn new() -> Self {
        Self { tail: *b"\r\n" }
    }

    /// Appends the next piece of the message. A dot behind a lone LF is doubled too: a server that takes
    /// LF for a line end shall not see a lone dot either.
    pub fn stuff(&mut self, chunk: &[u8], out: &mut BytesMut) {
        out.reserve(chunk.len() + 8);
        if self.tail[1] == b'\n' && chunk.first() == Some(&b'.') {
            out.extend_from_slice(b".");
        }
        let mut from = 0;
        for newline in memmem::find_iter(chunk, b"\n.") {
            out.extend_from_slice(&chunk[from..=newline]);
            out.extend_from_slice(b".");
            from = newline + 1;
        }
        out.extend_from_slice(&chunk[from..]);
        match *chunk {
            [] => {}
            [only] => self.tail = [self.tail[1], only],
            [.., before, last] => self.tail = [before, last],
        }
    }

    /// Appends the final dot, behind a CRLF where the message has none at its end.
    pub fn finish(self, out: &mut BytesMut) {
        if self.tail != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes what comes in these pieces; the body, whether it ended, and what was left over.
    fn decode(decoder: &mut Decoder, pieces: &[&[u8]]) -> (Vec<u8>, bool, Vec<u8>) {
        let (mut input, mut body, mut ended) = (BytesMut::new(), Vec::new(), false);
        for piece in pieces {
            input.extend_from_slice(piece);
            while !ended {
                match decoder.decode(&mut input) {
                    Step::Body(bytes) => body.extend_from_slice(&bytes),
                    Step::End => ended = true,
                    Step::NeedInput => break,
                }
            }
        }
        (body, ended, input.to_vec())
    }

    fn whole(wire: &[u8]) -> (Vec<u8>, bool, Vec<u8>) {
        decode(&mut Decoder::new(1 << 20, false), &[wire])
    }

    /// Cut in two at every place and cut into single octets: always the same.
    fn cut_everywhere(wire: &[u8]) -> (Vec<u8>, bool, Vec<u8>) {
        let expected = whole(wire);
        for cut in 0..=wire.len() {
            let (a, b) = wire.split_at(cut);
            let found = decode(&mut Decoder::new(1 << 20, false), &[a, b]);
            assert_eq!(found, expected, "{wire:?} cut at {cut}");
        }
        let single: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(decode(&mut Decoder::new(1 << 20, false), &single), expected, "{wire:?}");
        expected
    }

    #[test]
    fn a_message_is_unstuffed_and_what_follows_is_left() {
        for (wire, body, rest) in [
            (&b".\r\n"[..], &b""[..], &b""[..]),
            (b"\r\n.\r\n", b"\r\n", b""),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
            (b"..\r\n.\r\n", b".\r\n", b""),
            (b"...\r\na\r\n..b\r\n.c\r\n.\r\n", b"..\r\na\r\n.b\r\nc\r\n", b""),
            (b"a\0b\xff\r\n\0.\r\n.\r\n", b"a\0b\xff\r\n\0.\r\n", b""),
        ] {
            assert_eq!(cut_everywhere(wire), (body.to_vec(), true, rest.to_vec()), "{wire:?}");
        }
    }

    #[test]
    fn a01_only_crlf_dot_crlf_ends_the_message() {
        for fake in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r\n.\r",
            b"\r.\r\n",
            b"\r\n.\r\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
            b"\r\n.\r\0\n",
            b"\r\n\r.\r\n",
            b"\n\r.\r\n",
        ] {
            let smuggled = [&b"first"[..], fake, b"MAIL FROM:<x@y>\r\n"].concat();
            let wire = [&smuggled[..], b".\r\nQUIT\r\n"].concat();
            for reject in [false, true] {
                let mut decoder = Decoder::new(1 << 20, reject);
                let (_, ended, rest) = decode(&mut decoder, &[&smuggled]);
                assert!(!ended, "{fake:?}");
                assert!(rest.is_empty(), "{fake:?}");
                let (body, ended, rest) = decode(&mut Decoder::new(1 << 20, reject), &[&wire]);
                assert!(ended, "{fake:?}");
                assert_eq!(rest, b"QUIT\r\n", "{fake:?}");
                if !reject {
                    assert!(is_clean(&body), "{fake:?} became {body:?}");
                }
            }
            cut_everywhere(&wire);
        }
    }

    #[test]
    fn a01_crlf_dot_crlf_ends_the_message_behind_a_lone_cr_too() {
        for wire in [&b"a\r\r\n.\r\nQUIT\r\n"[..], b"a\r\r\r\n.\r\nQUIT\r\n"] {
            let (_, ended, rest) = cut_everywhere(wire);
            assert!(ended, "{wire:?}");
            assert_eq!(rest, b"QUIT\r\n");
        }
        // A dot was doubled there, since the client saw a CRLF.
        let (body, ..) = cut_everywhere(b"a\r\r\n..b\r\n.\r\n");
        assert_eq!(body, b"a\r\n.b\r\n");
    }

    #[test]
    fn a01_what_was_normalised_never_ends_the_message_downstream() {
        for wire in [
            &b"a\n.\nMAIL FROM:<x@y>\n.\r\n.\r\n"[..],
            b"a\r.\rMAIL FROM:<x@y>\r\n.\r\n",
            b"\n.\r\n.\r\n",
            b"a\n..\n.\n...\nb\r\n.\r\n",
        ] {
            let (body, ended, _) = cut_everywhere(wire);
            assert!(ended);
            let mut again = BytesMut::new();
            let mut stuffer = Stuffer::new();
            stuffer.stuff(&body, &mut again);
            stuffer.finish(&mut again);
            let mut strict = Decoder::new(1 << 20, true);
            let (twice, ended, rest) = decode(&mut strict, &[&again]);
            assert!(ended && rest.is_empty() && !strict.has_bare_newline(), "{wire:?}");
            assert_eq!(twice, body);
        }
    }

    #[test]
    fn a02_a_bare_newline_becomes_crlf_or_is_remembered() {
        for (wire, body) in [
            (&b"a\nb\r\n.\r\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\rb\r\n.\r\n", b"a\r\nb\r\n"),
            (b"a\n\n\rb\r\n.\r\n", b"a\r\n\r\n\r\nb\r\n"),
            (b"a\r\r\nb\r\r\n\r\n.\r\n", b"a\r\nb\r\n\r\n"),
            (b"a\r\r\r\nb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
            (b"a\r\rb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
            (b"a\n..b\n.c\r\n.\r\n", b"a\r\n.b\r\n.c\r\n"),
            (b"\n\r\n.\r\n", b"\r\n\r\n"),
        ] {
            assert_eq!(cut_everywhere(wire), (body.to_vec(), true, vec![]), "{wire:?}");
            let mut decoder = Decoder::new(1 << 20, true);
            assert!(decode(&mut decoder, &[wire]).1);
            assert!(decoder.has_bare_newline());
        }
    }

    #[test]
    fn a08_too_large_is_read_to_its_end_and_dropped() {
        for (text, too_large) in [("123\r\n", false), ("1234\r\n", true), ("1\r\n2\r\n", true)] {
            let wire = format!("{text}.\r\nQUIT\r\n");
            let single: Vec<&[u8]> = wire.as_bytes().chunks(1).collect();
            for pieces in [&single[..], &[wire.as_bytes()]] {
                let mut decoder = Decoder::new(5, false);
                let (body, ended, rest) = decode(&mut decoder, pieces);
                assert!(ended);
                assert_eq!(decoder.is_too_large(), too_large, "{text:?}");
                assert!(body.len() <= 5);
                assert!(b"QUIT\r\n".ends_with(&rest));
            }
        }
    }

    #[test]
    fn a07_long_lines_pass_unchanged() {
        let mut wire = vec![b'x'; 1 << 20];
        wire.extend_from_slice(b"\r\n.\r\n");
        let (body, ended, _) = decode(&mut Decoder::new(2 << 20, true), &[&wire]);
        assert!(ended);
        assert_eq!(body, &wire[..wire.len() - 3]);
    }

    #[test]
    fn a_clean_piece_is_not_copied() {
        let mut input = BytesMut::from(&b"a\r\nb\r\n.\r\n"[..]);
        let place = input.as_ptr();
        let Step::Body(body) = Decoder::new(100, false).decode(&mut input) else {
            panic!("no body");
        };
        assert_eq!(body.as_ptr(), place);
    }

    #[test]
    fn a20_line_ends_of_chunks_are_mended_across_cuts() {
        for (text, mended, bare) in [
            (&b"a\r\nb"[..], &b"a\r\nb"[..], false),
            (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n", true),
            (b"a\r", b"a\r\n", true),
            (b"a\r\r\n\n", b"a\r\n\r\n\r\n", true),
            (b"\r\n", b"\r\n", false),
        ] {
            for cut in 0..=text.len() {
                let mut ends = LineEnds::default();
                let mut found = ends.mend(Bytes::copy_from_slice(&text[..cut]), false).to_vec();
                found.extend_from_slice(&ends.mend(Bytes::copy_from_slice(&text[cut..]), true));
                assert_eq!(found, mended, "{text:?} cut at {cut}");
                assert_eq!(ends.has_bare_newline(), bare, "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_message_without_last_crlf_gets_one() {
        for (text, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".\r\n.", b"..\r\n..\r\n.\r\n"),
            (b"a\n.b\r\n", b"a\n..b\r\n.\r\n"),
            (b"a\n", b"a\n\r\n.\r\n"),
            (b"a\r", b"a\r\r\n.\r\n"),
        ] {
            for cut in 0..=text.len() {
                let (mut stuffer, mut out) = (Stuffer::new(), BytesMut::new());
                stuffer.stuff(&text[..cut], &mut out);
                stuffer.stuff(&text[cut..], &mut out);
                stuffer.finish(&mut out);
                assert_eq!(out, wire, "{text:?} cut at {cut}");
            }
        }
    }

    /// Text whose lines end in CRLF, rich in dots.
    fn crlf_text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b".".to_vec()),
            Just(b"..".to_vec()),
            proptest::collection::vec(
                any::<u8>().prop_filter("no line end", |o| *o != b'\r' && *o != b'\n'),
                0..6
            ),
        ];
        proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn what_was_stuffed_is_unstuffed_to_the_same(text in crlf_text(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let mut stuffer = Stuffer::new();
            let mut wire = BytesMut::new();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.push(text.len());
            at.sort_unstable();
            let mut from = 0;
            for to in at {
                stuffer.stuff(&text[from..to], &mut wire);
                from = to;
            }
            stuffer.finish(&mut wire);
            wire.extend_from_slice(b"QUIT\r\n");
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            at.push(wire.len());
            at.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for to in at {
                pieces.push(&wire[from..to]);
                from = to;
            }
            let (body, ended, rest) = decode(&mut Decoder::new(1 << 20, true), &pieces);
            let mut expected = text.clone();
            if !text.is_empty() && !text.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert!(ended);
            prop_assert_eq!(body, expected);
            prop_assert_eq!(rest, b"QUIT\r\n".to_vec());
        }

        #[test]
        fn any_octets_are_cut_anywhere_to_the_same(wire in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..24)) {
            let (body, ..) = cut_everywhere(&wire);
            prop_assert!(is_clean(&body));
        }
    }
}
