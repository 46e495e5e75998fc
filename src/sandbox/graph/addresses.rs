//! To, Cc and Bcc as Exchange reads them (RFC 5322 §3.4). Pure.
//!
//! Written apart from `mail::addressed`, which makes what is read here: one fault must not hide the other.

/// The addresses of a list, names and comments left out; a group counts with its members.
///
/// # Errors
/// What is no address.
pub(super) fn read(value: &str) -> Result<Vec<String>, String> {
    entries(value).iter().filter_map(|entry| address(entry).transpose()).collect()
}

/// The texts between the commas, without comments; a group's name goes, its end is one of an entry.
fn entries(value: &str) -> Vec<String> {
    let (mut entries, mut entry) = (Vec::new(), String::new());
    let (mut quoted, mut depth, mut angle) = (false, 0_u32, false);
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' if quoted || depth > 0 => {
                let escaped = characters.next();
                if depth == 0 {
                    entry.push(c);
                    entry.extend(escaped);
                }
            }
            '"' if depth == 0 => {
                quoted = !quoted;
                entry.push(c);
            }
            _ if quoted => entry.push(c),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '<' | '>' => {
                angle = c == '<';
                entry.push(c);
            }
            ':' if !angle => entry.clear(),
            ',' | ';' if !angle => entries.push(std::mem::take(&mut entry)),
            _ => entry.push(c),
        }
    }
    entries.push(entry);
    entries
}

/// The address of one entry; none where there is nothing in it.
fn address(entry: &str) -> Result<Option<String>, String> {
    let entry = entry.trim();
    if entry.is_empty() {
        return Ok(None);
    }
    let bracketed = entry.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
    let address = bracketed.map_or(entry, |(_, address)| address).trim();
    let (local, domain) = address.rsplit_once('@').ok_or_else(|| entry.to_owned())?;
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let is_bad = |text: &str| {
        text.is_empty() || text.contains(|c: char| c.is_whitespace() || "<>@\"".contains(c))
    };
    if is_bad(domain) || (is_bad(local) && !quoted) {
        return Err(entry.to_owned());
    }
    Ok(Some(address.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whoever_is_named() {
        for (value, expected) in [
            ("a@x", &["a@x"][..]),
            ("Ann <a@x>, \"B, C\" <b@x>;", &["a@x", "b@x"]),
            ("a@x (one, two), (c@x) b@x", &["a@x", "b@x"]),
            ("Team: a@x, Ben <b@x>;, c@x", &["a@x", "b@x", "c@x"]),
            ("undisclosed-recipients:;", &[]),
            ("\"a, b\"@x", &["\"a, b\"@x"]),
            ("\"x \\\" <no@x>\" <a@x>", &["a@x"]),
            ("", &[]),
            (",,", &[]),
        ] {
            let expected: Vec<_> = expected.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(read(value), Ok(expected), "{value}");
        }
        for wrong in ["Ann", "a@", "@x", "a b@x", "<>", "Ann <a@x> more"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let long = "Ann (x) <a@x>, \"B\\\"\" <b@x>, G: c@x;";
        for end in 0..long.len() {
            let _ = read(&long[..end]);
        }
    }

    use crate::mail::addressed::{Addressees, Strangers, settle};
    use crate::mail::header;
    use crate::mail::{Address, Recipient};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PEOPLE: [&str; 5] = ["a@x", "b@y.example", "C@z.example", "o'neill+tag@x", "e@v"];

    /// One person as programs write him.
    fn entry() -> impl Strategy<Value = String> {
        let forms = prop_oneof![
            Just("{}"),
            Just("<{}>"),
            Just("Ann Lee <{}>"),
            Just("\"Lee, Ann\" <{}>"),
            Just("\"x \\\" <no@x>\" <{}>"),
            Just("(one, two) {}"),
            Just("{} (b@y.example, not)"),
            Just("=?utf-8?q?Gr=C3=BCn?= <{}>"),
            Just("\r\n\t{}"),
            Just("Team: {}, Eve <e@v>;"),
        ];
        (forms, 0..PEOPLE.len()).prop_map(|(form, who)| form.replace("{}", PEOPLE[who]))
    }

    fn field() -> impl Strategy<Value = String> {
        let name = prop_oneof![Just("To"), Just("CC"), Just("Bcc"), Just("to")];
        (name, proptest::collection::vec(entry(), 1..4))
            .prop_map(|(name, entries)| format!("{name}: {}\r\n", entries.join(", ")))
    }

    proptest! {
        /// What `mail::addressed` makes is read by the other reader, which shares no line with it.
        #[test]
        fn b24_whoever_receives_is_exactly_the_envelope(
            fields in proptest::collection::vec(field(), 0..5),
            chosen in proptest::collection::btree_set(0..PEOPLE.len(), 1..5),
        ) {
            let header = format!("Subject: s\r\n{}", fields.concat());
            let now: Vec<Recipient> = chosen
                .iter()
                .map(|who| Recipient::new(Address::parse(PEOPLE[*who]).expect("address")))
                .collect();
            let to = Addressees { now: &now, ever: &now };
            let settled = settle(header.as_bytes(), to, Strangers::Rewrite);
            let settled = settled.unwrap_or_else(|why| panic!("{header:?}: {why}"));
            let mut received = BTreeSet::new();
            for field in header::fields(&settled) {
                if ["To", "Cc", "Bcc"].iter().any(|name| field.is(name)) {
                    let value = std::str::from_utf8(field.value()).expect("text").replace("\r\n", "");
                    let all = read(&value).unwrap_or_else(|entry| panic!("{entry:?} in {value:?}"));
                    received.extend(all.iter().map(|address| address.to_lowercase()));
                }
            }
            let wanted: BTreeSet<String> =
                chosen.iter().map(|who| PEOPLE[*who].to_lowercase()).collect();
            prop_assert_eq!(received, wanted, "{}", settled.escape_ascii());
        }
    }
}
