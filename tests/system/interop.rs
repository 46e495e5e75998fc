//! Through servers that are not ours: what the sandbox and the daemon could both have wrong.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE, binary};
use crate::support::mailin;
use crate::support::mails;
use crate::support::overheard::{Heard, Trail};
use crate::support::servers::{Aiosmtpd, Postfix, postfix};
use std::process::Command;

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
        let handed = Command::new(binary())
            .args(["sendmail", "-i", "-f", "erp@contoso.com", "ann@example.org", "bob@example.org"])
            .env("SUBMITD_SENDMAIL_ADDRESS", address.to_string())
            .fed(&mail);
        assert!(handed.status.success(), "{what}: {handed:?}");
        let taken = taken.recv_timeout(PATIENCE).unwrap();
        assert_eq!(taken.sender, "erp@contoso.com", "{what}");
        assert_eq!(taken.recipients, ["ann@example.org", "bob@example.org"], "{what}");
        mails::assert_same(&taken.raw, &mail, what);
    }
}

/// The end of a mail as Postfix keeps it, which adds to its top.
fn assert_kept(kept: &[u8], mail: &[u8], what: &str) {
    let lines: Vec<u8> = mail.iter().copied().filter(|&octet| octet != b'\r').collect();
    assert!(kept.ends_with(&lines), "{what}: {}", kept.escape_ascii());
}

#[test]
fn postfix_and_dovecot_take_a_token_by_each_mechanism_and_each_tls() {
    let server = Postfix::start(0);
    let starttls = format!("port = {}", server.starttls);
    let implicit = format!("port = {}\ntls = \"implicit\"", server.implicit);
    let ways = [
        ("xoauth2", &starttls, "XOAUTH2"),
        ("oauthbearer", &starttls, "OAUTHBEARER"),
        ("auto", &implicit, "XOAUTH2"),
        ("oauthbearer", &implicit, "OAUTHBEARER"),
    ];
    for (number, (sasl, upstream, mechanism)) in ways.into_iter().enumerate() {
        let upstream = format!("{upstream}\nsasl = \"{sasl}\"");
        let mut daemon = server.daemon(&server.token(), &upstream).run();
        // The second one goes over a connection that is warm: in one flight, by BDAT.
        for second in [false, true] {
            let mail = mails::dots(&format!("{sasl}-{number}-{second}"));
            submit(&daemon, &["ann@example.org"], &mail);
            let count = number * 2 + usize::from(second) + 1;
            assert_kept(server.mails(count).last().unwrap(), &mail, sasl);
        }
        daemon.stop();
        let log = server.log();
        assert!(log.contains(&format!("sasl_method={mechanism}, sasl_username=erp@contoso.com")));
        // Postfix counts the commands of a connection.
        server.wait_for("mail=2 rcpt=2 bdat=2");
    }
    assert!(server.asked.text().contains("asked about token-1"));
}

#[test]
fn postfix_and_dovecot_refuse_a_token_by_a_challenge_and_the_mail_goes_with_a_new_one() {
    for sasl in ["xoauth2", "oauthbearer"] {
        let server = Postfix::start(1);
        let upstream = format!("port = {}\nsasl = \"{sasl}\"", server.starttls);
        let daemon = server.daemon(&server.token(), &upstream).run();
        let mail = mails::plain("renewed");
        submit(&daemon, &["ann@example.org"], &mail);
        assert_kept(&server.mails(1)[0], &mail, sasl);
        daemon.log.wait_for("token refused, renewing it once");
        let asked = server.asked.text();
        assert!(asked.contains("token-1") && asked.contains("token-2"), "{asked}");
    }
}

#[test]
fn postfix_refuses_a_recipient_of_a_flight_and_the_others_have_the_mail() {
    let server = Postfix::start(0);
    let upstream = format!("port = {}", server.starttls);
    let daemon = server.daemon(&server.token(), &upstream).run();
    let mail = mails::plain("flight");
    submit(&daemon, &["ann@example.org", "unknown@example.org"], &mail);
    // The mail, and the report about the other recipient.
    let taken = server.mails(2);
    assert_kept(&taken[0], &mail, "the mail");
    assert!(String::from_utf8_lossy(&taken[1]).contains("multipart/report"));
    // Nobody is left: Postfix drops the chunk, and the connection serves the next mail.
    submit(&daemon, &["unknown@example.org"], &mail);
    submit(&daemon, &["bob@example.org"], &mails::plain("after"));
    server.mails(4);
    let flights = daemon.log.text();
    assert!(!flights.contains("possibly delivered"), "{flights}");
    assert_eq!(server.log().matches("sasl_method=").count(), 4, "{}", server.log());
}

