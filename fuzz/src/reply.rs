//! Replies of a server: the same however they are cut, bounded, harmless, and read as they were written.

use super::input::{Input, cut};
use bytes::BytesMut;
use submitd::smtp::reply::{Reader, Reply};
use submitd::smtp::reply_write::LONGEST_LINE;

/// What is kept of one reply, with a newline for each of its lines.
const LONGEST_TEXT: usize = 64 * 1024 + 100;

/// First octet: the cuts; then the wire. A `~` stands for a thousand of it: long replies are otherwise rare.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let seed = input.octet();
    let mut wire = Vec::new();
    for octet in input.rest() {
        let times = if *octet == b'~' { 1000 } else { 1 };
        wire.extend(std::iter::repeat_n(*octet, times));
    }
    let (replies, error) = read(&[&wire]);
    assert_eq!(read(&cut(&wire, seed)), (replies.clone(), error));
    for reply in &replies {
        harmless(reply);
        written(reply);
    }
}

/// The replies, and why it went no further.
fn read(pieces: &[&[u8]]) -> (Vec<Reply>, Option<String>) {
    let mut reader = Reader::new();
    let mut replies = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match reader.read(&mut rest) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error.to_string())),
            }
        }
        assert!(rest.is_empty(), "octets were left");
    }
    (replies, None)
}

fn harmless(reply: &Reply) {
    assert!((200..600).contains(&reply.code));
    assert!(reply.text.len() <= LONGEST_TEXT);
    assert!(!reply.text.chars().any(|c| c.is_control() && c != '\n'), "{reply:?}");
    assert!(!reply.to_string().contains(char::is_control), "{reply:?}");
}

/// Written and read again it has the same codes, and is written to the same text.
fn written(reply: &Reply) {
    let mut out = BytesMut::new();
    reply.write(&mut out);
    for line in out.split_inclusive(|octet| *octet == b'\n') {
        assert!(line.len() <= LONGEST_LINE && line.ends_with(b"\r\n"));
        assert!(line[..line.len() - 2].iter().all(|octet| matches!(octet, b' '..=b'~')));
    }
    let (again, error) = read(&[&out]);
    assert!(error.is_none() && again.len() == 1, "{reply:?}: {error:?}");
    assert_eq!((again[0].code, again[0].enhanced), (reply.code, reply.enhanced), "{reply:?}");
    let mut twice = BytesMut::new();
    again[0].write(&mut twice);
    assert_eq!(without_blanks(&out), without_blanks(&twice), "{reply:?}");
}

/// Where a line was cut at a blank, the second writing leaves the blank out.
fn without_blanks(wire: &[u8]) -> Vec<&[u8]> {
    wire.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii_end).collect()
}
