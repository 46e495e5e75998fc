//! `mode = "direct"` by Microsoft Graph: the program waits for Graph's own answer, and nothing stays here.

use crate::direct::{assert_nothing_kept, peak};
use crate::graph::{addressed, answer, app, by_graph, config, parts, submit, taken};
use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::mails;
use crate::support::programs::{Login, Program};
use crate::support::talk;
use crate::support::world::World;
use std::time::{Duration, Instant};
use submitd::sandbox::faults::{AuthRefusal, Fault, GraphAnswer, GraphPoint, GraphStep, Switch};
use submitd::sandbox::{Door, Limits, Options};

const ANN: &str = "ann@example.org";

/// The same configuration with a listener that passes mail through.
fn direct(text: &str) -> String {
    let queue = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    assert!(text.contains(queue));
    text.replace(queue, &format!("{queue}mode = \"direct\"\n"))
}

fn start(world: &World, graph: &str) -> Daemon {
    world.start(&direct(&app(world, graph))).run()
}

/// A mailbox with one request at a time.
fn narrow(world: &World) -> String {
    let one = "[account.upstream]\nconnections = 1\n";
    direct(&app(world, "").replace("[account.upstream]\n", one))
}

/// SMTP, and Graph where that is switched off.
fn auto(world: &World) -> String {
    let keys = "grant = \"client_credentials\"\ntransport = \"auto\"";
    direct(&config(world, "contoso.onmicrosoft.com", keys, ""))
}

fn off(world: &World) {
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled)));
}

/// Files that hold bodies now.
fn files(world: &World) -> usize {
    std::fs::read_dir(world.path().join("state/queue/body")).unwrap().count()
}

fn until(what: &str, so: impl Fn() -> bool) {
    let ends = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < ends, "{what}");
        std::thread::yield_now();
    }
}

/// What stands in the way of an envelope.
fn refusal(daemon: &Daemon) -> String {
    let mut client = Client::hello(daemon.address()).unwrap();
    for command in ["MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>", "DATA"] {
        let reply = client.say(command).unwrap();
        if !reply.starts_with(['2', '3']) {
            return reply;
        }
    }
    panic!("nothing does")
}

#[test]
fn b24_a_program_in_direct_mode_is_told_what_graph_said_and_nothing_is_kept() {
    let world = World::new();
    let daemon = start(&world, "");
    let file = world.path().join("mail.eml");
    for (number, mail) in [
        mails::plain("small"),
        mails::eight_bit("eight-bit"),
        mails::dots("dots"),
        mails::large("large", 2_100_000),
    ]
    .iter()
    .enumerate()
    {
        std::fs::write(&file, mail).unwrap();
        Program::named("smtplib (Python)").send_file(daemon.port(), Login::None, &file);
        // No waiting: the program ended behind Graph's answer.
        let messages = world.sandbox.messages();
        assert_eq!(messages.len(), number + 1);
        by_graph(&messages[number]);
        assert_eq!(messages[number].recipients(), [ANN]);
        assert!(parts(&messages[number].raw) == parts(mail), "{number}: a part differs");
        assert_nothing_kept(&world);
    }
    let line = daemon.log.wait_for("\"delivered\"");
    let id = line.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(line.contains("250 2.0.0 202 taken by Microsoft Graph"), "{line}");
    assert!(daemon.log.wait_for("passed on").contains(id));
    assert!(world.sandbox.messages()[0].text().contains(&format!(" id {id}")));
    assert_eq!(world.sandbox.statistics().connections, 0, "no SMTP");
}

#[test]
fn b24_in_direct_mode_the_envelope_is_ours_to_answer() {
    let world = World::new();
    let text = app(&world, "");
    let text = text.replace("[account.upstream]\n", "[account.upstream]\nmax_recipients = 2\n");
    let daemon = world.start(&direct(&text)).run();
    let mut client = Client::hello(daemon.address()).unwrap();
    let whole = "MAIL FROM:<erp@contoso.com>\r\nRCPT TO:<ann@example.org>\r\n\
                 RCPT TO:<bob@example.org>\r\nRCPT TO:<one@too.many>\r\nDATA\r\n";
    client.write(whole.as_bytes()).unwrap();
    let codes: Vec<String> = (0..5).map(|_| client.reply().unwrap()[..9].to_owned()).collect();
    assert_eq!(codes, ["250 2.1.0", "250 2.1.5", "250 2.1.5", "452 4.5.3", "354 end d"]);
    client.write(&mails::plain("two")).unwrap();
    assert!(client.say(".").unwrap().starts_with("250 2.0.0 202"));
    assert_eq!(world.messages(1)[0].recipients(), [ANN, "bob@example.org"]);
    assert_eq!(world.sandbox.statistics().graph_requests, 1, "one request for all of it");
    // What Graph would refuse is refused before it is asked.
    let reply = submit(&daemon, &[ANN], &addressed("stranger", "To: list@example.org\r\n"));
    assert!(reply.starts_with("550 5.6.0") && reply.contains("list@example.org"), "{reply}");
    let reply = client.say("MAIL FROM:<erp@contoso.com> SIZE=2300000").unwrap();
    assert!(reply.starts_with("552 5.3.4") && reply.contains("Graph"), "{reply}");
    let reply = submit(&daemon, &[ANN], &mails::large("large", 2_300_000));
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    assert_eq!(world.sandbox.statistics().graph_requests, 1);
    assert_nothing_kept(&world);
}

