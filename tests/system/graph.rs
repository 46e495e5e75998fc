//! Mail by Microsoft Graph: who receives it is the envelope, what is taken is whole, and no answer but 202
//! counts as one.

use crate::support::browser::{decide, visit};
use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::programs::{Login as ClientLogin, Program};
use crate::support::sign_in::Login;
use crate::support::world::World;
use crate::support::{mails, mime};
use std::time::{Duration, Instant};
use submitd::queue::{Filter, open_read_only};
use submitd::sandbox::faults::{AuthRefusal, Fault, GraphAnswer, GraphPoint, GraphStep, Switch};
use submitd::sandbox::{Door, Limits, Message, Options};

pub const ERP: &str = "erp@contoso.com";
pub const ANN: &str = "ann@example.org";

/// An account with these keys; `graph` are those of `[account.graph]`.
pub fn config(world: &World, tenant: &str, keys: &str, graph: &str) -> String {
    format!(
        "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n[queue]\nschedule = [\"1s\"]\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"debug\"\n\
         [[account]]\nname = \"erp\"\nmailbox = \"{ERP}\"\ntenant = \"{tenant}\"\n\
         client_id = \"{id}\"\nclient_secret = \"{secret}\"\n{keys}\n\
         [account.graph]\nurl = \"{graph_url}\"\n{graph}\n\
         [account.upstream]\nhost = \"localhost\"\nport = {port}\nca_file = \"{dir}/sandbox-ca.pem\"\n\
         messages_per_minute = \"unlimited\"\n\
         [account.oauth]\ntoken_url = \"{web}/{tenant}/oauth2/v2.0/token\"\n",
        dir = world.path().display(),
        id = Options::default().client_id,
        secret = Options::default().client_secret.expose(),
        graph_url = world.sandbox.graph_url(),
        port = world.sandbox.smtp_addr().port(),
        web = world.sandbox.web_url(),
    )
}

/// An application that sends by Graph.
pub fn app(world: &World, graph: &str) -> String {
    let keys = "grant = \"client_credentials\"\ntransport = \"graph\"";
    config(world, "contoso.onmicrosoft.com", keys, graph)
}

pub fn start(world: &World, graph: &str) -> Daemon {
    world.start(&app(world, graph)).run()
}

/// Hands a mail in; the reply to its end.
pub fn submit(daemon: &Daemon, to: &[&str], mail: &[u8]) -> String {
    let mut client = Client::hello(daemon.address()).unwrap();
    client.say(&format!("MAIL FROM:<{ERP}>")).unwrap();
    for to in to {
        let reply = client.say(&format!("RCPT TO:<{to}>")).unwrap();
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    client.say("DATA").unwrap();
    client.write(&mails::stuffed(mail)).unwrap();
    client.write(b".\r\n").unwrap();
    client.reply().unwrap()
}

pub fn taken(daemon: &Daemon, to: &[&str], mail: &[u8]) {
    let reply = submit(daemon, to, mail);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}

/// The mail with these fields of recipients.
pub fn addressed(subject: &str, fields: &str) -> Vec<u8> {
    let mail = String::from_utf8(mails::plain(subject)).unwrap();
    mail.replace("To: ann@example.org\r\n", fields).into_bytes()
}

pub fn by_graph(message: &Message) {
    assert_eq!((message.door, message.mailbox.as_str()), (Door::Graph, ERP));
}

/// The parts, decoded, in an order that does not depend on theirs.
pub fn parts(raw: &[u8]) -> Vec<Vec<u8>> {
    let leaves = mime::Part::new(raw).leaves();
    let mut parts: Vec<_> = leaves.iter().map(mime::Part::content).collect();
    parts.sort();
    parts
}

pub fn answer(world: &World, answer: GraphAnswer) {
    world.faults(|faults| {
        faults.graph.answers.insert(GraphStep::SendMail, Fault::times(answer, 1));
    });
}

#[test]
fn b24_invoicing_graph_delegated_end_to_end() {
    let world = World::new();
    // A multi-tenant application with a Web redirect and a secret.
    let keys = "grant = \"authorization_code\"\ntransport = \"graph\"\n\
                redirect_uri = \"http://localhost/submitd/callback\"";
    let text = config(&world, "organizations", keys, "");
    let file = world.path().join("submitd.toml");
    std::fs::write(&file, &text).unwrap();
    let login = Login::start(&file, &["erp"]);
    let address = login.address();
    assert!(address.contains("Mail.Send") && address.contains("offline_access"), "{address}");
    assert!(!address.contains("SMTP.Send"), "{address}");
    visit(&decide(&address, ERP, "accept").location());
    let (status, said) = login.wait();
    assert!(status.success(), "{said}");

    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN, "bob@example.org"], &mails::plain("invoice"));
    let message = &world.messages(1)[0];
    by_graph(message);
    assert_eq!(message.recipients(), [ANN, "bob@example.org"]);
    assert_eq!(world.sandbox.statistics().connections, 0, "no SMTP");
    // The access token ends and is renewed with the secret; the mail does not notice.
    world.sandbox.revoke_access_tokens();
    taken(&daemon, &[ANN], &mails::plain("renewed"));
    assert_eq!(world.messages(2)[1].recipients(), [ANN]);
    let log = daemon.log.text();
    for token in world.sandbox.tokens() {
        assert!(!log.contains(token.expose()), "a token in the log");
    }
}

