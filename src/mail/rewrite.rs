//! Rewriting of the sender, where an account asks for it (`rewrite_from`): MAIL FROM, `From:`, `Sender:`.
//!
//! It promises that only the addresses change: display names, comments and every other field stay as
//! they are to the octet. A `Reply-To:` is added where none stands, so that answers still find the
//! original sender.

use super::Address;
use super::header::{self, Field};
use super::local::Local;
use super::mailbox::{Mailbox, mailboxes};
use super::pattern::{self, Pattern};

/// `rewrite_from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Nothing is rewritten.
    #[default]
    Off,
    /// Addresses without a domain, or with one of this machine's names.
    IfLocal,
    /// Addresses that are neither the account's mailbox nor among its `senders`.
    IfUnauthorized,
    /// Everything but the account's mailbox.
    Force,
}

/// What one account rewrites.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<'a> {
    /// When.
    pub when: When,
    /// What is put in place.
    pub mailbox: &'a Address,
    /// What may stay besides the mailbox.
    pub senders: &'a [Pattern],
    /// What is local here.
    pub local: &'a Local,
}

impl Rewrite<'_> {
    /// What an address becomes; none: it stays.
    pub fn address(&self, address: &Address) -> Option<Address> {
        let is_mailbox = self.mailbox.is_same_mailbox(address);
        match self.when {
            When::Off => None,
            When::Force if is_mailbox => None,
            When::Force => Some(self.mailbox.clone()),
            When::IfUnauthorized if self.is_authorised(address) => None,
            When::IfUnauthorized => Some(self.mailbox.clone()),
            When::IfLocal if !self.local.is_local(address) || self.is_authorised(address) => None,
            When::IfLocal => {
                let mended = self.local.complete(address);
                let good = mended.filter(|mended| self.is_authorised(mended));
                Some(good.unwrap_or_else(|| self.mailbox.clone()))
            }
        }
    }

    fn is_authorised(&self, address: &Address) -> bool {
        self.mailbox.is_same_mailbox(address) || pattern::closest(self.senders, address).is_some()
    }

    /// The header with `From:` and `Sender:` rewritten; none where all of it stays.
    pub fn header(&self, header: &[u8]) -> Option<Vec<u8>> {
        if self.when == When::Off {
            return None;
        }
        let all: Vec<Field<'_>> = header::fields(header).collect();
        let is_single = all.iter().filter(|field| field.is("From")).count() == 1;
        let has_reply_to = all.iter().any(|field| field.is("Reply-To"));
        let mut out = Vec::with_capacity(header.len() + 256);
        let mut first = true;
        for field in &all {
            if field.is("From") {
                // Of several only the first can be kept in order; if_local mends each as it stands.
                if first || self.when == When::IfLocal {
                    let changed = self.field(field);
                    out.extend_from_slice(changed.as_deref().unwrap_or(field.raw));
                    if let Some(reply_to) = changed.filter(|_| is_single && !has_reply_to) {
                        out.extend(self.reply_to(field, &reply_to));
                    }
                }
                first = false;
            } else if field.is("Sender") {
                out.extend(self.field(field).unwrap_or_else(|| field.raw.to_vec()));
            } else {
                out.extend_from_slice(field.raw);
            }
        }
        if first {
            // Exchange refuses a mail without From: 550 5.7.512, "must be RFC 5322 section 3.6.2 compliant".
            out.extend_from_slice(format!("From: {}\r\n", self.mailbox).as_bytes());
        }
        (out != header).then_some(out)
    }

    /// A field of addresses, rewritten; none: it stays.
    fn field(&self, field: &Field<'_>) -> Option<Vec<u8>> {
        let whole = || format!("{}: {}\r\n", field.name, self.mailbox).into_bytes();
        match mailboxes(field.value()).as_deref() {
            Ok([only]) => Some(replaced(field, only, &self.address(&only.address)?)),
            // Several authors would all become the same one.
            Ok(all @ [_, ..]) => {
                let changes = all.iter().any(|one| self.address(&one.address).is_some());
                changes.then(whole)
            }
            // What cannot be read is authorised by nobody, and is surely no bare `root`.
            Ok([]) | Err(_) => (self.when != When::IfLocal).then(whole),
        }
    }

    /// `Reply-To:` with the original author, where an answer can reach him and would not anyway.
    fn reply_to(&self, from: &Field<'_>, changed: &[u8]) -> Vec<u8> {
        let mailbox = self.mailbox.as_str().as_bytes();
        if memchr::memmem::find(changed, mailbox).is_none() {
            return Vec::new();
        }
        let Ok(all) = mailboxes(from.value()) else { return Vec::new() };
        match all.as_slice() {
            [] => Vec::new(),
            [only] if self.local.is_local(&only.address) => {
                let to = self.local.recipients(&only.address);
                let fits = |one: &&Address| {
                    !self.local.is_local(one) && !self.mailbox.is_same_mailbox(one)
                };
                let to: Vec<&str> = to.iter().filter(fits).map(Address::as_str).collect();
                if to.is_empty() {
                    return Vec::new();
                }
                format!("Reply-To: {}\r\n", to.join(", ")).into_bytes()
            }
            all if all.iter().any(|one| self.local.is_local(&one.address)) => Vec::new(),
            _ => [b"Reply-To:", from.value(), b"\r\n"].concat(),
        }
    }
}

