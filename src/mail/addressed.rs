//! A message for a server that delivers to whom the header names, and knows no envelope.
//!
//! It promises that whoever receives what [`settle`] gives is exactly the envelope: who is in it and unnamed
//! is added as `Bcc:`, whom only the header names is never left in a field that is delivered to. Two readers
//! look at every field, ours and `mail-parser`; what they read differently counts as unread, and the result
//! is read once more as a whole before it is given away. Everything but `To:`, `Cc:`, `Bcc:` and their
//! `Resent-` kin stays as it is to the octet, and so does each of these that needs no change.

use super::header::{self, Field};
use super::{Address, Recipient, recipients};
use mail_parser::{HeaderValue, MessageParser};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Fields that are delivered to.
const DELIVERED: [&str; 3] = ["To", "Cc", "Bcc"];
/// Fields that a server might deliver to; nobody is held to be named by them.
const RESENT: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
/// What stands before the name of a field that is kept to be seen only.
const ASIDE: &str = "X-Original-";
/// Addresses that an error names at most.
const MOST_SHOWN: usize = 3;

/// What happens to a message whose header names somebody who is not in the envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// It is refused.
    #[default]
    Refuse,
    /// They are taken out; the field as it was is kept as `X-Original-To:` and the like.
    Rewrite,
}

/// For whom a message is.
#[derive(Clone, Copy, Debug)]
pub struct Addressees<'a> {
    /// Who is to receive it now.
    pub now: &'a [Recipient],
    /// Who receives it now or another time: they are no strangers.
    pub ever: &'a [Recipient],
}

/// Why a message cannot be sent without an envelope. Fit for a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A bare CR or LF, or NUL: readers see different fields.
    #[error(
        "the header holds a bare line break or NUL, and its recipients cannot be read without doubt"
    )]
    Lines,
    /// A field that two readers read differently, or not at all.
    #[error("the recipients in {field}: cannot be read without doubt")]
    Unreadable {
        /// Its name.
        field: String,
    },
    /// The header names others than RCPT TO.
    #[error("the header names {addresses}, not among RCPT TO, and Graph would send it there too")]
    Strangers {
        /// Some of them.
        addresses: String,
    },
    /// A bare local part has no way by Graph.
    #[error("{0} has no domain")]
    Bare(Address),
}

/// What became of one field.
enum Fate {
    /// As it is.
    Keep,
    /// With these addresses only; the field as it was is put aside.
    Cut(Vec<Address>),
    /// It names nobody.
    Drop,
}

/// The header (fields only, without the empty line) as it is to be sent.
///
/// # Errors
/// [`Unfit`]; then nothing may be sent.
pub fn settle<'h>(
    header: &'h [u8],
    to: Addressees<'_>,
    strangers: Strangers,
) -> Result<Cow<'h, [u8]>, Unfit> {
    check_lines(header)?;
    if let Some(bare) = to.now.iter().find(|one| one.address.domain().is_none()) {
        return Err(Unfit::Bare(bare.address.clone()));
    }
    let wanted: HashSet<String> = to.now.iter().map(|one| key(&one.address)).collect();
    let known: HashSet<String> = to.ever.iter().map(|one| key(&one.address)).collect();
    let mut named = HashSet::new();
    let mut foreign = Vec::new();
    let mut fates = Vec::new();
    for field in header::fields(header) {
        let is_resent = RESENT.iter().any(|name| field.is(name));
        if !is_resent && !DELIVERED.iter().any(|name| field.is(name)) {
            continue;
        }
        let fate = match read(&field) {
            Some(all) => {
                let is_wanted = |one: &Address| wanted.contains(&key(one));
                foreign.extend(
                    all.iter()
                        .filter(|one| {
                            one.domain().is_some() && !is_wanted(one) && !known.contains(&key(one))
                        })
                        .cloned(),
                );
                let whole = all.iter().all(is_wanted);
                let kept: Vec<_> = all.into_iter().filter(is_wanted).collect();
                if !is_resent {
                    named.extend(kept.iter().map(key));
                }
                match (kept.is_empty(), whole) {
                    (true, true) => Fate::Drop,
                    (false, true) => Fate::Keep,
                    _ => Fate::Cut(if is_resent { Vec::new() } else { kept }),
                }
            }
            None if strangers == Strangers::Refuse => {
                return Err(Unfit::Unreadable { field: field.name.to_owned() });
            }
            None => Fate::Cut(Vec::new()),
        };
        fates.push((field, fate));
    }
    if strangers == Strangers::Refuse && !foreign.is_empty() {
        return Err(Unfit::Strangers { addresses: shown(&foreign) });
    }
    let unnamed: Vec<&Address> =
        to.now.iter().map(|one| &one.address).filter(|one| !named.contains(&key(one))).collect();
    let settled = write(header, &fates, &unnamed);
    if receivers(&settled).as_ref() == Some(&wanted) {
        return Ok(settled);
    }
    // Never seen; better nobody than the wrong ones.
    Err(Unfit::Unreadable { field: "To".to_owned() })
}

