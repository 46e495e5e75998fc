//! Microsoft Graph by every kind of account: managed identities, shared mailboxes, tokens for something else;
//! and what `submitd check` says of each.

use crate::graph::{app, by_graph, config, submit, taken};
use crate::support::browser::{decide, visit};
use crate::support::mails;
use crate::support::sign_in::Login;
use crate::support::walk::{Walk, remedy, says, trial, walk, world};
use crate::support::world::World;
use submitd::check::{Finding, Step, Trial};
use submitd::sandbox::Mailbox;
use submitd::sandbox::faults::{AuthRefusal, Fault, GraphAnswer, GraphStep};

const ANN: &str = "ann@example.org";

fn names(walk: &Walk) -> Vec<&'static str> {
    walk.steps.iter().map(|(step, _)| step.name()).collect()
}

fn breaks(walk: &Walk, wanted: Step, what: &[&str], then: &[&str]) {
    let (step, trouble) = walk.broken();
    assert_eq!(step, wanted, "{trouble:?}");
    says(&trouble.what, what, "what");
    says(remedy(trouble), then, "remedy");
}

#[test]
fn b24_check_walks_a_good_account_to_graph_and_sends_only_where_that_is_asked_for() {
    let world = world(|_| {});
    let text = app(&world, "");
    let seen = walk(&world, &text, &Trial::default());
    assert!(seen.outcome.broken.is_none() && seen.doubts().is_empty(), "{:?}", seen.steps);
    // The sandbox's Graph is plain HTTP on loopback: no TLS to look at.
    assert_eq!(names(&seen), ["DNS", "TCP", "token", "claims", "Graph"]);
    says(seen.seen(Step::Claims), &["https://graph.microsoft.com", "Mail.Send"], "claims");
    let told = ["erp@contoso.com may send", "ErrorMimeContentInvalidBase64String"];
    says(seen.seen(Step::Graph), &told, "Graph");
    assert!(world.sandbox.messages().is_empty(), "nothing was sent");
    let sent = walk(&world, &text, &trial(None, Some(ANN)));
    says(sent.seen(Step::Send), &["250 2.0.0 202 taken by Microsoft Graph"], "send");
    let message = &world.messages(1)[0];
    by_graph(message);
    assert_eq!(message.recipients(), [ANN]);
}

#[test]
fn b24_check_tells_the_mistakes_at_graph_apart() {
    let plain = |world: &World, text: &str| walk(world, text, &Trial::default());
    // No permission at all, and none for this mailbox.
    let bare = world(|options| options.graph_roles = vec!["Mail.Read".into()]);
    let seen = plain(&bare, &app(&bare, ""));
    assert!(seen.doubts()[0].what.contains("(Mail.Read) do not hold Mail.Send"));
    breaks(&seen, Step::Graph, &["403", "ErrorAccessDenied"], &["Mail.Send"]);
    let elsewhere = world(|options| {
        options.graph_mailboxes = vec!["crm@contoso.com".into()];
    });
    let seen = plain(&elsewhere, &app(&elsewhere, ""));
    breaks(&seen, Step::Graph, &["403"], &["erp@contoso.com"]);
    // A mailbox that is not there.
    let nobody = world(|options| options.mailboxes = vec![Mailbox::new("crm@contoso.com")]);
    let seen = plain(&nobody, &app(&nobody, ""));
    breaks(&seen, Step::Graph, &["404", "ErrorInvalidUser"], &["`mailbox` of account erp"]);
    // Graph has its hours.
    let busy = world(|_| {});
    busy.faults(|faults| {
        let down = GraphAnswer::error(503, "serviceNotAvailable", "The service is unavailable.");
        faults.graph.answers.insert(GraphStep::SendMail, Fault::always(down));
    });
    let seen = plain(&busy, &app(&busy, ""));
    breaks(&seen, Step::Graph, &["503", "serviceNotAvailable"], &[]);
    // Nobody is there.
    let text = app(&busy, "").replace(&busy.sandbox.graph_url(), "http://127.0.0.1:9/v1.0");
    breaks(&plain(&busy, &text), Step::Tcp, &["127.0.0.1"], &["by https", "proxy"]);
}

#[test]
fn b24_a_token_for_something_else_is_diagnosed_by_check_and_by_the_daemon() {
    let world = world(|_| {});
    let text = app(&world, "").replace(
        "[account.oauth]\n",
        "[account.oauth]\nscope = \"https://outlook.office365.com/.default\"\n",
    );
    let seen = walk(&world, &text, &Trial::default());
    let doubts = seen.doubts();
    says(&doubts[0].what, &["https://outlook.office365.com, not for Microsoft Graph"], "doubt");
    says(remedy(doubts[0]), &["leave `scope` out of [account.oauth]"], "remedy");
    let what = ["401", "InvalidAuthenticationToken", "Invalid audience"];
    breaks(&seen, Step::Graph, &what, &["leave `scope` of account erp out"]);
    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN], &mails::plain("waits"));
    let told = daemon.log.wait_for("account paused, its mail is kept");
    says(&told, &["Invalid audience", "leave `scope` of account erp out"], "log");
    assert!(world.sandbox.messages().is_empty());
}

