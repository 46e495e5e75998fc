//! Through servers that are not ours: what the sandbox and the daemon could both have wrong.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE, binary};
use crate::support::mailin;
use crate::support::mails;
use crate::support::servers::Aiosmtpd;
use std::io::Write;
use std::process::{Command, Stdio};

/// Hands a mail in; the last reply.
fn submit(daemon: &Daemon, recipients: &[&str], mail: &[u8]) -> String {
    let mut client = Client::hello(daemon.address()).unwrap();
    assert!(client.say("MAIL FROM:<erp@contoso.com>").unwrap().starts_with("250"));
    for recipient in recipients {
        assert!(client.say(&format!("RCPT TO:<{recipient}>")).unwrap().starts_with("250"));
    }
    assert!(client.say("DATA").unwrap().starts_with("354"));
    client.write(&mails::stuffed(mail)).unwrap();
    client.write(b".\r\n").unwrap();
    let reply = client.reply().unwrap();
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    reply
}

#[test]
fn aiosmtpd_takes_every_kind_of_mail_octet_for_octet() {
    let server = Aiosmtpd::start(0);
    let daemon = server.daemon().run();
    let kinds = [
        ("plain", mails::plain("plain")),
        ("8-bit", mails::eight_bit("eight-bit")),
        ("dots", mails::dots("dots")),
        ("10 MB", mails::large("large", 10_000_000)),
    ];
    for (number, (what, mail)) in kinds.iter().enumerate() {
        submit(&daemon, &["ann@example.org", "bob@example.org"], mail);
        let taken = server.mail(number + 1);
        assert_eq!(taken.sender, "erp@contoso.com", "{what}");
        assert_eq!(taken.recipients, ["ann@example.org", "bob@example.org"], "{what}");
        mails::assert_same(mails::without_our_received(&taken.raw), mail, what);
    }
    assert_eq!(server.log.text().matches("token ").count(), 1, "one token serves them all");
}

#[test]
fn aiosmtpd_refuses_one_recipient_defers_one_takes_two_and_each_has_its_own_end() {
    let server = Aiosmtpd::start(0);
    let daemon = server.daemon().run();
    let mail = mails::plain("verdicts");
    let recipients =
        ["ann@example.org", "unknown@example.org", "busy@example.org", "bob@example.org"];
    submit(&daemon, &recipients, &mail);
    let first = server.mail(1);
    assert_eq!(first.recipients, ["ann@example.org", "bob@example.org"]);
    mails::assert_same(mails::without_our_received(&first.raw), &mail, "first");
    // The report of the refused one and the second try of the deferred one, in either order.
    let (mut report, mut again) = (server.mail(2), server.mail(3));
    if again.recipients == ["erp@contoso.com"] {
        std::mem::swap(&mut report, &mut again);
    }
    assert_eq!(again.recipients, ["busy@example.org"]);
    mails::assert_same(mails::without_our_received(&again.raw), &mail, "second try");
    assert_eq!(report.recipients, ["erp@contoso.com"]);
    let text = String::from_utf8_lossy(&report.raw);
    for part in ["unknown@example.org", "550 5.1.1 no such mailbox here", "multipart/report"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    assert!(!text.contains("busy@example.org"), "only the refused one is reported:\n{text}");
}

#[test]
fn aiosmtpd_refuses_a_token_and_the_mail_goes_with_a_new_one() {
    let server = Aiosmtpd::start(1);
    let daemon = server.daemon().run();
    let mail = mails::plain("renewed");
    submit(&daemon, &["ann@example.org"], &mail);
    mails::assert_same(mails::without_our_received(&server.mail(1).raw), &mail, "renewed");
    let said = server.log.text();
    assert_eq!(said.matches("refused token-1").count(), 1, "{said}");
    assert!(said.contains("login token-2"), "{said}");
}

#[test]
fn mailin_embedded_takes_what_sendmail_hands_in_octet_for_octet() {
    let (address, taken) = mailin::start();
    for (what, mail) in [
        ("plain", mails::plain("plain")),
        ("8-bit", mails::eight_bit("eight-bit")),
        ("dots", mails::dots("dots")),
        ("10 MB", mails::large("large", 10_000_000)),
    ] {
        let mut child = Command::new(binary())
            .args(["sendmail", "-i", "-f", "erp@contoso.com", "ann@example.org", "bob@example.org"])
            .env("SUBMITD_SENDMAIL_ADDRESS", address.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&mail).unwrap();
        assert!(child.wait().unwrap().success(), "{what}");
        let taken = taken.recv_timeout(PATIENCE).unwrap();
        assert_eq!(taken.sender, "erp@contoso.com", "{what}");
        assert_eq!(taken.recipients, ["ann@example.org", "bob@example.org"], "{what}");
        mails::assert_same(&taken.raw, &mail, what);
    }
}