fn error(status: u16, code: &str, message: &str) -> GraphAnswer {
    GraphAnswer::error(status, code, message)
}

#[test]
fn b24_in_direct_mode_graphs_answers_are_judged_before_the_client_hears_them() {
    for (answered, expected, words) in [
        (
            error(403, "ErrorSendAsDenied", "The user account has no right.\r\n250 forged"),
            "550 5.7.1 ",
            "HTTP 403 ErrorSendAsDenied: The user account has no right. 250 forged",
        ),
        (error(400, "ErrorInvalidRecipients", "not valid"), "550 5.", "ErrorInvalidRecipients"),
        (error(413, "RequestEntityTooLarge", "too large"), "552 5.3.4 ", "HTTP 413"),
        (error(429, "ApplicationThrottled", "later"), "451 4.", "ApplicationThrottled"),
        (error(429, "ErrorExceededMessageLimit", "used up"), "451 4.", "ErrorExceededMessage"),
        (error(503, "serviceNotAvailable", "down"), "451 4.", "HTTP 503"),
        (error(403, "ErrorAccessDenied", "Access is denied."), "454 4.7.0 ", "ErrorAccessDenied"),
        (error(404, "ErrorInvalidUser", "who?"), "454 4.7.0 ", "ErrorInvalidUser"),
        (GraphAnswer::status(500), "451 4.4.2 ", "may have been delivered all the same"),
        (GraphAnswer::status(502), "451 4.4.2 ", "may have been delivered all the same"),
        (GraphAnswer::status(504), "451 4.4.2 ", "may have been delivered all the same"),
        (GraphAnswer::status(200), "451 4.", "HTTP 200"),
    ] {
        let world = World::new();
        let daemon = start(&world, "");
        answer(&world, answered);
        let mut client = Client::hello(daemon.address()).unwrap();
        let body = String::from_utf8(mails::plain("judged")).unwrap();
        let reply = client.mail("erp@contoso.com", ANN, &body).unwrap();
        assert!(reply.starts_with(expected) && reply.contains(words), "{expected}: {reply}");
        assert!(reply.len() < 512 && !reply.contains('\n'), "{reply}");
        // The session lives on, and nothing is tried again by us.
        assert!(client.say("NOOP").unwrap().starts_with("250"), "{reply}");
        assert_eq!(world.sandbox.statistics().graph_requests, 1, "{reply}");
        assert_nothing_kept(&world);
    }
}

#[test]
fn b24_in_direct_mode_a_lost_answer_is_told_and_a_lost_request_is_none() {
    let world = World::new();
    let daemon = start(&world, "");
    let cut = |point| {
        world.faults(|faults| faults.graph.drop_at = [(point, Switch::Times(1))].into());
    };
    cut(GraphPoint::AfterBodyAfterAccept);
    let reply = submit(&daemon, &[ANN], &mails::plain("taken"));
    let lost = "451 4.4.2 the server's answer to the end of the mail was lost; it may have been";
    assert!(reply.starts_with(lost), "{reply}");
    assert!(daemon.log.wait_for("possibly delivered").contains("nothing is kept"));
    assert_eq!(world.messages(1).len(), 1);
    // Cut in the midst of the body: nobody has it.
    cut(GraphPoint::Body);
    let reply = submit(&daemon, &[ANN], &mails::large("cut", 2_000_000));
    assert!(reply.starts_with("451 4.") && !reply.contains("may have been"), "{reply}");
    taken(&daemon, &[ANN], &mails::plain("next"));
    assert_eq!(world.sandbox.messages().len(), 2);
    assert_nothing_kept(&world);
}

