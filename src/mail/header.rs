//! The header of a message: finding its end, its fields, and the few changes we make.
//!
//! It promises that every octet that is not named in [`Edit`] stays as it is, folding and 8-bit
//! included. Lines must end in CRLF here: the front door sees to that.

/// Where the header ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Octets of the header fields, without the empty line.
    pub header: usize,
    /// The text has no empty line there (a program that sends no header at all): one must be put in,
    /// else what we add would run into the text.
    pub needs_blank: bool,
}

/// Finds the end of the header in the first octets of a message.
///
/// `complete` says that nothing follows. None: more octets are needed to know.
pub fn find_end(octets: &[u8], complete: bool) -> Option<End> {
    match find_end_from(octets, 0) {
        Ok(end) => Some(end),
        Err(header) => complete.then_some(End { header, needs_blank: true }),
    }
}

/// Finds the end of a header that comes in pieces: `from` is where the last search stood.
///
/// # Errors
/// Where the next search goes on, when more octets have come.
pub fn find_end_from(octets: &[u8], from: usize) -> Result<End, usize> {
    let mut start = from;
    while let Some(length) = line_end(&octets[start..]) {
        let line = &octets[start..start + length];
        if line.is_empty() {
            return Ok(End { header: start, needs_blank: false });
        }
        let continues = start > 0 && matches!(line[0], b' ' | b'\t');
        if !continues && name(line).is_none() {
            return Ok(End { header: start, needs_blank: true });
        }
        start += length + 2;
    }
    Err(start)
}

/// The name of the field that begins with this line (RFC 5322 §2.2, with the obsolete blanks before
/// the colon of §4.5), or none where the line is no field.
fn name(line: &[u8]) -> Option<&str> {
    let colon = memchr::memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let fits = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic());
    if fits { std::str::from_utf8(name).ok() } else { None }
}

/// One field with its continuation lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written.
    pub name: &'a str,
    /// The whole field: name, colon, value, folds, final CRLF.
    pub raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// Whether it is the field of this name; case does not count.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// What stands behind the colon, folds and outer blanks included, without the final CRLF.
    pub fn value(&self) -> &'a [u8] {
        let colon = memchr::memchr(b':', self.raw).map_or(0, |colon| colon + 1);
        self.raw[colon..].strip_suffix(b"\r\n").unwrap_or(&self.raw[colon..])
    }
}

/// The fields of a header, in order. Octets before the first field are passed over.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let length = field_length(rest);
            let (raw, after) = rest.split_at(length);
            rest = after;
            let line = memchr::memchr(b'\r', raw).map_or(raw, |end| &raw[..end]);
            if let Some(name) = name(line) {
                return Some(Field { name, raw });
            }
        }
        None
    })
}

/// Octets of the first field: up to the first CRLF that no blank follows.
fn field_length(octets: &[u8]) -> usize {
    let mut start = 0;
    while let Some(length) = line_end(&octets[start..]) {
        start += length + 2;
        if !matches!(octets.get(start), Some(b' ' | b'\t')) {
            return start;
        }
    }
    octets.len()
}

/// Octets before the first CRLF.
fn line_end(octets: &[u8]) -> Option<usize> {
    let mut feeds = memchr::memchr_iter(b'\n', octets);
    feeds.find_map(|feed| octets[..feed].strip_suffix(b"\r").map(<[u8]>::len))
}

/// The changes we make; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// A whole `Received:` field with its CRLF, put on top.
    pub received: Option<String>,
    /// The value of `Date:` where none stands.
    pub date: Option<String>,
    /// The value of `Message-ID:` where none stands.
    pub message_id: Option<String>,
    /// Drop `Bcc:` and `Resent-Bcc:`.
    pub remove_bcc: bool,
    /// Drop `Return-Path:`.
    pub remove_return_path: bool,
}