#[test]
fn b24_check_of_auto_walks_both_ways_where_smtp_auth_is_off() {
    let world = world(|_| {});
    let keys = "grant = \"client_credentials\"\ntransport = \"auto\"";
    let text = config(&world, "contoso.onmicrosoft.com", keys, "");
    let seen = walk(&world, &text, &Trial::default());
    assert!(seen.outcome.broken.is_none() && !names(&seen).contains(&"Graph"), "{:?}", seen.steps);
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled)));
    let seen = walk(&world, &text, &Trial::default());
    assert!(seen.outcome.broken.is_none(), "{:?}", seen.steps);
    let doubt = seen.steps.iter().find_map(|(step, finding)| match finding {
        Finding::Doubt(trouble) if *step == Step::Auth => Some(trouble),
        _ => None,
    });
    says(&doubt.unwrap().what, &["SmtpClientAuthentication is disabled"], "doubt");
    says(seen.seen(Step::Graph), &["may send"], "Graph");
}

#[test]
fn b24_a_managed_identity_sends_by_graph() {
    let world = world(|_| {});
    let text = config(&world, "contoso.onmicrosoft.com", "", "");
    let begin = text.find("tenant = ").unwrap();
    let end = text.find("[account.graph]").unwrap();
    let mut text = text;
    text.replace_range(begin..end, "grant = \"managed_identity\"\ntransport = \"graph\"\n");
    let begin = text.find("token_url = ").unwrap();
    let endpoint =
        format!("token_url = \"{}/metadata/identity/oauth2/token\"\n", world.sandbox.web_url());
    text.replace_range(begin.., &endpoint);
    let seen = walk(&world, &text, &Trial::default());
    assert!(seen.outcome.broken.is_none(), "{:?}", seen.steps);
    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN], &mails::plain("by the machine"));
    let message = &world.messages(1)[0];
    by_graph(message);
    assert_eq!(world.sandbox.statistics().connections, 0, "no SMTP");
}

/// A person signs in for a mailbox that is not hers.
fn shared(world: &World, graph: &str) -> String {
    let keys = "grant = \"authorization_code\"\ntransport = \"graph\"\n\
                username = \"ann@contoso.com\"\n\
                redirect_uri = \"http://localhost/submitd/callback\"";
    config(world, "contoso.onmicrosoft.com", keys, graph)
}

fn sign_in(world: &World, text: &str) -> String {
    let file = world.path().join("submitd.toml");
    std::fs::write(&file, text).unwrap();
    let login = Login::start(&file, &["erp"]);
    visit(&decide(&login.address(), "ann@contoso.com", "accept").location());
    let (status, said) = login.wait();
    assert!(status.success(), "{said}");
    said
}

#[test]
fn b24_a_delegate_sends_from_a_shared_mailbox_with_mail_send_shared() {
    let world = world(|options| {
        options.mailboxes.push(Mailbox::new("ann@contoso.com"));
        options.sign_ins.delegates = vec![("ann@contoso.com".into(), "erp@contoso.com".into())];
    });
    let scope = "scope = \"https://graph.microsoft.com/Mail.Send.Shared offline_access\"";
    let text = shared(&world, scope);
    let said = sign_in(&world, &text);
    assert!(!said.contains("warning"), "{said}");
    let daemon = world.start(&text).run();
    taken(&daemon, &[ANN], &mails::plain("of the team"));
    let message = &world.messages(1)[0];
    by_graph(message);
    assert_eq!(message.recipients(), [ANN]);
}

#[test]
fn b24_a_delegate_without_mail_send_shared_is_told_so() {
    let world = world(|options| {
        options.mailboxes.push(Mailbox::new("ann@contoso.com"));
        options.sign_ins.delegates = vec![("ann@contoso.com".into(), "erp@contoso.com".into())];
    });
    // Mail.Send alone is for one's own mailbox.
    let text = shared(&world, "scope = \"https://graph.microsoft.com/Mail.Send offline_access\"");
    sign_in(&world, &text);
    let daemon = world.start(&text).run();
    let reply = submit(&daemon, &[ANN], &mails::plain("waits"));
    assert!(reply.starts_with("250"), "{reply}");
    let told = daemon.log.wait_for("account paused, its mail is kept");
    says(&told, &["ErrorAccessDenied", "Mail.Send.Shared"], "log");
    assert!(world.sandbox.messages().is_empty());
}
