//! What one mail may say, and what is rewritten in it. Pure.
//!
//! It promises that a bound user never sends a `From:` or `Sender:` that could be read as somebody he
//! may not be: what cannot be read without doubt is refused. Who is not bound, is not looked at.

use crate::config::Account;
use crate::mail::mailbox::mailboxes;
use crate::mail::pattern;
use crate::mail::rewrite::Rewrite;
use crate::mail::{Address, Local, Pattern, Recipient, header};
use std::borrow::Cow;
use std::sync::Arc;

/// The account of one mail, and the bounds of its client.
#[derive(Clone, Debug)]
pub struct Permit {
    /// The account it goes through.
    pub account: Arc<Account>,
    /// Who the client may be; empty: anybody.
    pub(super) senders: Vec<Pattern>,
    /// Whom the listener's clients and whom the user may write to; each empty: anybody.
    pub(super) recipients: [Vec<Pattern>; 2],
    /// What is local here.
    pub(super) local: Arc<Local>,
}

/// What may not be. The peer hears only which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Nothing says which account.
    #[error(
        "no account is granted or named; set `account` in [[listener]] or [[user]], or `senders` in [[account]]"
    )]
    NoAccount,
    /// MAIL FROM.
    #[error("this sender is not among the user's `senders`")]
    Sender,
    /// `From:` or `Sender:`.
    #[error("From or Sender is not among the user's `senders`, or cannot be read without doubt")]
    Header,
    /// RCPT TO.
    #[error("this recipient is not among the `recipients` of user or listener")]
    Recipient,
}

impl Permit {
    /// MAIL FROM as it goes on.
    pub fn sender(&self, sender: Option<Address>) -> Option<Address> {
        sender.map(|sender| self.rewrite().address(&sender).unwrap_or(sender))
    }

    /// A recipient as it goes on: a local one becomes what aliases and `default_domain` say.
    ///
    /// # Errors
    /// [`Forbidden::Recipient`] where one of these may not be written to.
    pub fn recipients(&self, recipient: Recipient) -> Result<Vec<Recipient>, Forbidden> {
        let to = self.local.recipients(&recipient.address);
        let is_free = |address: &Address| {
            let holds = |bound: &&Vec<Pattern>| !bound.is_empty();
            let mut bounds = self.recipients.iter().filter(holds);
            bounds.all(|bound| pattern::closest(bound, address).is_some())
        };
        if !to.iter().all(is_free) {
            return Err(Forbidden::Recipient);
        }
        Ok(to.into_iter().map(|address| Recipient { address, ..recipient.clone() }).collect())
    }

