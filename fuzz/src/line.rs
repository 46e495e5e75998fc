//! Command lines: the same however they are cut, as a plain search finds them, within a bound.

use super::input::{Input, cut};
use bytes::BytesMut;
use submitd::smtp::line::{LONGEST, Line, Lines};

/// Beyond this a line is given up; the bound of `smtp::line`.
const ENDLESS: usize = 64 * 1024;

/// First octet: the cuts; then the wire. A `~` stands for a thousand of it: long lines are otherwise rare.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let seed = input.octet();
    let mut wire = Vec::new();
    for octet in input.rest() {
        let times = if *octet == b'~' { 1000 } else { 1 };
        wire.extend(std::iter::repeat_n(*octet, times));
    }
    let whole = take(&[&wire]);
    assert_eq!(take(&cut(&wire, seed)), whole);
    assert_eq!(whole, expected(&wire));
}

/// Every line, as text for comparing; what stands behind the last end.
fn take(pieces: &[&[u8]]) -> Vec<String> {
    let (mut lines, mut input, mut found) = (Lines::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match lines.take(&mut input) {
                Line::NeedInput => break,
                Line::Endless => {
                    found.push("endless".to_owned());
                    return found;
                }
                line => found.push(shown(&line)),
            }
        }
        assert!(input.len() <= LONGEST + 1, "{} octets are held", input.len());
    }
    found
}

fn shown(line: &Line) -> String {
    match line {
        Line::Whole(line) => format!("whole {}", line.escape_ascii()),
        Line::TooLong(head) => format!("too long {}", head.escape_ascii()),
        Line::Endless | Line::NeedInput => String::new(),
    }
}

/// The same by cutting all of it at LF.
fn expected(wire: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for line in wire.split_inclusive(|octet| *octet == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else {
            if line.len() > ENDLESS {
                found.push("endless".to_owned());
            }
            break;
        };
        if line.len() > ENDLESS {
            found.push("endless".to_owned());
            break;
        }
        if text.len() > LONGEST + 1 {
            found.push(format!("too long {}", text[..16].escape_ascii()));
        } else {
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            found.push(format!("whole {}", text.escape_ascii()));
        }
    }
    found
}