/// The field with another address in the place of this one.
fn replaced(field: &Field<'_>, old: &Mailbox, new: &Address) -> Vec<u8> {
    let value = field.value();
    let colon = memchr::memchr(b':', field.raw).map_or(0, |colon| colon + 1);
    let (before, after) = (&value[..old.place.start], &value[old.place.end..]);
    [&field.raw[..colon], before, new.as_str().as_bytes(), after, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const MAILBOX: &str = "erp@contoso.com";

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    fn with<T>(when: When, senders: &[&str], see: impl FnOnce(Rewrite<'_>) -> T) -> T {
        let mailbox = address(MAILBOX);
        let senders: Vec<_> = senders.iter().filter_map(|text| Pattern::parse(text)).collect();
        let aliases = HashMap::from([("root".to_owned(), vec![address("it@contoso.com")])]);
        let local = Local::new(&["web1.lan"], Some("contoso.com".into()), aliases);
        see(Rewrite { when, mailbox: &mailbox, senders: &senders, local: &local })
    }

    #[test]
    fn an_address_becomes_the_mailbox_as_the_account_says() {
        use When::{Force, IfLocal, IfUnauthorized, Off};
        for (when, senders, text, expected) in [
            (Off, &[][..], "root", None),
            (IfLocal, &[], "root@web1", Some(MAILBOX)),
            (IfLocal, &["@contoso.com"], "root@web1", Some("root@contoso.com")),
            (IfLocal, &["root@web1"], "root@web1", None),
            (IfLocal, &[], "ann@example.org", None),
            (IfUnauthorized, &[], "ann@example.org", Some(MAILBOX)),
            (IfUnauthorized, &["@example.org"], "ann@example.org", None),
            (IfUnauthorized, &[], "ERP@Contoso.com", None),
            (IfUnauthorized, &["@contoso.com"], "root", Some(MAILBOX)),
            (Force, &["@example.org"], "ann@example.org", Some(MAILBOX)),
            (Force, &[], MAILBOX, None),
        ] {
            let found = with(when, senders, |rewrite| rewrite.address(&address(text)));
            assert_eq!(found.as_ref().map(Address::as_str), expected, "{when:?} {text}");
        }
    }

    #[test]
    fn only_the_addresses_of_a_header_change() {
        use When::{Force, IfLocal, IfUnauthorized, Off};
        let rest = "X: \u{e4}\r\nTo: root\r\n";
        for (when, from, expected) in [
            (Off, "From: root\r\n", None),
            (IfLocal, "From: ann@example.org\r\n", None),
            (
                IfLocal,
                "From: root (Cron Daemon)\r\n",
                Some("From: erp@contoso.com (Cron Daemon)\r\nReply-To: it@contoso.com\r\n"),
            ),
            (
                IfLocal,
                "From: \"Cron\" <bob@web1.lan>\r\nReply-To: x@y\r\n",
                Some("From: \"Cron\" <erp@contoso.com>\r\nReply-To: x@y\r\n"),
            ),
            (IfLocal, "From: Foo Bar\r\n", None),
            (
                IfUnauthorized,
                "FROM : Ann\r\n\t<ann@example.org>\r\n",
                Some(
                    "FROM : Ann\r\n\t<erp@contoso.com>\r\nReply-To: Ann\r\n\t<ann@example.org>\r\n",
                ),
            ),
            (IfUnauthorized, "From: Foo Bar\r\n", Some("From: erp@contoso.com\r\n")),
            (
                IfUnauthorized,
                "From: erp@contoso.com\r\nSender: Ann <ann@example.org>\r\n",
                Some("From: erp@contoso.com\r\nSender: Ann <erp@contoso.com>\r\n"),
            ),
            (
                IfUnauthorized,
                "From: a@b, c@d\r\n",
                Some("From: erp@contoso.com\r\nReply-To: a@b, c@d\r\n"),
            ),
            (Force, "From: a@b\r\nFrom: c@d\r\n", Some("From: erp@contoso.com\r\n")),
            (Force, "From: ERP <erp@contoso.com>\r\n", None),
        ] {
            let before = format!("{from}{rest}");
            let found = with(when, &[], |rewrite| rewrite.header(before.as_bytes()));
            let found = found.map(|octets| String::from_utf8(octets).expect("UTF-8"));
            assert_eq!(found, expected.map(|from| format!("{from}{rest}")), "{when:?} {from:?}");
        }
        for when in [IfLocal, IfUnauthorized, Force] {
            let found = with(when, &[], |rewrite| rewrite.header(rest.as_bytes()));
            assert_eq!(found, Some(format!("{rest}From: erp@contoso.com\r\n").into_bytes()));
        }
    }

    #[test]
    fn a_mended_sender_needs_no_reply_to() {
        let found = with(When::IfLocal, &["@contoso.com"], |rewrite| {
            rewrite.header(b"From: Root <root@web1>\r\n")
        });
        assert_eq!(found.as_deref(), Some(&b"From: Root <root@contoso.com>\r\n"[..]));
    }
}