    /// The header as it goes on.
    ///
    /// # Errors
    /// [`Forbidden::Header`].
    pub fn header<'h>(&self, header: &'h [u8]) -> Result<Cow<'h, [u8]>, Forbidden> {
        if !self.senders.is_empty() {
            self.check(header)?;
        }
        Ok(self.rewrite().header(header).map_or(Cow::Borrowed(header), Cow::Owned))
    }

    /// Every author and sender must be one the client may be. A header without any is no forgery: MAIL
    /// FROM was checked.
    fn check(&self, header: &[u8]) -> Result<(), Forbidden> {
        for name in ["From", "Sender"] {
            let mut fields = header::fields(header).filter(|field| field.is(name));
            let Some(field) = fields.next() else { continue };
            // Of two fields readers choose either (RFC 5322 §3.6 allows one).
            if fields.next().is_some() {
                return Err(Forbidden::Header);
            }
            let all = mailboxes(field.value()).map_err(|_| Forbidden::Header)?;
            let is_free = |address: &Address| pattern::closest(&self.senders, address).is_some();
            if all.is_empty() || !all.iter().all(|mailbox| is_free(&mailbox.address)) {
                return Err(Forbidden::Header);
            }
        }
        Ok(())
    }

    fn rewrite(&self) -> Rewrite<'_> {
        let Account { mailbox, senders, rewrite_from, .. } = &*self.account;
        Rewrite { when: *rewrite_from, mailbox, senders, local: &self.local }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn permit(keys: &str, senders: &[&str], recipients: [&[&str]; 2]) -> Permit {
        let text = format!(
            "default_domain = \"contoso.com\"\n\
             aliases = {{ root = \"it@contoso.com\", all = [\"ann\", \"bob@example.org\"] }}\n\
             [[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n\
             grant = \"client_credentials\"\ntenant = \"contoso.com\"\n\
             client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\nclient_secret = \"x\"\n{keys}\n"
        );
        let config = Config::from_text("submitd.toml", &text, &[]).expect("sound");
        let read = |all: &[&str]| all.iter().filter_map(|text| Pattern::parse(text)).collect();
        Permit {
            account: config.accounts[0].clone(),
            senders: read(senders),
            recipients: recipients.map(read),
            local: config.local,
        }
    }

    #[test]
    fn a23_a_forged_from_or_sender_is_found_in_every_disguise() {
        let bound = permit("", &["@print.contoso.com", "root"], [&[], &[]]);
        let free = permit("", &[], [&[], &[]]);
        for (header, is_good) in [
            ("", true),
            ("Subject: x\r\n", true),
            ("From: Scanner <s@print.contoso.com>\r\n", true),
            ("From: root (Cron Daemon)\r\n", true),
            ("From: a@print.contoso.com, b@print.contoso.com\r\n", true),
            ("From: =?utf-8?q?boss=40contoso=2Ecom?= <s@print.contoso.com>\r\n", true),
            ("X-From: boss@contoso.com\r\n", true),
            ("From: boss@contoso.com\r\n", false),
            ("from: boss@contoso.com\r\n", false),
            ("FROM : boss@contoso.com\r\n", false),
            ("From:\r\n boss@contoso.com\r\n", false),
            ("From: s@print.contoso.com,\r\n\tboss@contoso.com\r\n", false),
            ("From: s@print.contoso.com <boss@contoso.com>\r\n", false),
            ("From: boss@contoso.com <s@print.contoso.com>\r\n", false),
            ("From: \"s@print.contoso.com\" <boss@contoso.com>\r\n", false),
            ("From: boss@contoso.com (s@print.contoso.com)\r\n", false),
            ("From: s@print.contoso.com:;, boss@contoso.com\r\n", false),
            ("From: Team: s@print.contoso.com, boss@contoso.com;\r\n", false),
            ("From: s@print.contoso.com\r\nFrom: boss@contoso.com\r\n", false),
            ("From: s@print.contoso.com\r\nFrom: s@print.contoso.com\r\n", false),
            ("From: s@print.contoso.com\r\nSender: boss@contoso.com\r\n", false),
            ("Sender: boss@contoso.com\r\n", false),
            ("From: \"boss@contoso.com\"@print.contoso.com\r\n", true),
            ("From: \"boss\"@contoso.com\r\n", false),
            ("From: =?utf-8?q?boss=40contoso.com?=@print.contoso.com\r\n", false),
            ("From: undisclosed:;\r\n", false),
            ("From:\r\n", false),
            ("From: <>\r\n", false),
            ("From: <@print.contoso.com:boss@contoso.com>\r\n", false),
            ("From: boss\u{0}@print.contoso.com\r\n", false),
        ] {
            assert_eq!(bound.header(header.as_bytes()).is_ok(), is_good, "{header:?}");
            let unchanged = free.header(header.as_bytes());
            assert_eq!(unchanged.as_deref(), Ok(header.as_bytes()), "{header:?}");
        }
    }

    #[test]
    fn a23_recipients_are_bound_by_listener_and_user_where_they_go() {
        let contoso: &[&str] = &["@contoso.com"];
        for (bounds, to, expected) in [
            ([&[][..], &[][..]], "x@anywhere.example", Some(&["x@anywhere.example"][..])),
            ([contoso, &[]], "x@contoso.com", Some(&["x@contoso.com"])),
            ([contoso, &[]], "x@anywhere.example", None),
            ([&[], contoso], "x@anywhere.example", None),
            ([contoso, &["x@contoso.com"]], "y@contoso.com", None),
            ([contoso, &["x@contoso.com"]], "x@contoso.com", Some(&["x@contoso.com"])),
            ([contoso, &[]], "root", Some(&["it@contoso.com"])),
            ([contoso, &[]], "all@localhost", None),
            ([&[], &[]], "all@localhost", Some(&["ann@contoso.com", "bob@example.org"])),
        ] {
            let recipient = Recipient::new(Address::parse(to).expect(to));
            let found = permit("", &[], bounds).recipients(recipient).ok();
            let found = found.map(|all| all.iter().map(|one| one.address.to_string()).collect());
            let expected = expected.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
            assert_eq!(found, expected as Option<Vec<String>>, "{bounds:?} {to}");
        }
    }

    #[test]
    fn the_bound_is_judged_before_anything_is_rewritten() {
        let forced = permit("rewrite_from = \"force\"", &["@print.contoso.com"], [&[], &[]]);
        assert_eq!(forced.header(b"From: boss@contoso.com\r\n"), Err(Forbidden::Header));
        let header = forced.header(b"From: S <s@print.contoso.com>\r\n");
        let expected = "From: S <erp@contoso.com>\r\nReply-To: S <s@print.contoso.com>\r\n";
        assert_eq!(header.as_deref(), Ok(expected.as_bytes()));
        let sender = Address::parse("s@print.contoso.com").ok();
        let sender = forced.sender(sender).map(|sender| sender.to_string());
        assert_eq!(sender.as_deref(), Some("erp@contoso.com"));
        assert_eq!(forced.sender(None), None);
    }
}
