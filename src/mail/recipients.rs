//! The addresses in a `To:`, `Cc:` or `Bcc:` field (RFC 5322 §3.4, with the obsolete forms of §4.4).
//!
//! It promises that an address is taken whole or not at all: text that cannot be read is an error, never
//! a guess at who is meant. It takes what people and programs write beyond the grammar where there is
//! only one reading: semicolons between addresses, blanks around `@`, a bare local part.

use super::Address;
use super::address::AddressError;

/// Why a list was not read. It holds what is to be shown of the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A quoted string, comment or `<…>` without its end.
    #[error("{what} is never closed in {text:?}")]
    Open {
        /// What was begun.
        what: &'static str,
        /// The list, cut.
        text: String,
    },
    /// One member is no address.
    #[error("{text:?} is no address: {why}")]
    Member {
        /// The member, cut.
        text: String,
        /// What is wrong with it.
        why: AddressError,
    },
}

/// The addresses of a field's value, or of a word of a command line, in order. Folds, comments, names and
/// groups go; `undisclosed-recipients:;` is an empty list.
///
/// # Errors
/// [`ListError`] for the first member that cannot be read.
pub fn list(value: &[u8]) -> Result<Vec<Address>, ListError> {
    // Latin-1 may stand in names; an address with U+FFFD in it is refused below.
    let text = String::from_utf8_lossy(value);
    let mut reader = Reader { text: &text, member: Member::default(), found: Vec::new() };
    reader.read()?;
    Ok(reader.found)
}

/// What is known of one member of the list.
#[derive(Default)]
struct Member {
    /// Outside of `<…>`: a name, or the address itself. Blanks between words are one blank.
    plain: String,
    /// Inside of `<…>`.
    angle: Option<String>,
    /// A blank was seen since the last word.
    blank: bool,
}

impl Member {
    /// Appends to the address text; blanks stay only between two words.
    fn push(&mut self, piece: &str) {
        let Self { plain, angle, blank } = self;
        let place = angle.as_mut().unwrap_or(plain);
        let joins = |c: char| matches!(c, '@' | '.');
        if *blank && !place.is_empty() && !place.ends_with(joins) && !piece.starts_with(joins) {
            place.push(' ');
        }
        *blank = false;
        place.push_str(piece);
    }
}

struct Reader<'a> {
    text: &'a str,
    member: Member,
    found: Vec<Address>,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), ListError> {
        let text = self.text;
        let mut at = 0;
        // Whether `<` was seen and not yet `>`.
        let mut open = false;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let mut length = c.len_utf8();
            match c {
                '(' => {
                    length = comment(rest).ok_or_else(|| self.open("a comment"))?;
                    self.member.blank = true;
                }
                '"' => {
                    length = quoted(rest).ok_or_else(|| self.open("a quoted string"))?;
                    self.member.push(&rest[..length]);
                }
                // A literal, not a name such as `[list]`.
                '[' if self.is_behind_at() => {
                    length = rest.find(']').ok_or_else(|| self.open("an address literal"))? + 1;
                    self.member.push(&rest[..length]);
                }
                '<' if !open => {
                    open = true;
                    self.member.blank = false;
                    if self.member.angle.replace(String::new()).is_some() {
                        return Err(self.refusal(AddressError::BadCharacter));
                    }
                }
                '>' if open => open = false,
                // The route of `<@a,@b:user@c>` (RFC 5322 §4.4) is passed over.
                ':' if open && self.is_route() => self.member.angle = Some(String::new()),
                ',' if open && self.is_route() => self.member.push(","),
                ',' | ';' if !open => self.end()?,
                ':' if !open && self.begins_group() => self.member = Member::default(),
                ':' if !open => return Err(self.refusal(AddressError::BadCharacter)),
                c if c.is_whitespace() => self.member.blank = true,
                _ if !open && self.member.angle.is_some() => {
                    return Err(self.refusal(AddressError::BadCharacter));
                }
                _ => self.member.push(&rest[..length]),
            }
            at += length;
        }
        if open {
            return Err(self.open("\"<\""));
        }
        self.end()
    }

    fn is_behind_at(&self) -> bool {
        self.member.angle.as_ref().unwrap_or(&self.member.plain).ends_with('@')
    }

    fn is_route(&self) -> bool {
        self.member.angle.as_ref().is_some_and(|angle| angle.starts_with('@'))
    }

    /// A group's name holds no `@`; an address with a colon in it is no group.
    fn begins_group(&self) -> bool {
        self.member.angle.is_none() && !self.member.plain.contains('@')
    }

    /// The member is over.
    fn end(&mut self) -> Result<(), ListError> {
        let member = std::mem::take(&mut self.member);
        let text = match &member.angle {
            Some(angle) => angle,
            None if member.plain.is_empty() => return Ok(()),
            None => &member.plain,
        };
        let refused = |why| ListError::Member { text: cut(text), why };
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Err(refused(AddressError::BadCharacter));
        }
        let address = Address::parse(text).map_err(refused)?;
        if !self.found.contains(&address) {
            self.found.push(address);
        }
        Ok(())
    }

    fn refusal(&self, why: AddressError) -> ListError {
        ListError::Member { text: cut(self.text), why }
    }

    fn open(&self, what: &'static str) -> ListError {
        ListError::Open { what, text: cut(self.text) }
    }
}