/// Whether every line ends in CRLF and nothing else ends one.
fn check_lines(header: &[u8]) -> Result<(), Unfit> {
    let is_bare = |(at, octet): (usize, &u8)| match octet {
        b'\r' => header.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || header[at - 1] != b'\r',
        octet => *octet == 0,
    };
    if header.iter().enumerate().any(is_bare) { Err(Unfit::Lines) } else { Ok(()) }
}

/// The addresses of a field where both readers agree about them.
fn read(field: &Field<'_>) -> Option<Vec<Address>> {
    let ours = recipients::list(field.value()).ok()?;
    // A name behind which other readers look for an address.
    if ours.iter().any(|one| one.as_str().contains("=?")) {
        return None;
    }
    let mut theirs = HashSet::new();
    // It judges by the name, and takes `Resent-` fields for something else.
    let plain = [b"To:", field.value(), b"\r\n\r\n"].concat();
    gather(&plain, &mut theirs)?;
    let same = ours.iter().map(key).collect::<HashSet<_>>() == theirs;
    same.then_some(ours)
}

/// Who receives a message with this header, as the second reader sees it.
fn receivers(header: &[u8]) -> Option<HashSet<String>> {
    let mut found = HashSet::new();
    gather(&[header, b"\r\n"].concat(), &mut found)?;
    Some(found)
}

/// Adds the addresses of every field that is delivered to; none where one of them is no address.
fn gather(header: &[u8], found: &mut HashSet<String>) -> Option<()> {
    let parser = MessageParser::new().with_address_headers();
    let Some(message) = parser.parse_headers(header) else { return Some(()) };
    for field in message.headers() {
        if !DELIVERED.iter().any(|name| field.name.as_str().eq_ignore_ascii_case(name)) {
            continue;
        }
        match &field.value {
            HeaderValue::Address(addresses) => {
                for one in addresses.iter() {
                    // What has no `@` it takes for a name.
                    found.insert(key_of(one.address.as_deref().or(one.name.as_deref())?));
                }
            }
            HeaderValue::Empty => {}
            _ => return None,
        }
    }
    Some(())
}

/// What two spellings of one mailbox share, as Exchange sees it: case does not count, nor do quotes that
/// are not needed.
fn key(address: &Address) -> String {
    key_of(address.as_str())
}

fn key_of(text: &str) -> String {
    let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    let inner = local.strip_prefix('"').and_then(|local| local.strip_suffix('"'));
    let local = match inner {
        Some(inner) => {
            let mut plain = String::with_capacity(inner.len());
            let mut characters = inner.chars();
            while let Some(c) = characters.next() {
                plain.extend(if c == '\\' { characters.next() } else { Some(c) });
            }
            plain
        }
        None => local.to_owned(),
    };
    format!("{local}@{domain}").to_lowercase()
}