#[test]
fn b24_in_direct_mode_a_refused_token_is_renewed_once_and_a_missing_one_is_told() {
    let world = World::new();
    // An account that waits does so for longer than any client.
    let text = direct(&app(&world, "")).replace("schedule = [\"1s\"]", "schedule = [\"10m\"]");
    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN], &mails::plain("first"));
    // The mail is larger than what is held in memory: it is read twice.
    world.sandbox.revoke_access_tokens();
    let mail = mails::large("renewed", 1_000_000);
    taken(&daemon, &[ANN], &mail);
    assert!(parts(&world.messages(2)[1].raw) == parts(&mail));
    // Nobody takes any token: the account waits, and the next client hears it at MAIL.
    world.faults(|faults| {
        let denied = error(401, "InvalidAuthenticationToken", "the token is expired.");
        faults.graph.answers.insert(GraphStep::SendMail, Fault::always(denied));
    });
    let reply = submit(&daemon, &[ANN], &mails::plain("refused"));
    assert!(reply.starts_with("454 4.7.0") && reply.contains("InvalidAuth"), "{reply}");
    daemon.log.wait_for("account paused");
    assert!(refusal(&daemon).starts_with("454 4.7.0"), "before its body is sent");
    drop(daemon);
    world.faults(|faults| faults.set("token.error=AADSTS7000222").unwrap());
    let daemon = start(&world, "");
    let reply = submit(&daemon, &[ANN], &mails::plain("no token"));
    assert!(reply.starts_with("454 4.7.0 no token"), "{reply}");
    assert_nothing_kept(&world);
}

#[test]
fn b24_direct_and_queue_together_never_make_more_than_four_requests_at_once() {
    let limits = Limits { graph_requests: 4, ..Limits::NONE };
    let world = World::with(Options { limits, ..Options::default() });
    let both = World::listener("")
        + "[[listener]]\naddress = \"127.0.0.2:0\"\nmode = \"direct\"\nturn_timeout = \"1m\"\n";
    let text = app(&world, "").replace("[[listener]]\naddress = \"127.0.0.1:0\"\n", &both);
    let daemon = world.start(&text).run();
    let [queued, direct] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    world.faults(|faults| faults.graph.delay_ms = 20);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let address = if number % 2 == 0 { queued } else { direct };
            scope.spawn(move || {
                for turn in 0..3 {
                    let reply = Client::submit(address, &[ANN], &format!("m{number}-{turn}"));
                    assert!(reply.starts_with("250 2.0.0"), "{reply}");
                }
            });
        }
    });
    assert_eq!(world.messages(36).len(), 36);
    let statistics = world.sandbox.statistics();
    assert!(statistics.max_open_graph_requests <= 4, "{statistics:?}");
    assert_eq!(statistics.graph_throttled, 0);
}

#[test]
fn b24_a_mail_that_is_gathered_holds_no_turn_and_leaves_no_file() {
    let world = World::new();
    let text = narrow(&world);
    let daemon = world.start(&text).run();
    let mut slow = Client::hello(daemon.address()).unwrap();
    for command in ["MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>"] {
        assert!(slow.say(command).unwrap().starts_with("250"));
    }
    assert!(slow.say("DATA").unwrap().starts_with("354"));
    slow.write(&mails::stuffed(&mails::large("half", 1_000_000))).unwrap();
    until("what is gathered lies on the disk", || files(&world) == 1);
    // Only one may be under way, and this one is not.
    taken(&daemon, &[ANN], &mails::plain("quick"));
    drop(slow);
    until("who goes away leaves nothing", || files(&world) == 0);
    assert_eq!(world.sandbox.messages().len(), 1);
    // Killed in the midst: the next start tidies up.
    let mut other = Client::hello(daemon.address()).unwrap();
    for command in ["MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>", "DATA"] {
        other.say(command).unwrap();
    }
    other.write(&mails::stuffed(&mails::large("half", 1_000_000))).unwrap();
    until("it lies on the disk", || files(&world) == 1);
    daemon.signal("KILL");
    drop(daemon);
    let _daemon = world.start(&text).run();
    assert_nothing_kept(&world);
}

