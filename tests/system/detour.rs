//! `transport = "auto"`: SMTP, and Graph while SMTP AUTH is switched off. What is looked at when mail comes in,
//! what becomes of mail that came before, and one sign-in for both.

use crate::graph::{addressed, by_graph, config, submit, taken};
use crate::support::browser::{decide, visit};
use crate::support::daemon::Daemon;
use crate::support::sign_in::Login;
use crate::support::world::World;
use crate::support::{mails, mime};
use submitd::queue::{Filter, open_read_only};
use submitd::sandbox::Door;
use submitd::sandbox::faults::{AuthRefusal, Fault, GraphAnswer, GraphStep};

const ANN: &str = "ann@example.org";
const ERP: &str = "erp@contoso.com";
const STRANGER: &str = "To: ann@example.org, list@example.org\r\n";

fn text(world: &World, graph: &str) -> String {
    let keys = "grant = \"client_credentials\"\ntransport = \"auto\"";
    config(world, "contoso.onmicrosoft.com", keys, graph)
}

fn start(world: &World) -> Daemon {
    world.start(&text(world, "")).run()
}

fn off(world: &World) {
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled)));
}

#[test]
fn b24_what_graph_cannot_carry_is_refused_at_the_door_only_while_mail_goes_by_graph() {
    let world = World::new();
    let mut daemon = start(&world);
    // SMTP keeps the envelope: nothing is looked at.
    taken(&daemon, &[ANN], &addressed("by-smtp", STRANGER));
    taken(&daemon, &[ANN], &mails::large("large", 2_300_000));
    let messages = world.messages(2);
    assert!(messages.iter().all(|message| message.door == Door::Smtp));
    // Another process: a connection that is open stays so.
    assert!(daemon.stop().success());
    off(&world);
    let daemon = start(&world);
    taken(&daemon, &[ANN], &mails::plain("turned"));
    by_graph(&world.messages(3)[2]);
    daemon.log.wait_for("SMTP AUTH is switched off; mail goes by Graph");
    let reply = submit(&daemon, &[ANN], &addressed("stranger", STRANGER));
    assert!(reply.starts_with("550 5.6.0") && reply.contains("list@example.org"), "{reply}");
    let reply = submit(&daemon, &[ANN], &mails::large("large", 2_300_000));
    assert!(reply.starts_with("552 5.3.4") && reply.contains("Graph"), "{reply}");
    // Also by the next start, before any mail has gone.
    drop(daemon);
    let daemon = start(&world);
    let reply = submit(&daemon, &[ANN], &addressed("stranger", STRANGER));
    assert!(reply.starts_with("550 5.6.0"), "{reply}");
    assert_eq!(world.sandbox.messages().len(), 3);
}

#[test]
fn b24_mail_that_came_before_the_detour_goes_back_with_the_reason_and_never_to_strangers() {
    let world = World::new();
    off(&world);
    let daemon = start(&world);
    taken(&daemon, &[ANN], &addressed("before", STRANGER));
    let report = world.messages(1).pop().unwrap();
    by_graph(&report);
    assert_eq!(report.recipients(), [ERP]);
    let text = report.text();
    assert!(text.contains("5.6.0") && text.contains("list@example.org"), "{text}");
    let said = mime::text(&mime::Part::new(&report.raw).leaves()[0].content());
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["The header names list@example.org", "recipients = \"rewrite\""] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // That nothing was asked of Graph for it shows nothing; the report did.
    taken(&daemon, &[ANN], &mails::plain("next"));
    by_graph(&world.messages(2)[1]);
}

#[test]
fn b24_status_tells_the_way_and_when_smtp_is_asked_again() {
    let world = World::new();
    let daemon = start(&world);
    let said = world.submitd(&["status"]).good();
    assert!(said.out.contains("sends") && !said.out.contains("Graph"), "{}", said.out);
    off(&world);
    taken(&daemon, &[ANN], &mails::plain("turned"));
    by_graph(&world.messages(1)[0]);
    daemon.log.wait_for("SMTP AUTH is switched off; mail goes by Graph");
    let said = world.submitd(&["status"]).good();
    let words = "sends by Graph since SMTP AUTH is off, SMTP is tried again in ";
    assert!(said.out.contains(words), "{}", said.out);
    let account = world.submitd(&["account", "show", "erp", "--json"]).good().json().remove(0);
    assert_eq!(account["transport"], "graph");
    assert!(account["detour"]["since"].is_string() && account["detour"]["again"].is_string());
    let said = world.submitd(&["account", "show", "erp"]).good();
    assert!(said.out.contains("SMTP AUTH off since:"), "{}", said.out);
}

