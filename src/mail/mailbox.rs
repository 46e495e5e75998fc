//! The addresses in a `From:` or `Sender:` field (RFC 5322 §3.4, groups as RFC 6854 allows them).
//!
//! It is strict, because permission hangs on it: where two readers could see different addresses, it
//! sees none and says so. It promises to find every address or to fail, and that the place it gives of
//! each is exactly the addr-spec, so that it can be replaced and all else stays.

use super::Address;
use std::ops::Range;

/// One mailbox of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The addr-spec; a bare local part such as `root` is one, too.
    pub address: Address,
    /// Where it stands in the value.
    pub place: Range<usize>,
}

/// The field cannot be read without doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address list cannot be read without doubt")]
pub struct Unreadable;

/// A word or mark of the value, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kind: Kind,
    place: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Atom,
    Quoted,
    /// `[127.0.0.1]`.
    Literal,
    Mark(u8),
}

/// Every mailbox of a field's value (what stands behind the colon, folds included), in order.
///
/// # Errors
/// [`Unreadable`]; an empty list is none.
pub fn mailboxes(value: &[u8]) -> Result<Vec<Mailbox>, Unreadable> {
    let tokens = tokens(value)?;
    let mut list = List { value, tokens: &tokens, at: 0 };
    let mut found = Vec::new();
    let mut in_group = false;
    loop {
        let words = list.words();
        match list.mark() {
            Some(b'@') => found.push(list.plain(words)?),
            Some(b'<') => found.push(list.angled()?),
            Some(b':') if !in_group && !words.is_empty() => {
                in_group = true;
                list.at += 1;
                continue;
            }
            _ => match words {
                [] => {}
                [word] => found.push(list.address(word.place.clone())?),
                _ => return Err(Unreadable),
            },
        }
        match list.mark() {
            None if in_group => return Err(Unreadable),
            None => return Ok(found),
            Some(b',') => {}
            Some(b';') if in_group => {
                in_group = false;
                list.at += 1;
                // Nothing but a comma or the end may follow a group.
                match list.mark() {
                    None if list.is_over() => return Ok(found),
                    Some(b',') => {}
                    _ => return Err(Unreadable),
                }
            }
            Some(_) => return Err(Unreadable),
        }
        list.at += 1;
    }
}

/// A walk over the tokens.
struct List<'a> {
    value: &'a [u8],
    tokens: &'a [Token],
    at: usize,
}

impl<'a> List<'a> {
    fn is_over(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The words that stand here; what follows is a mark or the end.
    fn words(&mut self) -> &'a [Token] {
        let rest = &self.tokens[self.at.min(self.tokens.len())..];
        let is_word = |token: &Token| matches!(token.kind, Kind::Atom | Kind::Quoted);
        let count = rest.iter().position(|token| !is_word(token)).unwrap_or(rest.len());
        self.at += count;
        &rest[..count]
    }

    /// The mark that stands here. A literal or a word counts as a mark that fits nowhere.
    fn mark(&self) -> Option<u8> {
        self.tokens.get(self.at).map(|token| match token.kind {
            Kind::Mark(mark) => mark,
            _ => 0,
        })
    }

    /// `a@b`, at its `@`. `a@b <a@b>`, as sloppy programs write it, is one, too.
    fn plain(&mut self, words: &[Token]) -> Result<Mailbox, Unreadable> {
        let [local] = words else { return Err(Unreadable) };
        let plain = self.domain(local.place.start)?;
        if self.mark() != Some(b'<') {
            return Ok(plain);
        }
        let angled = self.angled()?;
        let is_same = angled.address.is_same_mailbox(&plain.address);
        if is_same { Ok(angled) } else { Err(Unreadable) }
    }

    /// `<a@b>` or `<a>`, at its `<`. Source routes and `<>` are not read.
    fn angled(&mut self) -> Result<Mailbox, Unreadable> {
        self.at += 1;
        let [local] = self.words() else { return Err(Unreadable) };
        let found = match self.mark() {
            Some(b'@') => self.domain(local.place.start)?,
            _ => self.address(local.place.clone())?,
        };
        if self.mark() != Some(b'>') {
            return Err(Unreadable);
        }
        self.at += 1;
        Ok(found)
    }