#[test]
fn b24_recipients_are_those_of_the_envelope_and_nobody_else() {
    let world = World::new();
    let daemon = start(&world, "");
    let fields =
        "To: \"Ann, of Sales\" <ANN@Example.org>,\r\n bob@example.org\r\nCc: cid@example.org\r\n";
    let all = [ANN, "bob@example.org", "cid@example.org", "dan@example.org", "eve@example.org"];
    taken(&daemon, &all, &addressed("bcc", fields));
    let message = &world.messages(1)[0];
    by_graph(message);
    let mut recipients: Vec<_> =
        message.recipients().iter().map(|one| one.to_lowercase()).collect();
    recipients.sort_unstable();
    assert_eq!(recipients, all);
    assert!(!message.text().contains("dan@example.org"), "{}", message.text());
    assert!(message.text().contains("From: erp <erp@contoso.com>"), "the directory's name");
    // Nobody is named at all.
    taken(&daemon, &[ANN], &addressed("undisclosed", "To: undisclosed-recipients:;\r\n"));
    assert_eq!(world.messages(2)[1].recipients(), [ANN]);
    // Somebody is named who is not to receive it.
    let reply = submit(
        &daemon,
        &[ANN],
        &addressed("stranger", "To: ann@example.org, list@example.org\r\n"),
    );
    assert!(reply.starts_with("550 5.6.0") && reply.contains("list@example.org"), "{reply}");
    // From is somebody else.
    let foreign = String::from_utf8(mails::plain("foreign")).unwrap();
    let foreign = foreign.replace("ERP <erp@contoso.com>", "boss@contoso.com");
    let reply = submit(&daemon, &[ANN], foreign.as_bytes());
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert_eq!(world.sandbox.messages().len(), 2);
}

#[test]
fn b24_strangers_in_the_header_are_written_aside_where_that_is_asked_for() {
    let world = World::new();
    let daemon = start(&world, "recipients = \"rewrite\"");
    let fields = "To: list@example.org, ann@example.org\r\nCc: more@example.org\r\n";
    taken(&daemon, &[ANN, "bob@example.org"], &addressed("expanded", fields));
    let message = &world.messages(1)[0];
    let mut recipients = message.recipients();
    recipients.sort_unstable();
    assert_eq!(recipients, [ANN, "bob@example.org"]);
    let seen = mime::Part::new(&message.raw).field("X-Original-To");
    assert_eq!(seen.as_deref(), Some("list@example.org, ann@example.org"));
    assert_eq!(world.sandbox.statistics().graph_requests, 1);
}

#[test]
fn b24_more_recipients_than_one_mail_may_have_receive_it_once_each() {
    let world = World::new();
    let upstream = "[account.upstream]\n";
    let text = app(&world, "").replace(upstream, &format!("{upstream}max_recipients = 2\n"));
    let daemon = world.start(&text).run();
    let all = [ANN, "bob@example.org", "cid@example.org"];
    let fields = "To: ann@example.org, bob@example.org,\r\n cid@example.org\r\n";
    taken(&daemon, &all, &addressed("portions", fields));
    world.messages(2);
    // Not before then is it known that there is no report.
    let queue = open_read_only(&world.path().join("state/queue")).unwrap();
    let ends = Instant::now() + PATIENCE;
    while !queue.list(&Filter::default()).unwrap().is_empty() {
        assert!(Instant::now() < ends, "{:?}", queue.list(&Filter::default()));
    }
    let messages = world.sandbox.messages();
    for message in &messages {
        by_graph(message);
    }
    let mut receivers: Vec<_> = messages.iter().flat_map(|one| one.recipients()).collect();
    receivers.sort_unstable();
    assert_eq!(receivers, all);
    assert_eq!(world.sandbox.statistics().graph_requests, 2);
}