#[test]
fn b24_where_graph_fails_as_well_the_account_waits_with_smtps_remedy_and_a_new_role_is_noticed() {
    let world = World::new();
    world.faults(|faults| {
        faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled));
        let denied = GraphAnswer::error(403, "ErrorAccessDenied", "Access is denied.");
        faults.graph.answers.insert(GraphStep::SendMail, Fault::always(denied));
    });
    let daemon = start(&world);
    taken(&daemon, &[ANN], &mails::plain("waits"));
    daemon.log.wait_for("Graph does not work either");
    let paused = daemon.log.wait_for("account paused");
    assert!(paused.contains("Set-TransportConfig"), "{paused}");
    let queue = open_read_only(&world.path().join("state/queue")).unwrap();
    assert_eq!(queue.list(&Filter::default()).unwrap().len(), 1, "the mail is kept");
    // What is granted stands in a new token only: that is asked for with the next try.
    let tokens = world.sandbox.statistics().tokens;
    off(&world);
    daemon.signal("HUP");
    by_graph(&world.messages(1)[0]);
    assert!(world.sandbox.statistics().tokens > tokens);
}

fn person(world: &World) -> String {
    let keys = "grant = \"authorization_code\"\ntransport = \"auto\"\n\
                redirect_uri = \"http://localhost/submitd/callback\"";
    config(world, "contoso.onmicrosoft.com", keys, "")
}

#[test]
fn b24_one_sign_in_allows_both_ways() {
    let world = World::new();
    let text = person(&world);
    let file = world.path().join("submitd.toml");
    std::fs::write(&file, &text).unwrap();
    let login = Login::start(&file, &["erp"]);
    let address = login.address();
    for scope in ["SMTP.Send", "Mail.Send", "offline_access"] {
        assert!(address.contains(scope), "{scope}: {address}");
    }
    visit(&decide(&address, ERP, "accept").location());
    let (status, said) = login.wait();
    assert!(status.success() && !said.contains("warning"), "{said}");

    let mut daemon = world.start(&text).run();
    taken(&daemon, &[ANN], &mails::plain("by-smtp"));
    assert_eq!(world.messages(1)[0].door, Door::Smtp);
    assert!(daemon.stop().success());
    off(&world);
    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN, "bob@example.org"], &mails::plain("by-graph"));
    let message = &world.messages(2)[1];
    by_graph(message);
    assert_eq!(message.recipients(), [ANN, "bob@example.org"]);
    assert_eq!(mime::Part::new(&message.raw).subject(), "by-graph");
}

#[test]
fn b24_a_sign_in_that_allows_one_way_only_says_so() {
    let world = World::new();
    let both = person(&world);
    let file = world.path().join("submitd.toml");
    // A device is asked for one service; Graph was never allowed.
    let text = both.replace("grant = \"authorization_code\"", "grant = \"device_code\"");
    std::fs::write(&file, &text).unwrap();
    world.faults(|faults| faults.sign_in.device_interval = Some(1));
    let login = Login::start(&file, &["erp"]);
    let (place, code) = login.code();
    crate::support::browser::post(
        &place,
        &[("code", &code), ("user", ERP), ("decision", "accept")],
    );
    let (status, said) = login.wait();
    assert!(status.success(), "{said}");
    assert!(said.contains("warning") && said.contains("Graph"), "{said}");
    assert!(said.contains("AADSTS65001") && said.contains("submitd login erp --browser"), "{said}");
    // By SMTP it sends all the same.
    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN], &mails::plain("by-smtp"));
    assert_eq!(world.messages(1)[0].door, Door::Smtp);
}