    /// At the `@` of an address whose local part begins at `start`.
    fn domain(&mut self, start: usize) -> Result<Mailbox, Unreadable> {
        let domain = self.tokens.get(self.at + 1).ok_or(Unreadable)?;
        if !matches!(domain.kind, Kind::Atom | Kind::Literal) {
            return Err(Unreadable);
        }
        let end = domain.place.end;
        self.at += 2;
        self.address(start..end)
    }

    /// The address at a place; blanks and comments inside it do not belong to it.
    fn address(&self, place: Range<usize>) -> Result<Mailbox, Unreadable> {
        let mut octets = Vec::with_capacity(place.len());
        for token in self.tokens {
            if token.place.start >= place.start && token.place.end <= place.end {
                octets.extend_from_slice(&self.value[token.place.clone()]);
            }
        }
        let text = String::from_utf8(octets).map_err(|_| Unreadable)?;
        // Some readers decode encoded words even here and see another address.
        if text.contains("=?") {
            return Err(Unreadable);
        }
        let address = Address::parse(&text).map_err(|_| Unreadable)?;
        Ok(Mailbox { address, place })
    }
}

/// Cuts the value into words and marks; blanks, folds and comments fall out.
fn tokens(value: &[u8]) -> Result<Vec<Token>, Unreadable> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&octet) = value.get(at) {
        let (kind, end) = match octet {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'(' => {
                at = comment_end(value, at)?;
                continue;
            }
            b'"' => (Kind::Quoted, enclosed_end(value, at, b'"')?),
            b'[' => (Kind::Literal, enclosed_end(value, at, b']')?),
            b'<' | b'>' | b'@' | b',' | b':' | b';' => (Kind::Mark(octet), at + 1),
            _ if is_atom(octet) => {
                let length = value[at..].iter().position(|&octet| !is_atom(octet));
                (Kind::Atom, length.map_or(value.len(), |length| at + length))
            }
            _ => return Err(Unreadable),
        };
        tokens.push(Token { kind, place: at..end });
        at = end;
    }
    Ok(tokens)
}

/// Letters, digits, the dot, what RFC 5322 §3.2.3 allows, and 8-bit octets.
fn is_atom(octet: u8) -> bool {
    !octet.is_ascii_control() && !b" ()<>[]:;@\\,\"".contains(&octet)
}

/// Behind the mark that ends what begins at `start`; a backslash takes the next octet along.
fn enclosed_end(value: &[u8], start: usize, mark: u8) -> Result<usize, Unreadable> {
    let mut at = start + 1;
    loop {
        match value.get(at) {
            None | Some(0) => return Err(Unreadable),
            Some(b'\\') => at += 2,
            Some(octet) if *octet == mark => return Ok(at + 1),
            Some(_) => at += 1,
        }
    }
}