/// What is shown of a text in an error.
fn cut(text: &str) -> String {
    text.trim().chars().take(100).collect()
}

/// Octets of the comment that begins here; they nest, `\` escapes.
fn comment(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Octets of the quoted string that begins here, quotes included.
fn quoted(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let found = list(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_what_stands_in_real_fields() {
        for (text, expected) in [
            ("a@x", &["a@x"][..]),
            (" a@x , b@y,", &["a@x", "b@y"]),
            ("Ann <a@x>, \"Smith, Bob\" <b@y>", &["a@x", "b@y"]),
            ("a@x (Ann, (nested \\) ) in sales), b@y", &["a@x", "b@y"]),
            ("undisclosed-recipients:;", &[]),
            ("Team: a@x, Bob <b@y>;, c@z", &["a@x", "b@y", "c@z"]),
            ("a@x; b@y", &["a@x", "b@y"]),
            ("<a@x>,\r\n\t<b@y>", &["a@x", "b@y"]),
            ("\"odd, one\"@x", &["\"odd, one\"@x"]),
            ("\"say \\\"hi, you\\\"\" <a@x>", &["a@x"]),
            ("root", &["root"]),
            ("a @ x . org", &["a@x.org"]),
            ("Bob <@relay,@two:b@y>", &["b@y"]),
            ("a@[192.0.2.1], b@[IPv6:2001:db8::1]", &["a@[192.0.2.1]", "b@[IPv6:2001:db8::1]"]),
            ("[list] <a@x>", &["a@x"]),
            ("J\u{f6}rg M\u{fc}ller <j@x>", &["j@x"]),
            ("=?utf-8?Q?J=C3=B6rg?= <j@x>", &["j@x"]),
            ("j\u{f6}rg@x", &["j\u{f6}rg@x"]),
            ("a@x, a@x", &["a@x"]),
            ("", &[]),
            (" ,, ", &[]),
            ("o'neill+tag@x", &["o'neill+tag@x"]),
            ("Sales:a@x;Support:b@y;", &["a@x", "b@y"]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        assert_eq!(list(b"J\xf6rg <j@x>").map(|found| found.len()), Ok(1));
    }

    #[test]
    fn what_cannot_be_read_is_never_guessed() {
        for text in [
            "Ann Smith",
            "a@x b@y",
            "\"Ann <a@x>",
            "Ann (sales <a@x>",
            "Ann <a@x",
            "<>",
            "Ann <>",
            "<a@x> <b@y>",
            "<a@x> b",
            "a@",
            "@x",
            "a@x>",
            "a@[192.0.2.1",
            "a@x\u{0}",
            "<a,b@x>",
            "a@x:b@y",
        ] {
            assert!(list(text.as_bytes()).is_err(), "{text:?}: {:?}", list(text.as_bytes()));
        }
        assert!(list(b"j\xf6rg@x").is_err());
    }

    /// Permission hangs on the strict reader of `From:`, so it refuses more; it must not see others.
    #[test]
    fn what_the_strict_reader_reads_is_read_the_same_here() {
        for text in [
            "a@x, Bob <b@y>",
            "\"Smith, Bob <evil@z>\" <b@y>",
            "Team: a@x, b@y;, c@z",
            "root (Cron <evil@z>)",
            "a@[192.0.2.1]",
            "\"a, b\"@x",
        ] {
            let strict = crate::mail::mailbox::mailboxes(text.as_bytes()).expect(text);
            let strict: Vec<_> = strict.into_iter().map(|mailbox| mailbox.address).collect();
            assert_eq!(list(text.as_bytes()), Ok(strict), "{text:?}");
        }
    }

    #[test]
    fn cut_anywhere_it_reads_or_refuses_and_never_invents() {
        let text =
            "Team: \"S, B\" <b@y.example>, c@z.example (c, d);, \"q\\\"\"@w, <@r:e@v>, f@[::1]";
        for end in 0..=text.len() {
            if let Ok(found) = list(&text.as_bytes()[..end]) {
                for address in found {
                    assert!(text.contains(address.as_str()), "{end}: {address}");
                }
            }
        }
    }
}
