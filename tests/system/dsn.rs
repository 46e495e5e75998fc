//! RFC 3461 through the real binary: parameters passed on where the upstream takes them, answered by us
//! where it does not.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::world::World;
use submitd::mail::{Notify, Ret};
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

/// All that came once the queue is empty, a last mail included that shows that nothing else was under way.
fn all(
    world: &World,
    daemon: &Daemon,
    expected: usize,
) -> Vec<std::sync::Arc<submitd::sandbox::Message>> {
    world.messages(expected);
    submit(daemon, "", &[("last@example.org", "NOTIFY=NEVER")]);
    let mut messages = world.messages(expected + 1);
    let last = messages.pop().unwrap();
    assert_eq!(last.recipients(), ["last@example.org"], "{}", last.text());
    messages
}

#[test]
fn a12_dsn_parameters_reach_an_upstream_that_offers_dsn_and_we_report_nothing() {
    let world = World::new();
    let daemon = world.daemon();
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
    let daemon = world.daemon();
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
        let daemon = world.daemon();
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