/// Behind a comment; comments nest.
fn comment_end(value: &[u8], start: usize) -> Result<usize, Unreadable> {
    let mut at = start;
    let mut depth = 0_usize;
    loop {
        match value.get(at) {
            None | Some(0) => return Err(Unreadable),
            Some(b'\\') => at += 1,
            Some(b'(') => depth += 1,
            Some(b')') if depth == 1 => return Ok(at + 1),
            Some(b')') => depth -= 1,
            Some(_) => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<Vec<String>> {
        let all = mailboxes(value.as_bytes()).ok()?;
        Some(all.iter().map(|mailbox| mailbox.address.to_string()).collect())
    }

    #[test]
    fn a23_reads_what_programs_write() {
        for (value, expected) in [
            (" erp@contoso.com", &["erp@contoso.com"][..]),
            (" ERP <erp@contoso.com>", &["erp@contoso.com"]),
            (" \"ERP, \\\"x\\\" <evil@b>\" <erp@contoso.com>", &["erp@contoso.com"]),
            (" root (Cron Daemon)", &["root"]),
            (" (x) <root>", &["root"]),
            (" John Q. Public <j@b>", &["j@b"]),
            (" a@b, c@d", &["a@b", "c@d"]),
            (" a@b,, c@d,", &["a@b", "c@d"]),
            (" Team: a@b, X <c@d>;", &["a@b", "c@d"]),
            (" Team: a@b;, c@d", &["a@b", "c@d"]),
            (" undisclosed:;", &[]),
            ("", &[]),
            (" a (evil@c) @ (x(y)z) b", &["a@b"]),
            ("\r\n\ta@\r\n b", &["a@b"]),
            (" \"a b\"@c", &["\"a b\"@c"]),
            (" \"a@b\"@c", &["\"a@b\"@c"]),
            (" x@[127.0.0.1]", &["x@[127.0.0.1]"]),
            (" =?utf-8?q?evil=40b?= <a@b>", &["a@b"]),
            (" a@b <A@B>", &["A@B"]),
            (" Grün <grün@bäcker.example>", &["grün@bäcker.example"]),
        ] {
            let expected = expected.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(read(value), Some(expected), "{value:?}");
        }
        assert!(mailboxes(b" M\xfcller <m@b>").is_ok_and(|all| all.len() == 1));
    }

    #[test]
    fn a23_what_two_readers_could_see_differently_is_not_read() {
        for value in [
            "a@b <evil@c>",
            "a@b <a@b> <c@d>",
            "<a@b> c",
            "<a@b><c@d>",
            "<a@b",
            "a@b>",
            "<>",
            "<@x,@y:a@b>",
            "<@x:a@b>",
            "Foo Bar",
            "Foo Bar a@b",
            "a@b c@d",
            "a@b; c@d",
            "a@b Name <c@d>",
            "Team: a@b",
            "Team: Inner: a@b;;",
            "Team: a@b; c@d",
            ": a@b;",
            "\"a@b",
            "a@b (open",
            "a@b )",
            "a@b\\",
            "a@",
            "@b",
            "a@@b",
            "a@b@c",
            "a@\"b\"",
            "a b@c",
            "\"a\"b@c",
            "\"a\".b@c",
            "=?utf-8?q?a=40evil.example=3e?=@b",
            "a@=?utf-8?q?b?=",
            "a\u{0}@b",
            "\"a\u{0}\" <a@b>",
            "a@b (\u{0})",
            "a\u{7f}@b",
            "\"a\r\n b\"@c",
            "[x] <a@b>",
            "<\"a\" b@c>",
            "<a b@c>",
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
        assert_eq!(mailboxes(b"m\xfcller@b"), Err(Unreadable));
    }

    #[test]
    fn the_place_is_the_address_alone() {
        for (value, with) in [
            (" \"R\" <root@host> (x)", " \"R\" <!> (x)"),
            (" root (Cron Daemon)", " ! (Cron Daemon)"),
            (" root (c) @ host", " !"),
            (" a@b <a@b>", " a@b <!>"),
        ] {
            let all = mailboxes(value.as_bytes()).expect(value);
            let mut text = value.to_owned();
            text.replace_range(all[0].place.clone(), "!");
            assert_eq!(text, with);
        }
    }

    #[test]
    fn a_value_cut_anywhere_never_shows_more() {
        let value = b" \"A \\\" (\" <a@b> (c (d) \\) ), T: c@d, <e@[1.2.3.4]>;, f@g";
        let whole = mailboxes(value).expect("whole");
        for cut in 0..value.len() {
            if let Ok(part) = mailboxes(&value[..cut]) {
                assert!(part.len() <= whole.len(), "cut at {cut}");
            }
        }
        assert_eq!(whole.len(), 4);
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused(value in "[a@<>,:;\"\\\\()\\[\\] \r\n.=?\u{e4}\u{0}]{0,40}") {
            for mailbox in mailboxes(value.as_bytes()).unwrap_or_default() {
                let place = &value[mailbox.place.clone()];
                prop_assert!(Address::parse(mailbox.address.as_str()).is_ok());
                prop_assert_eq!(place.starts_with(mailbox.address.local()), true);
            }
        }
    }
}