#[test]
fn a_smart_host_takes_mail_with_plain_with_login_and_without_either() {
    let server = Postfix::start(0);
    let password = server.file("relay.password", postfix::PASSWORD);
    let account = format!(
        "grant = \"none\"\nusername = \"{}\"\npassword_file = \"{}\"",
        postfix::USER,
        password.display()
    );
    let starttls = format!("port = {}", server.starttls);
    let open = format!("port = {}\ntls = \"none\"", server.open);
    let ways = [
        (account.as_str(), format!("{starttls}\nsasl = \"plain\""), "sasl_method=PLAIN"),
        (&account, format!("{starttls}\nsasl = \"login\""), "sasl_method=LOGIN"),
        (&account, format!("port = {}\ntls = \"implicit\"", server.implicit), "sasl_method=PLAIN"),
        ("grant = \"none\"", open, ""),
    ];
    for (number, (account, upstream, seen)) in ways.into_iter().enumerate() {
        let start = server.daemon(account, &upstream);
        let check = Command::new(binary()).arg("check").arg("--config").arg(&start.config).heard();
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(check.status.success(), "{said}");
        assert!(!said.contains("token"), "{said}");
        let mut daemon = start.run();
        let mail = mails::plain(&format!("smart-{number}"));
        submit(&daemon, &["ann@example.org"], &mail);
        assert_kept(server.mails(number + 1).last().unwrap(), &mail, seen);
        daemon.stop();
        assert!(server.log().contains(seen), "{seen}");
        assert!(!daemon.log.text().contains(postfix::PASSWORD), "the password is in the log");
    }
    assert_eq!(server.asked.text(), "", "nobody asked for a token");
}

#[test]
fn a_smart_host_that_refuses_the_password_makes_the_account_wait_and_is_not_asked_again() {
    let server = Postfix::start(0);
    let password = server.file("relay.password", "planted-wrong");
    let account =
        format!("grant = \"none\"\nusername = \"erp\"\npassword_file = \"{}\"", password.display());
    let start = server.daemon(&account, &format!("port = {}", server.starttls));
    let check = Command::new(binary()).arg("check").arg("--config").arg(&start.config).heard();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.contains("BROKEN  AUTH") && said.contains("password_file"), "{said}");
    let before = server.log().matches("authentication failed").count();
    let daemon = start.run();
    submit(&daemon, &["ann@example.org"], &mails::plain("waits"));
    let line = daemon.log.wait_for("does not take this user name and password");
    assert!(line.contains("password_file of account erp"), "{line}");
    assert_eq!(server.log().matches("authentication failed").count(), before + 1);
    assert!(!daemon.log.text().contains("planted-wrong"));
}

#[test]
fn mailin_embedded_is_a_smart_host_without_tls_and_without_a_login() {
    let (address, taken) = mailin::start();
    let dir = tempfile::TempDir::with_prefix("submitd-mailin-").unwrap();
    let _trail = Trail::of(dir.path());
    let config = format!(
        "state_dir = \"{dir}/state\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [log]\nformat = \"json\"\nlevel = \"debug\"\n\
         [[account]]\nname = \"relay\"\nmailbox = \"erp@contoso.com\"\ngrant = \"none\"\n\
         [account.upstream]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n",
        dir = dir.path().display(),
        port = address.port(),
    );
    let daemon = crate::support::daemon::Start::new(dir.path(), &config).run();
    for (what, mail) in [("plain", mails::plain("plain")), ("dots", mails::dots("dots"))] {
        submit(&daemon, &["ann@example.org", "bob@example.org"], &mail);
        let taken = taken.recv_timeout(PATIENCE).unwrap();
        assert_eq!(taken.sender, "erp@contoso.com", "{what}");
        assert_eq!(taken.recipients, ["ann@example.org", "bob@example.org"], "{what}");
        mails::assert_same(mails::without_our_received(&taken.raw), &mail, what);
    }
}