fn shown(addresses: &[Address]) -> String {
    let some: Vec<_> = addresses.iter().take(MOST_SHOWN).map(Address::as_str).collect();
    let more = addresses.len().saturating_sub(MOST_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    some.join(", ") + &more
}

/// The header with each field as its fate says, and `Bcc:` for those whom none of them names.
fn write<'h>(header: &'h [u8], fates: &[(Field<'h>, Fate)], unnamed: &[&Address]) -> Cow<'h, [u8]> {
    let stays = |fate: &Fate| match fate {
        Fate::Keep => true,
        Fate::Cut(kept) => !kept.is_empty(),
        Fate::Drop => false,
    };
    let of = |name: &'static str| {
        fates.iter().filter(move |(field, fate)| field.is(name) && stays(fate))
    };
    // RFC 5322 §3.6 allows one of each; of several, readers take the first, the last or all.
    let is_single = DELIVERED.iter().all(|name| of(name).count() <= 1);
    let is_kept = fates.iter().all(|(_, fate)| matches!(fate, Fate::Keep));
    if is_single && is_kept && unnamed.is_empty() {
        return Cow::Borrowed(header);
    }
    let mut out = Vec::with_capacity(header.len() + 64 * unnamed.len() + 64);
    let mut written: Vec<&str> = Vec::new();
    for field in header::fields(header) {
        let Some((_, fate)) = fates.iter().find(|(one, _)| std::ptr::eq(one.raw, field.raw)) else {
            out.extend_from_slice(field.raw);
            continue;
        };
        if let Fate::Cut(_) = fate {
            out.extend_from_slice(ASIDE.as_bytes());
            out.extend_from_slice(field.raw);
        }
        let Some(name) = DELIVERED.iter().find(|name| field.is(name)) else {
            if let Fate::Keep = fate {
                out.extend_from_slice(field.raw);
            }
            continue;
        };
        let added = *name == "Bcc" && !unnamed.is_empty();
        match (of(name).count(), fate) {
            (1, Fate::Keep) if !added => out.extend_from_slice(field.raw),
            (_, fate) if !stays(fate) || written.contains(name) || added => {}
            _ => {
                written.push(name);
                let values: Vec<Vec<u8>> =
                    of(name).map(|(field, fate)| value(field, fate)).collect();
                line(&mut out, name, &values);
            }
        }
    }
    if !unnamed.is_empty() {
        let mut values: Vec<Vec<u8>> = of("Bcc").map(|(field, fate)| value(field, fate)).collect();
        values.extend(unnamed.iter().map(|one| format!(" <{one}>").into_bytes()));
        line(&mut out, "Bcc", &values);
    }
    Cow::Owned(out)
}

fn value(field: &Field<'_>, fate: &Fate) -> Vec<u8> {
    match fate {
        Fate::Cut(kept) => {
            let mut text = String::new();
            for (index, one) in kept.iter().enumerate() {
                let _ = write!(text, "{} <{one}>", if index == 0 { "" } else { ",\r\n" });
            }
            text.into_bytes()
        }
        // A comma at its end would make an empty member.
        _ => field.value().trim_ascii_end().trim_suffix_comma().to_vec(),
    }
}

/// Cuts a comma that ends a list.
trait TrimComma {
    fn trim_suffix_comma(&self) -> &[u8];
}

impl TrimComma for [u8] {
    fn trim_suffix_comma(&self) -> &[u8] {
        self.strip_suffix(b",").unwrap_or(self)
    }
}

/// One field of several values, each on a line of its own.
fn line(out: &mut Vec<u8>, name: &str, values: &[Vec<u8>]) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b",\r\n");
        }
        if !value.first().is_some_and(|octet| b" \t\r".contains(octet)) {
            out.push(b' ');
        }
        out.extend_from_slice(value);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(all: &[&str]) -> Vec<Recipient> {
        all.iter().map(|text| Recipient::new(Address::parse(text).expect(text))).collect()
    }

    fn settled(header: &str, now: &[&str], strangers: Strangers) -> Result<String, Unfit> {
        let now = people(now);
        let to = Addressees { now: &now, ever: &now };
        let found = settle(header.as_bytes(), to, strangers)?;
        Ok(String::from_utf8(found.into_owned()).expect("text"))
    }

    #[test]
    fn what_names_everybody_stays_to_the_octet() {
        for (header, now) in [
            ("From: a@x\r\nTo: Ann <ann@x>\r\nSubject: s\r\n", &["ann@x"][..]),
            (
                "To: =?utf-8?Q?J=C3=B6rg?= <j@X>,\r\n\t\"B, b\" <b@y>\r\nCc: C@z\r\n",
                &["J@x", "b@Y", "c@z"],
            ),
            ("TO: Team: a@x, B <b@y>;\r\n", &["a@x", "b@y"]),
            ("Bcc: a@x\r\n", &["a@x"]),
            ("To: a@x (Ann, in sales)\r\n", &["a@x"]),
            ("To: a@x\r\nResent-To: a@x\r\n", &["a@x"]),
            ("To: a@x, a@x\r\n", &["a@x"]),
        ] {
            assert_eq!(
                settled(header, now, Strangers::Refuse).as_deref(),
                Ok(header),
                "{header:?}"
            );
        }
    }

    #[test]
    fn whom_no_field_names_gets_it_as_bcc() {
        for (header, now, expected) in [
            ("To: a@x\r\nX: 1\r\n", &["a@x", "b@y"][..], "To: a@x\r\nX: 1\r\nBcc: <b@y>\r\n"),
            ("X: 1\r\n", &["a@x", "b@y"], "X: 1\r\nBcc: <a@x>,\r\n <b@y>\r\n"),
            ("To: undisclosed-recipients:;\r\n", &["a@x"], "Bcc: <a@x>\r\n"),
            ("To:\r\n", &["a@x"], "Bcc: <a@x>\r\n"),
            ("Bcc: a@x\r\n", &["a@x", "b@y"], "Bcc: a@x,\r\n <b@y>\r\n"),
            ("To: a@x\r\nTo: b@y,\r\n", &["a@x", "b@y"], "To: a@x,\r\n b@y\r\n"),
            ("To: root\r\n", &["it@x"], "X-Original-To: root\r\nBcc: <it@x>\r\n"),
            (
                "To: a@x\r\nResent-To: b@y\r\n",
                &["a@x", "b@y"],
                "To: a@x\r\nResent-To: b@y\r\nBcc: <b@y>\r\n",
            ),
        ] {
            let found = settled(header, now, Strangers::Refuse);
            assert_eq!(found.as_deref(), Ok(expected), "{header:?}");
        }
    }

    #[test]
    fn strangers_are_refused_or_taken_out() {
        for (header, now, rewritten) in [
            (
                "To: Ann <a@x>, Evil <e@z>\r\n",
                &["a@x"][..],
                "X-Original-To: Ann <a@x>, Evil <e@z>\r\nTo: <a@x>\r\n",
            ),
            ("To: list@x\r\n", &["a@x"], "X-Original-To: list@x\r\nBcc: <a@x>\r\n"),
            ("To: a@x\r\nCc: e@z\r\n", &["a@x"], "To: a@x\r\nX-Original-Cc: e@z\r\n"),
            ("To: a@x\r\nBcc: e@z\r\n", &["a@x"], "To: a@x\r\nX-Original-Bcc: e@z\r\n"),
            // What is put aside leaves no second line of what stays.
            ("To: e@z\r\nTo: a@x\r\n", &["a@x"], "X-Original-To: e@z\r\nTo: a@x\r\n"),
            ("To: a@x\r\nResent-To: e@z\r\n", &["a@x"], "To: a@x\r\nX-Original-Resent-To: e@z\r\n"),
            ("To: G: a@x, e@z;\r\n", &["a@x"], "X-Original-To: G: a@x, e@z;\r\nTo: <a@x>\r\n"),
            (
                "To: \"e@z\" <a@x>, \"a@x\" <e@z>\r\n",
                &["a@x"],
                "X-Original-To: \"e@z\" <a@x>, \"a@x\" <e@z>\r\nTo: <a@x>\r\n",
            ),
        ] {
            let refused = settled(header, now, Strangers::Refuse);
            assert!(matches!(refused, Err(Unfit::Strangers { .. })), "{header:?}: {refused:?}");
            let found = settled(header, now, Strangers::Rewrite);
            assert_eq!(found.as_deref(), Ok(rewritten), "{header:?}");
        }
    }

    #[test]
    fn what_is_in_doubt_is_refused_or_put_aside() {
        for value in [
            "<a@x> e@z",
            "a@x e@z",
            "\"Ann <a@x>",
            "<a@x",
            "Ann Smith",
            "a@x <e@z>",
            "a@x:e@z",
            "=?utf-8?q?e=40z?=@x",
            "\"a\"@x",
        ] {
            let header = format!("To: {value}\r\n");
            let refused = settled(&header, &["a@x"], Strangers::Refuse);
            assert!(refused.is_err(), "{value:?}: {refused:?}");
            let found = settled(&header, &["a@x"], Strangers::Rewrite);
            let expected = format!("X-Original-{header}Bcc: <a@x>\r\n");
            assert_eq!(found.as_deref(), Ok(expected.as_str()), "{value:?}");
        }
        for header in ["X: a\nTo: e@z\r\n", "X: a\rTo: e@z\r\n", "X: \0\r\n"] {
            for strangers in [Strangers::Refuse, Strangers::Rewrite] {
                assert_eq!(settled(header, &["a@x"], strangers), Err(Unfit::Lines), "{header:?}");
            }
        }
        assert!(matches!(
            settled("To: root\r\n", &["root"], Strangers::Refuse),
            Err(Unfit::Bare(_))
        ));
    }

    #[test]
    fn whoever_gets_it_another_time_is_no_stranger() {
        let (now, ever) = (people(&["a@x"]), people(&["a@x", "b@y"]));
        let to = Addressees { now: &now, ever: &ever };
        let found = settle(b"To: a@x, b@y\r\n", to, Strangers::Refuse).expect("known");
        assert_eq!(&*found, b"X-Original-To: a@x, b@y\r\nTo: <a@x>\r\n");
    }

    #[test]
    fn a_header_cut_anywhere_reaches_nobody_else() {
        let text = "To: \"S, B\" <b@y>, G: c@z (x), <d@w>;, e@v\r\nCc: =?utf-8?q?a?= <f@u>\r\nBcc: g@t\r\n";
        let now = people(&["b@y", "h@s"]);
        let to = Addressees { now: &now, ever: &now };
        let wanted: HashSet<String> = now.iter().map(|one| key(&one.address)).collect();
        for end in 0..=text.len() {
            let cut = format!("{}\r\n", &text[..end].trim_end_matches(['\r', '\n']));
            for strangers in [Strangers::Refuse, Strangers::Rewrite] {
                if let Ok(found) = settle(cut.as_bytes(), to, strangers) {
                    assert_eq!(receivers(&found), Some(wanted.clone()), "{end}");
                }
            }
        }
    }
}
