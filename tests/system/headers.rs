//! What is changed in a message, each change by a key of its own, and nothing else.

use crate::support::talk;
use crate::support::world::World;

const SENT: &str = "From: erp@contoso.com\r\nBcc: hidden@example.org,\r\n\tother@example.org\r\n\
                    Return-Path: <old@contoso.com>\r\nsubject :  as  written \r\n\r\nx\r\n";

/// The header that arrives where the configuration has these keys.
fn arrives(headers: &str, listener: &str) -> String {
    let world = World::new();
    let listener = World::listener(listener);
    let daemon = world.start(&world.config(&format!("{listener}[headers]\n{headers}\n"))).run();
    let mut client = talk::tcp(daemon.address());
    client.reply().unwrap();
    for (command, code) in [
        ("EHLO client", "250"),
        ("MAIL FROM:<erp@contoso.com>", "250"),
        ("RCPT TO:<ann@example.org>", "250"),
        ("DATA", "354"),
        (&format!("{SENT}."), "250"),
    ] {
        let reply = client.say(command);
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    let text = world.messages(1)[0].text().into_owned();
    text.strip_suffix("\r\n\r\nx\r\n").expect("the text").to_owned() + "\r\n"
}

#[test]
fn each_change_of_the_header_has_its_key() {
    const BCC: &str = "\r\nBcc: hidden@example.org,\r\n\tother@example.org\r\n";
    for (headers, listener, changes) in [
        ("", "", "received date id"),
        ("add_date = false", "", "received id"),
        ("add_message_id = false", "", "received date"),
        ("remove_bcc = false", "", "received date id bcc"),
        ("remove_return_path = false", "", "received date id path"),
        ("", "received = \"minimal\"", "minimal date id"),
        ("", "received = \"none\"", "date id"),
    ] {
        let header = arrives(headers, listener);
        let is = |what| changes.split(' ').any(|change| change == what);
        for (what, text) in [
            ("received", "Received: from client ([127.0.0.1])\r\n\tby relay.test (submitd) with"),
            ("minimal", "Received: by relay.test (submitd) with ESMTP id "),
            ("date", "\r\nDate: "),
            ("id", "@relay.test>\r\n"),
            ("bcc", BCC),
            ("path", "Return-Path: <old@contoso.com>\r\n"),
        ] {
            assert_eq!(header.contains(text), is(what), "{headers}{listener}: {what}: {header}");
        }
        assert!(header.contains("\r\nsubject :  as  written \r\n"), "{header}");
    }
    let nothing = "add_date = false\nadd_message_id = false\nremove_bcc = false\n\
                   remove_return_path = false";
    let header = arrives(nothing, "received = \"none\"");
    assert_eq!(format!("{header}\r\nx\r\n"), SENT, "nothing at all is changed");
}
