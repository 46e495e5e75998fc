//! RFC 3461 through the real binary: parameters passed on where the upstream takes them, answered by us
//! where it does not.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::world::World;
use std::sync::Arc;
use submitd::mail::{BodyKind, Notify, Ret};
use submitd::sandbox::Message;
use submitd::sandbox::faults::{Fault, ReplyText, Switch};

const TEXT: &str =
    "From: erp@contoso.com\r\nMessage-ID: <7@erp>\r\nSubject: Invoice\r\n\r\nthe body\r\n";

/// Hands in a mail with these parameters of MAIL and RCPT.
fn submit(daemon: &Daemon, of_mail: &str, to: &[(&str, &str)]) {
    let mut client = Client::hello(daemon.address()).unwrap();
    let mut commands = vec![format!("MAIL FROM:<erp@contoso.com> {of_mail}")];
    commands.extend(to.iter().map(|(to, notify)| format!("RCPT TO:<{to}> {notify}")));
    for command in commands {
        let reply = client.say(command.trim_end()).unwrap();
        assert!(reply.starts_with("250"), "{command}: {reply}");
    }
    client.say("DATA").unwrap();
    client.write(format!("{TEXT}.\r\n").as_bytes()).unwrap();
    let reply = client.reply().unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

const ANN: (&str, &str) =
    ("ann@example.org", "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bann@example.org");
const BOB: (&str, &str) = ("bob@example.org", "NOTIFY=NEVER");
const CARL: (&str, &str) = ("carl@example.org", "");

/// Over one connection, so that mails go out in the order in which they were queued.
fn one_by_one(world: &World) -> Daemon {
    let upstream = "connections = 1\nmessages_per_minute = \"unlimited\"\n";
    world.start(&world.config_with(&World::listener(""), upstream)).run()
}

/// All that came. The first probe goes when what came before it is settled, its report queued; the second
/// goes behind that report.
fn all(world: &World, daemon: &Daemon, expected: usize) -> Vec<Arc<Message>> {
    world.messages(expected);
    for probe in 1..=2 {
        submit(daemon, "", &[("probe@example.org", "NOTIFY=NEVER")]);
        world.messages(expected + probe);
    }
    let messages = world.sandbox.messages();
    let is_probe = |message: &&Arc<Message>| message.recipients() == ["probe@example.org"];
    assert_eq!(messages.iter().filter(is_probe).count(), 2, "{messages:#?}");
    messages.into_iter().filter(|message| !is_probe(&message)).collect()
}

#[test]
fn a12_dsn_parameters_reach_an_upstream_that_offers_dsn_and_we_report_nothing() {
    let world = World::new();
    let daemon = one_by_one(&world);
    submit(&daemon, "RET=FULL ENVID=QQ+2B314", &[ANN, BOB, CARL]);
    let messages = all(&world, &daemon, 1);
    let envelope = &messages[0].envelope;
    assert_eq!((envelope.ret, envelope.envid.as_deref()), (Some(Ret::Full), Some("QQ+2B314")));
    let [ann, bob, carl] = &envelope.recipients[..] else { panic!("{envelope:?}") };
    assert_eq!(ann.notify, Some(Notify { success: true, failure: true, delay: false }));
    assert_eq!(ann.orcpt.as_deref(), Some("rfc822;first+2Bann@example.org"));
    assert_eq!(bob.notify, Some(Notify::NEVER));
    assert_eq!((carl.notify, carl.orcpt.as_deref()), (None, None));
}

#[test]
fn a12_without_dsn_upstream_success_is_answered_by_us_with_relayed() {
    let world = World::new();
    world.faults(|faults| faults.smtp.no_dsn = Switch::On);
    let daemon = one_by_one(&world);
    submit(&daemon, "RET=FULL ENVID=QQ+2B314", &[ANN, BOB, CARL]);
    let messages = all(&world, &daemon, 2);
    let envelope = &messages[0].envelope;
    assert!(envelope.ret.is_none() && envelope.envid.is_none(), "{envelope:?}");
    assert!(envelope.recipients.iter().all(|to| to.notify.is_none() && to.orcpt.is_none()));
    let report = &messages[1];
    assert_eq!(report.recipients(), ["erp@contoso.com"]);
    let text = report.text();
    for line in [
        "Original-Envelope-Id: QQ+314",
        "Original-Recipient: rfc822; first+ann@example.org",
        "Final-Recipient: rfc822; ann@example.org",
        "Action: relayed",
        "Status: 2.0.0",
        "Content-Type: text/rfc822-headers",
        "Message-ID: <7@erp>",
    ] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
    }
    for absent in ["bob@example.org", "carl@example.org", "the body"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}

#[test]
fn a12_never_is_silent_whatever_the_upstream_offers_and_does() {
    for (no_dsn, refused) in [(Switch::On, true), (Switch::On, false), (Switch::Off, true)] {
        let world = World::new();
        world.faults(|faults| {
            faults.smtp.no_dsn = no_dsn;
            if refused {
                let no = ReplyText::new("550 5.1.1 no such user").unwrap();
                faults.smtp.recipients.insert("bob@example.org".into(), Fault::always(no));
            }
        });
        let daemon = one_by_one(&world);
        submit(&daemon, "", &[BOB]);
        daemon.log.wait_for(if refused { "given up" } else { "\"delivered\"" });
        let messages = all(&world, &daemon, usize::from(!refused));
        assert_eq!(messages.len(), usize::from(!refused), "{messages:#?}");
        assert!(!daemon.log.text().contains("the sender is told"), "{}", daemon.log.text());
    }
}

#[test]
fn a12_failures_are_told_to_whom_they_interest_whole_where_ret_says_so() {
    for (ret, is_whole) in [("RET=FULL", true), ("RET=HDRS", false), ("", false)] {
        let world = World::new();
        world.faults(|faults| {
            faults.smtp.no_dsn = Switch::On;
            for to in ["ann@example.org", "bob@example.org", "carl@example.org"] {
                let no = ReplyText::new("550 5.1.1 no such user").unwrap();
                faults.smtp.recipients.insert(to.into(), Fault::always(no));
            }
        });
        let daemon = one_by_one(&world);
        let only_success = ("carl@example.org", "NOTIFY=SUCCESS,DELAY");
        submit(&daemon, ret, &[ANN, BOB, only_success]);
        let messages = all(&world, &daemon, 1);
        let text = messages[0].text();
        assert!(text.contains("Action: failed\r\nStatus: 5.1.1\r\n"), "{text}");
        assert!(text.contains("Final-Recipient: rfc822; ann@example.org\r\n"), "{text}");
        assert!(!text.contains("bob@example.org") && !text.contains("carl@example.org"), "{text}");
        assert_eq!(text.contains("the body\r\n"), is_whole, "{ret}: {text}");
        assert_eq!(text.contains("Content-Type: message/rfc822\r\n"), is_whole, "{ret}: {text}");
    }
}

#[test]
fn a12_a_mail_of_eight_bits_comes_back_whole_as_declared() {
    let world = World::new();
    world.faults(|faults| {
        let no = ReplyText::new("550 5.1.1 no such user").unwrap();
        faults.smtp.recipients.insert("ann@example.org".into(), Fault::always(no));
    });
    let daemon = one_by_one(&world);
    let body = "Grüße\r\n";
    let mut client = Client::hello(daemon.address()).unwrap();
    for (command, code) in [
        ("MAIL FROM:<erp@contoso.com> BODY=8BITMIME RET=FULL", "250"),
        ("RCPT TO:<ann@example.org>", "250"),
        ("DATA", "354"),
        (&format!("{TEXT}{body}."), "250"),
    ] {
        let reply = client.say(command).unwrap();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    let messages = all(&world, &daemon, 1);
    assert_eq!(messages[0].envelope.body, BodyKind::EightBitMime);
    let text = messages[0].text();
    assert!(text.contains("Content-Type: message/rfc822\r\n"), "{text}");
    assert!(text.contains(&format!("the body\r\n{body}")), "{text}");
}
