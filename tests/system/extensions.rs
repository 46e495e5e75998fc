//! SMTPUTF8 and 8BITMIME: passed on where the next server offers them, else refused in the words of their RFCs.
//! The servers are not ours.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::mails;
use crate::support::servers::{Aiosmtpd, Postfix};

/// Hands in a mail declared so.
fn submit(daemon: &Daemon, declared: &str, to: &str, mail: &[u8]) {
    let mut client = Client::hello(daemon.address()).unwrap();
    for (command, code) in [
        (format!("MAIL FROM:<erp@contoso.com>{declared}"), "250"),
        (format!("RCPT TO:<{to}>"), "250"),
        ("DATA".into(), "354"),
    ] {
        let reply = client.say(&command).unwrap();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    client.write(&mails::stuffed(mail)).unwrap();
    let reply = client.say(".").unwrap();
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}

#[test]
fn smtputf8_and_8bitmime_go_on_to_a_server_that_offers_them() {
    let server = Aiosmtpd::start(0);
    let daemon = server.daemon().run();
    let mail = mails::eight_bit("declared");
    submit(&daemon, " SMTPUTF8 BODY=8BITMIME", "jürgen@exämple.org", &mail);
    let taken = server.mail(1);
    assert_eq!(taken.recipients, ["jürgen@exämple.org"]);
    mails::assert_same(mails::without_our_received(&taken.raw), &mail, "declared");
    let declared = server.log.wait_for("declared 1 ");
    assert!(declared.contains("SMTPUTF8") && declared.contains("BODY=8BITMIME"), "{declared}");
    // Who declared nothing gets nothing declared for him.
    submit(&daemon, "", "ann@example.org", &mail);
    let taken = server.mail(2);
    mails::assert_same(mails::without_our_received(&taken.raw), &mail, "undeclared");
    let declared = server.log.wait_for("declared 2 ");
    assert!(!declared.contains("SMTPUTF8") && !declared.contains("8BITMIME"), "{declared}");
}

#[test]
fn what_the_next_server_does_not_offer_comes_back_in_the_words_of_its_rfc() {
    let server = Postfix::start(0);
    let upstream = format!("port = {}\ntls = \"none\"", server.plain);
    let daemon = server.daemon("grant = \"none\"", &upstream).run();
    let mail = mails::eight_bit("eight");
    // RFC 6152 §3 binds who declares; what declares nothing goes as it is, as it always did.
    submit(&daemon, "", "ann@example.org", &mail);
    let taken = &server.mails(1)[0];
    assert!(memchr::memmem::find(taken, "Grüße aus Köln".as_bytes()).is_some());
    for (count, declared, status) in [
        (2, " BODY=8BITMIME", "Status: 5.6.3"),
        (3, " BODY=8BITMIME RET=FULL", "Status: 5.6.3"),
        (4, " SMTPUTF8", "Status: 5.6.7"),
    ] {
        submit(&daemon, declared, "ann@example.org", &mail);
        let all = server.mails(count);
        let report = String::from_utf8(all[count - 1].clone()).expect("a report without 8 bits");
        assert!(report.contains("multipart/report"), "{report}");
        assert!(report.contains(status), "{declared}: {report}");
        assert!(report.contains("ann@example.org"), "{declared}: {report}");
    }
    let log = daemon.log.text();
    assert_eq!(log.matches("not delivered, given up").count(), 3, "{log}");
}
