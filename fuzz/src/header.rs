//! The header of a message: its end does not depend on the cut, and every field that is not named in the
//! edit stays byte for byte, in its place.

use super::input::{Input, bit};
use bytes::Bytes;
use submitd::mail::header::{self, Edit, End};
use submitd::smtp::data::LineEnds;

/// First octet: what is changed; then the message. Its line ends are made CRLF first, as on arrival.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let switch = input.octet();
    // Never looked at unclean; it must not panic all the same.
    let _ = header::find_end(input.rest(), true);
    let _ = header::fields(input.rest()).map(|field| field.value().len()).sum::<usize>();

    let mut message = LineEnds::default().mend(Bytes::copy_from_slice(input.rest()), true).to_vec();
    if !bit(switch, 5) && !message.ends_with(b"\r\n") {
        message.extend_from_slice(b"\r\n");
    }
    let end = header::find_end(&message, true).expect("nothing follows");
    for cut in (0..message.len()).step_by(1 + message.len() / 200) {
        if let Some(found) = header::find_end(&message[..cut], false) {
            assert_eq!(found, end, "cut at {cut}");
        }
    }
    let edit = Edit {
        received: bit(switch, 0).then(|| "Received: by relay.example;\r\n\tnow\r\n".to_owned()),
        date: bit(switch, 1).then(|| "Thu, 01 Jan 1970 00:00:00 +0000".to_owned()),
        message_id: bit(switch, 2).then(|| "<1@relay.example>".to_owned()),
        remove_bcc: bit(switch, 3),
        remove_return_path: bit(switch, 4),
    };
    edited(&message, end, &edit);
}

fn edited(message: &[u8], end: End, edit: &Edit) {
    let (head, body) = message.split_at(end.header);
    let found = edit.apply(head, end);
    assert_eq!(found, expected(head, end, edit), "{}", head.escape_ascii());
    // The text behind it does not become header, nor header text.
    let sent = [&found[..], body].concat();
    let blank = if end.needs_blank { 2 } else { 0 };
    let again = End { header: found.len() - blank, needs_blank: false };
    assert_eq!(header::find_end(&sent, true), Some(again), "{}", sent.escape_ascii());
}

/// The same line by line.
fn expected(head: &[u8], end: End, edit: &Edit) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for line in head.split_inclusive(|octet| *octet == b'\n') {
        match fields.last_mut() {
            Some(field) if line.starts_with(b" ") || line.starts_with(b"\t") => field.extend(line),
            _ => fields.push(line.to_vec()),
        }
    }
    let name = |field: &Vec<u8>| {
        let text = String::from_utf8_lossy(field).into_owned();
        text.split(':').next().unwrap_or_default().trim_end().to_ascii_lowercase()
    };
    let has = |wanted: &str| fields.iter().any(|field| name(field) == wanted);
    let mut out = edit.received.clone().unwrap_or_default().into_bytes();
    for field in &fields {
        let drops = match name(field).as_str() {
            "bcc" | "resent-bcc" => edit.remove_bcc,
            "return-path" => edit.remove_return_path,
            _ => false,
        };
        if !drops {
            out.extend_from_slice(field);
        }
    }
    for (field, value) in [("Date", &edit.date), ("Message-ID", &edit.message_id)] {
        if let Some(value) = value.as_ref().filter(|_| !has(&field.to_ascii_lowercase())) {
            out.extend_from_slice(format!("{field}: {value}\r\n").as_bytes());
        }
    }
    if end.needs_blank {
        out.extend_from_slice(b"\r\n");
    }
    out
}