#[test]
fn b24_a_size_beyond_graphs_is_refused_at_mail() {
    let world = World::new();
    let daemon = start(&world, "");
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.say(&format!("MAIL FROM:<{ERP}> SIZE=2300000")).unwrap();
    assert!(reply.starts_with("552 5.3.4") && reply.contains("Graph"), "{reply}");
    let reply = client.say(&format!("MAIL FROM:<{ERP}> SIZE=2100000")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn b24_what_may_be_lost_of_from_is_told() {
    const ALIAS: &str = "SendFromAliasEnabled";
    const NAME: &str = "the directory's name instead of that in From";
    let world = World::new();
    let keys = "grant = \"client_credentials\"\ntransport = \"graph\"\n\
                senders = [\"info@contoso.com\"]";
    let daemon = world.start(&config(&world, "contoso.onmicrosoft.com", keys, "")).run();
    let from = |author: &str| {
        let mail = String::from_utf8(mails::plain("author")).unwrap();
        mail.replace("ERP <erp@contoso.com>", author).into_bytes()
    };
    taken(&daemon, &[ANN], &from(ERP));
    let log = daemon.log.text();
    assert!(!log.contains(ALIAS) && !log.contains(NAME), "nothing is lost: {log}");
    taken(&daemon, &[ANN], &from("info@contoso.com"));
    let told = daemon.log.wait_for(ALIAS);
    assert!(told.contains("\"level\":\"INFO\"") && !daemon.log.text().contains(NAME), "{told}");
    for _ in 0..2 {
        taken(&daemon, &[ANN], &from("ERP <erp@contoso.com>"));
        let told = daemon.log.wait_for(NAME);
        assert!(told.contains("\"level\":\"INFO\"") && told.contains("\"erp\""), "{told}");
    }
    let log = daemon.log.text();
    assert_eq!([ALIAS, NAME].map(|line| log.matches(line).count()), [1, 1], "{log}");
}

#[test]
fn b24_programs_send_through_graph() {
    let world = World::new();
    let daemon = start(&world, "");
    let file = world.path().join("mail.eml");
    for (number, name) in ["PHPMailer", "Nodemailer", "smtplib (Python)"].iter().enumerate() {
        let program = Program::named(name);
        // A program that composes sends the file as its text.
        let mail = mails::eight_bit("one");
        std::fs::write(&file, &mail).unwrap();
        program.send_file(daemon.port(), ClientLogin::None, &file);
        let message = &world.messages(number + 1)[number];
        by_graph(message);
        assert_eq!(message.recipients(), [ANN], "{name}");
        let subject = mime::Part::new(&message.raw).subject();
        assert!(subject.starts_with("one"), "{name}: {subject}");
        let leaves = mime::Part::new(&message.raw).leaves();
        assert!(mime::text(&leaves[0].content()).contains("Grüße aus Köln — 価格"), "{name}");
    }
}

#[test]
fn b24_429_is_obeyed_and_costs_no_try() {
    let world = World::new();
    let daemon = start(&world, "");
    answer(
        &world,
        GraphAnswer {
            retry_after: Some("6".into()),
            ..GraphAnswer::error(
                429,
                "ApplicationThrottled",
                "Application is over its MailboxConcurrency limit.",
            )
        },
    );
    let begun = Instant::now();
    taken(&daemon, &[ANN], &mails::plain("later"));
    assert_eq!(world.messages(1).len(), 1);
    // The first request came later than that, and the second six seconds behind it.
    assert!(begun.elapsed() >= Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(world.sandbox.statistics().graph_requests, 2);
}

#[test]
fn b24_an_answer_that_tells_nothing_is_uncertain_and_the_mail_waits() {
    for is_lost in [false, true] {
        let world = World::new();
        let daemon = start(&world, "");
        if is_lost {
            world.faults(|faults| {
                faults.graph.drop_at =
                    [(GraphPoint::AfterBodyAfterAccept, Switch::Times(1))].into();
            });
        } else {
            answer(&world, GraphAnswer { done: true, ..GraphAnswer::status(504) });
        }
        taken(&daemon, &[ANN], &mails::plain("who knows"));
        world.uncertain(&daemon);
        assert_eq!(world.sandbox.messages().len(), 1, "lost: {is_lost}: not sent again");
    }
}

#[test]
fn b24_a_request_that_was_not_whole_is_sent_again_and_once() {
    let world = World::new();
    let daemon = start(&world, "upload = \"on\"");
    world.faults(|faults| {
        faults.graph.drop_at =
            [GraphPoint::Head, GraphPoint::Body].map(|point| (point, Switch::Times(1))).into();
    });
    // Of a draft it is known that nothing was sent. (The end of one whole mail may already be on its way.)
    taken(&daemon, &[ANN], &mails::large("again", 2_300_000));
    assert_eq!(world.messages(1).len(), 1);
    world.until("the draft is gone", |statistics| statistics.open_drafts == 0);
    assert_eq!(world.sandbox.statistics().drafts, 1);
    answer(&world, GraphAnswer::error(503, "serviceNotAvailable", "The service is unavailable."));
    taken(&daemon, &[ANN], &mails::plain("busy"));
    assert_eq!(world.messages(2).len(), 2);
}

#[test]
fn b24_a_missing_permission_pauses_the_account() {
    let options = Options {
        limits: Limits::NONE,
        graph_roles: vec!["Mail.Read".into()],
        ..Options::default()
    };
    let world = World::with(options);
    let daemon = start(&world, "");
    taken(&daemon, &[ANN], &mails::plain("waits"));
    let told = daemon.log.wait_for("account paused, its mail is kept");
    assert!(told.contains("Mail.Send"), "{told}");
    assert!(world.sandbox.messages().is_empty());
}

#[test]
fn b24_no_more_than_four_requests_at_once() {
    let world = World::with(Options::default());
    let daemon = start(&world, "");
    world.faults(|faults| faults.graph.hold = true);
    for number in 0..24 {
        taken(&daemon, &[ANN], &mails::plain(&format!("mail-{number}")));
    }
    world.until("four at once", |statistics| statistics.open_graph_requests == 4);
    // With some delay they overlap further on.
    world.faults(|faults| faults.graph.delay_ms = 50);
    assert_eq!(world.messages(24).len(), 24);
    let statistics = world.sandbox.statistics();
    assert_eq!(statistics.max_open_graph_requests, 4, "{statistics:?}");
    assert_eq!(statistics.graph_throttled, 0);
}

#[test]
fn b24_auto_goes_by_graph_while_smtp_auth_is_off() {
    let world = World::new();
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled)));
    let keys = "grant = \"client_credentials\"\ntransport = \"auto\"";
    let text = config(&world, "contoso.onmicrosoft.com", keys, "");
    let mut daemon = world.start(&text).run();
    for number in 0..3 {
        taken(&daemon, &[ANN, "bob@example.org"], &mails::plain(&format!("mail-{number}")));
        by_graph(&world.messages(number + 1)[number]);
    }
    daemon.log.wait_for("SMTP AUTH is switched off; mail goes by Graph");
    assert_eq!(world.sandbox.statistics().login_failures, 1, "SMTP is not asked for each mail");
    assert!(daemon.stop().success());
    // The next start knows the way, though SMTP AUTH was switched on meanwhile: that is asked in its time.
    world.faults(|_| {});
    let mut daemon = world.start(&text).run();
    daemon.log.wait_for("mail goes by Graph as before");
    taken(&daemon, &[ANN], &mails::plain("remembered"));
    by_graph(&world.messages(4)[3]);
    // Or at once, where somebody says so.
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    taken(&daemon, &[ANN], &mails::plain("by-smtp"));
    assert_eq!(world.messages(5)[4].door, Door::Smtp);
    daemon.log.wait_for("SMTP AUTH is switched on again");
    assert!(daemon.stop().success());
    let daemon = world.start(&text).run();
    assert!(!daemon.log.text().contains("mail goes by Graph as before"));
}