impl Edit {
    /// The header after the changes, with the empty line where `end` says one must be put in.
    pub fn apply(&self, header: &[u8], end: End) -> Vec<u8> {
        let mut out = Vec::with_capacity(header.len() + 512);
        if let Some(received) = &self.received {
            out.extend_from_slice(received.as_bytes());
        }
        let mut has_date = false;
        let mut has_message_id = false;
        for field in fields(header) {
            has_date |= field.is("Date");
            has_message_id |= field.is("Message-ID");
            if !self.drops(&field) {
                out.extend_from_slice(field.raw);
            }
        }
        if let Some(date) = self.date.as_ref().filter(|_| !has_date) {
            out.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
        }
        if let Some(id) = self.message_id.as_ref().filter(|_| !has_message_id) {
            out.extend_from_slice(format!("Message-ID: {id}\r\n").as_bytes());
        }
        if end.needs_blank {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    fn drops(&self, field: &Field<'_>) -> bool {
        (self.remove_bcc && (field.is("Bcc") || field.is("Resent-Bcc")))
            || (self.remove_return_path && field.is("Return-Path"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(header: usize, needs_blank: bool) -> End {
        End { header, needs_blank }
    }

    #[test]
    fn finds_the_end_of_every_kind_of_header() {
        for (text, complete, expected) in [
            ("A: b\r\n\r\nbody", false, Some(end(6, false))),
            ("A: b\r\n c\r\n\r\nbody", false, Some(end(10, false))),
            ("\r\nbody", false, Some(end(0, false))),
            ("no header at all\r\n", false, Some(end(0, true))),
            (" begins with a blank: x\r\n", false, Some(end(0, true))),
            ("A: b\r\nnot a field\r\n", false, Some(end(6, true))),
            ("A: b\r\n", false, None),
            ("A: b\r\n", true, Some(end(6, true))),
            ("A: b", true, Some(end(0, true))),
            ("", true, Some(end(0, true))),
            ("", false, None),
            ("A : old blanks\r\n\r\n", false, Some(end(16, false))),
        ] {
            assert_eq!(find_end(text.as_bytes(), complete), expected, "{text:?}");
        }
    }

    #[test]
    fn the_end_does_not_depend_on_how_much_has_come() {
        let text = b"From: a\r\nTo: b,\r\n\tc\r\nSubject: \xe4\r\n\r\nbody\r\n";
        let whole = find_end(text, true);
        for cut in 0..text.len() {
            if let Some(found) = find_end(&text[..cut], false) {
                assert_eq!(Some(found), whole, "cut at {cut}");
            }
            // In two pieces: the search goes on where it stood.
            if let Err(searched) = find_end_from(&text[..cut], 0) {
                assert_eq!(find_end_from(text, searched).ok(), whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn changes_only_what_it_is_told_to() {
        let header = b"Return-Path: <x@y>\r\nFrom: a\r\nbcc: secret@b,\r\n\tother@b\r\nX: \xfc\r\n";
        let edit = Edit {
            received: Some("Received: by us\r\n".into()),
            date: Some("now".into()),
            message_id: Some("<1@us>".into()),
            remove_bcc: true,
            remove_return_path: true,
        };
        assert_eq!(
            edit.apply(header, end(header.len(), false)),
            b"Received: by us\r\nFrom: a\r\nX: \xfc\r\nDate: now\r\nMessage-ID: <1@us>\r\n"
        );
        assert_eq!(Edit::default().apply(header, end(header.len(), false)), header);
    }

    #[test]
    fn keeps_the_date_and_message_id_that_stand() {
        let header = b"DATE: then\r\nmessage-id: <2@them>\r\n";
        let edit =
            Edit { date: Some("now".into()), message_id: Some("<1@us>".into()), ..Edit::default() };
        assert_eq!(edit.apply(header, end(header.len(), false)), header);
    }

    #[test]
    fn a_text_without_header_gets_its_empty_line() {
        let edit = Edit { date: Some("now".into()), ..Edit::default() };
        assert_eq!(edit.apply(b"", end(0, true)), b"Date: now\r\n\r\n");
    }

    #[test]
    fn reads_values_over_folds() {
        let all: Vec<_> = fields(b"A: 1\r\nB:\r\n 2\r\n").map(|f| (f.name, f.value())).collect();
        assert_eq!(all, [("A", &b" 1"[..]), ("B", &b"\r\n 2"[..])]);
    }
}