#[test]
fn b24_a_whole_mail_whose_client_breaks_off_while_it_waits_for_its_turn_is_not_sent() {
    let world = World::new();
    let daemon = world.start(&narrow(&world)).run();
    world.faults(|faults| faults.graph.delay_ms = 3_000);
    let first = std::thread::spawn({
        let address = daemon.address();
        move || Client::submit(address, &[ANN], "first")
    });
    world.until("the only turn is taken", |seen| seen.max_open_graph_requests == 1);
    let mut client = talk::tcp(daemon.address());
    client.reply().unwrap();
    for command in ["EHLO erp", "MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>", "DATA"]
    {
        assert!(client.say(command).starts_with(['2', '3']), "{command}");
    }
    client.write(&mails::stuffed(&mails::large("gone", 1_000_000)));
    client.write(b".\r\n");
    let length = || {
        let files = std::fs::read_dir(world.path().join("state/queue/body")).unwrap();
        files.map(|file| file.unwrap().metadata().map_or(0, |file| file.len())).sum::<u64>()
    };
    until("it is whole", || length() >= 1_000_000);
    socket2::SockRef::from(client.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    daemon.log.wait_for("the client went away while it waited");
    until("nothing of it stays", || files(&world) == 0);
    assert!(first.join().unwrap().starts_with("250"));
    world.faults(|faults| faults.graph.delay_ms = 0);
    taken(&daemon, &[ANN], &mails::plain("next"));
    assert_eq!(world.sandbox.messages().len(), 2);
}

#[test]
fn b24_in_direct_mode_a_mail_of_25_mb_needs_no_more_memory_than_a_small_one() {
    let limits = Limits {
        graph_mime_size: 64 << 20,
        graph_request_size: 64 << 20,
        kept_octets: 1,
        ..Limits::NONE
    };
    let world = World::with(Options { limits, ..Options::default() });
    let text = direct(&app(&world, "max_size = \"30 MB\"")).replace("\"debug\"", "\"info\"");
    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN], &mails::plain("small"));
    let before = peak(&daemon);
    taken(&daemon, &[ANN], &mails::large("large", 25_000_000));
    let after = peak(&daemon);
    println!("peak RSS: {before} kB before, {after} kB after 25 MB by Graph in direct mode");
    assert!(after - before < 8 * 1024, "{before} kB, then {after} kB");
    assert_nothing_kept(&world);
}

#[test]
fn b24_in_direct_mode_a_large_mail_goes_as_a_draft_or_is_refused_with_the_reason() {
    let world = World::new();
    let daemon = start(&world, "upload = \"on\"");
    let before = peak(&daemon);
    let mail = mails::large("large", 25_000_000);
    taken(&daemon, &[ANN], &mail);
    assert!(parts(&world.messages(1)[0].raw) == parts(&mail));
    assert!(peak(&daemon) - before < 16 * 1024, "{before} kB, then {} kB", peak(&daemon));
    let reply = submit(&daemon, &[ANN], &mails::signed("signed", 2_300_000));
    assert!(reply.starts_with("552 5.3.4") && reply.contains("signed or encrypted"), "{reply}");
    assert_eq!((world.sandbox.statistics().drafts, world.sandbox.messages().len()), (1, 1));
    assert_nothing_kept(&world);
}

#[test]
fn b24_auto_in_direct_mode_goes_by_graph_while_smtp_auth_is_off() {
    let world = World::new();
    off(&world);
    let daemon = world.start(&auto(&world)).run();
    for number in 0..3 {
        taken(&daemon, &[ANN], &mails::plain(&format!("mail-{number}")));
        by_graph(&world.sandbox.messages()[number]);
    }
    daemon.log.wait_for("SMTP AUTH is switched off; mail goes by Graph");
    assert_eq!(world.sandbox.statistics().login_failures, 1, "SMTP is not asked for each mail");
    assert_nothing_kept(&world);
    // Switched on, and somebody says so.
    world.faults(|_| {});
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    taken(&daemon, &[ANN], &mails::plain("by-smtp"));
    assert_eq!(world.sandbox.messages()[3].door, Door::Smtp);
    daemon.log.wait_for("SMTP AUTH is switched on again");
}

#[test]
fn b24_auto_in_direct_mode_says_what_smtp_said_where_graph_does_not_work_either() {
    let options = Options {
        limits: Limits::NONE,
        graph_roles: vec!["Mail.Read".into()],
        ..Options::default()
    };
    let world = World::with(options);
    off(&world);
    let daemon = world.start(&auto(&world)).run();
    let reply = submit(&daemon, &[ANN], &mails::plain("neither"));
    assert!(
        reply.starts_with("454 4.7.0") && reply.contains("SmtpClientAuthentication is disabled"),
        "{reply}"
    );
    daemon.log.wait_for("Graph does not work either");
    let paused = daemon.log.wait_for("account paused");
    assert!(paused.contains("Set-TransportConfig"), "{paused}");
    // Nothing else that SMTP says leads to Graph.
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::Rejected)));
    let asked = world.sandbox.statistics().graph_requests;
    drop(daemon);
    let daemon = world.start(&auto(&world)).run();
    let reply = refusal(&daemon);
    assert!(reply.starts_with("454 4.7.0 Authentication unsuccessful"), "{reply}");
    assert_eq!(world.sandbox.statistics().graph_requests, asked);
    assert_nothing_kept(&world);
}
