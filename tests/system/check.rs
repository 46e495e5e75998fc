//! `submitd check` and the mistakes that administrators make: each is made, and told apart from the others.

use crate::support::daemon::binary;
use crate::support::gateway::Gateway;
use crate::support::overheard::Heard;
use crate::support::port::Port;
use crate::support::walk::{
    APP, PUBLIC, Walk, by_person, by_secret, config, remedy, says, trial, walk, world,
};
use crate::support::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use submitd::check::{Finding, Step, Trial};
use submitd::diagnosis::{Class, token};
use submitd::sandbox::faults::{Aadsts, AuthRefusal, Certificate, Fault, Faults, Switch};
use submitd::sandbox::{Mailbox, Options};

fn plain(world: &World, text: &str) -> Walk {
    walk(world, text, &Trial::default())
}

/// Which step broke, and that these words are told and these are the remedy.
fn breaks(walk: &Walk, wanted: Step, what: &[&str], then: &[&str]) {
    let (step, trouble) = walk.broken();
    assert_eq!(step, wanted, "{trouble:?}");
    says(&trouble.what, what, "what");
    says(remedy(trouble), then, "remedy");
    let after = walk.steps.iter().skip_while(|(at, _)| *at <= step);
    assert!(after.clone().all(|(_, finding)| *finding == Finding::NotReached), "{:?}", walk.steps);
    assert_eq!(after.count() > 0, step < Step::Mail);
}

fn entra(world: &World, keys: &str, tenant: &str) -> String {
    let url = world.sandbox.token_url().replace("contoso.onmicrosoft.com", tenant);
    config(world, keys, &format!("token_url = \"{url}\""))
}

#[test]
fn a_good_account_shows_every_step() {
    let world = world(|_| {});
    let walk = walk(&world, &by_secret(&world), &trial(None, Some("ann@example.org")));
    assert!(walk.outcome.broken.is_none() && walk.doubts().is_empty(), "{:?}", walk.steps);
    let names: Vec<_> = walk.steps.iter().map(|(step, _)| step.name()).collect();
    assert_eq!(
        names,
        ["DNS", "TCP", "SMTP", "TLS", "token", "claims", "EHLO", "AUTH", "MAIL", "send"]
    );
    let claims = walk.seen(Step::Claims);
    let tenant = Options::default().tenant_id;
    says(claims, &["https://outlook.office365.com", "SMTP.SendAsApp", &tenant, APP, "ends 20"], "");
    says(walk.seen(Step::Ehlo), &["SIZE 157286400", "AUTH (LOGIN XOAUTH2)", "PIPELINING"], "EHLO");
    says(walk.seen(Step::Send), &["250 2.0.0 OK", "Hostname="], "send");
    let mail = world.messages(1).pop().unwrap();
    assert_eq!(mail.envelope.recipients[0].address.as_str(), "ann@example.org");
    let statistics = world.sandbox.statistics();
    assert_eq!(statistics.mail_commands, 2, "one asked and taken back, one sent");
}

#[test]
fn secrets_that_are_wrong_in_every_way() {
    let world = world(|_| {});
    let right = by_secret(&world);
    let secret = Options::default().client_secret;
    let id = Options::default().client_secret_id;
    let pasted = right.replace(secret.expose(), &id);
    let told = plain(&world, &pasted);
    breaks(&told, Step::Token, &["AADSTS7000215", "secret's id"], &["Value (not its Secret ID)"]);
    assert!(!format!("{:?}", told.steps).contains(&id), "what was sent is not shown");
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(7_000_222))));
    let expired = plain(&world, &right);
    breaks(&expired, Step::Token, &["AADSTS7000222", "expired"], &["New client secret", "erp"]);
}

#[test]
fn tenants_and_clouds_that_are_wrong() {
    let world = world(|_| {});
    let right = by_secret(&world);
    for (tenant, code) in [("fabrikam.com", "AADSTS90002"), ("fabrikam", "AADSTS900023")] {
        let wrong = right.replace("contoso.onmicrosoft.com", tenant);
        let told = plain(&world, &wrong);
        breaks(&told, Step::Token, &[code], &["Tenant ID", tenant]);
    }
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(90038))));
    breaks(&plain(&world, &right), Step::Token, &["national cloud"], &["set `cloud`"]);
    let other = right.replace(APP, "11111111-1111-1111-1111-111111111111");
    world.sandbox.set_faults(Faults::default());
    let told = plain(&world, &other);
    breaks(&told, Step::Token, &["AADSTS700016"], &["11111111-1111", "submitd check --setup erp"]);
}

#[test]
fn people_who_cannot_be_signed_in_by_a_password() {
    let world = world(|_| {});
    let keys = |id: &str| {
        format!(
            "grant = \"password\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{id}\"\n\
             password = \"Correct-horse-battery-staple-1\""
        )
    };
    let off = entra(&world, &keys(APP), "contoso.onmicrosoft.com");
    let told = plain(&world, &off);
    breaks(&told, Step::Token, &["AADSTS7000218"], &["Allow public client flows = Yes"]);
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(50076))));
    let on = entra(&world, &keys(PUBLIC), "contoso.onmicrosoft.com");
    let told = plain(&world, &on);
    breaks(&told, Step::Token, &["multi-factor"], &["interactively", "client_credentials"]);
    world.faults(|faults| faults.token.error = Some(Fault::always(Aadsts(65001))));
    breaks(&plain(&world, &on), Step::Token, &["consented"], &["SMTP.Send", "Grant admin consent"]);
}

#[test]
fn authenticated_smtp_that_is_switched_off() {
    let world = world(|_| {});
    for (refusal, whose) in [
        (AuthRefusal::TenantDisabled, "whole tenant"),
        (AuthRefusal::MailboxDisabled, "this mailbox"),
    ] {
        world.faults(|faults| faults.smtp.auth = Some(Fault::always(refusal)));
        let told = plain(&world, &by_secret(&world));
        let line =
            "Set-CASMailbox -Identity erp@contoso.com -SmtpClientAuthenticationDisabled $false";
        breaks(&told, Step::Auth, &["5.7.139", whose], &[line]);
        assert!(told.outcome.broken.unwrap().needs_setup);
    }
}

#[test]
fn a_graph_scope_makes_a_token_that_exchange_refuses() {
    let world = world(|_| {});
    let app = format!("{}scope = \"https://graph.microsoft.com/.default\"\n", by_secret(&world));
    let told = plain(&world, &app);
    breaks(&told, Step::Auth, &["535 5.7.3", "Microsoft Graph"], &["`scope`", "User.Read"]);
    assert_eq!(told.doubts().len(), 1, "told before the login too");
    let scope =
        "https://graph.microsoft.com/User.Read https://outlook.office.com/SMTP.Send offline_access";
    let person = format!("{}scope = \"{scope}\"\n", by_person(&world));
    breaks(
        &plain(&world, &person),
        Step::Auth,
        &["Microsoft Graph"],
        &["SMTP.Send offline_access"],
    );
}

/// Name of the row; who; what the token says instead of the usual; whether the server refuses a good one
/// too; words.
type Case = (&'static str, bool, Value, bool, &'static [&'static str], &'static [&'static str]);

/// What is told of a refused token by its own words.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn refusals_without_a_reason_are_told_apart_by_the_token() {
    const OBJECT_ID: &str = "a1d5e3c7-6b20-4f8e-9c14-d7f30b5e8a26";
    let cases: Vec<Case> = vec![
        (
            "graph-audience",
            false,
            json!({"aud": "00000003-0000-0000-c000-000000000000"}),
            false,
            &["Microsoft Graph"],
            &["`scope`"],
        ),
        (
            "other-audience",
            false,
            json!({"aud": "https://management.azure.com"}),
            false,
            &["made for https://management.azure.com, not for Exchange"],
            &["https://outlook.office365.com/.default"],
        ),
        (
            "ews-only",
            false,
            json!({"roles": ["full_access_as_app"]}),
            false,
            &["full_access_as_app", "2027-04-01"],
            &["Application permissions > SMTP.SendAsApp", "Office 365 Exchange Online"],
        ),
        (
            "other-roles",
            false,
            json!({"roles": ["Mail.Send", "IMAP.AccessAsApp"]}),
            false,
            &["Mail.Send, IMAP.AccessAsApp"],
            &["SMTP.SendAsApp", "Grant admin consent"],
        ),
        (
            "no-role",
            false,
            json!({"roles": null}),
            false,
            &["carries no permission"],
            &["Test-ServicePrincipalAuthorization -Identity a1d5e3c7", "-Resource erp@contoso.com"],
        ),
        (
            "application-unknown",
            false,
            json!({}),
            true,
            &["object id", "not in force yet"],
            &[
                "New-ServicePrincipal -AppId 0f8fad5b",
                OBJECT_ID,
                "Add-MailboxPermission",
                "two hours",
            ],
        ),
        (
            "no-scope",
            true,
            json!({"scp": "IMAP.AccessAsUser.All"}),
            false,
            &["SMTP.Send is not among"],
            &["Delegated permissions > SMTP.Send"],
        ),
        (
            "other-user",
            true,
            json!({"upn": "admin@contoso.com"}),
            false,
            &["belongs to admin@contoso.com, not to erp@contoso.com"],
            &["Add-MailboxPermission -Identity erp@contoso.com -User admin@contoso.com"],
        ),
        (
            "person-refused",
            true,
            json!({}),
            true,
            &["no mailbox, no licence"],
            &["Get-CASMailbox -Identity erp@contoso.com"],
        ),
        ("ended", false, json!({"exp": 1_500_000_000}), true, &["ended already"], &["timedatectl"]),
        (
            "other-tenant",
            false,
            json!({"tid": "99999999-9999-9999-9999-999999999999"}),
            true,
            &["issued by tenant 99999999-"],
            &["set `tenant`"],
        ),
    ];
    let world = world(|_| {});
    let tenant = Options::default().tenant_id;
    let by_id =
        |text: String| text.replace("contoso.onmicrosoft.com/oauth2", &format!("{tenant}/oauth2"));
    let (application, person) = (by_id(by_secret(&world)), by_id(by_person(&world)));
    // Another cloud cannot be played on loopback: check/token.rs has its table.
    let mut played = BTreeSet::from(["other-cloud"]);
    for (name, is_person, claims, refuses, what, then) in cases {
        world.faults(|faults| {
            faults.token.claims = serde_json::from_value(claims).unwrap();
            faults.smtp.auth = refuses.then_some(Fault::always(AuthRefusal::Rejected));
        });
        let told = plain(&world, if is_person { &person } else { &application });
        breaks(&told, Step::Auth, what, then);
        let row = token::ROWS.into_iter().find(|row| row.name == name).unwrap();
        assert_eq!(told.broken().1.class, row.class, "{name}");
        let is_doubted = !["no-role", "application-unknown", "person-refused"].contains(&name);
        assert_eq!(!told.doubts().is_empty(), is_doubted, "{name}: {:?}", told.doubts());
        played.insert(name);
    }
    played.extend(graph_doubts(&world, &application, &person));
    let known: BTreeSet<_> = token::ROWS.iter().map(|row| row.name).collect();
    assert_eq!(played, known);
}

/// What a token for Graph gives away, told before Graph is asked; the rows that were seen.
fn graph_doubts(world: &World, application: &str, person: &str) -> Vec<&'static str> {
    let by_graph = |text: &str| {
        let graph = format!("[account.graph]\nurl = \"{}\"\n", world.sandbox.graph_url());
        text.replace("grant = ", "transport = \"graph\"\ngrant = ")
            .replace("[account.upstream]", &format!("{graph}[account.upstream]"))
    };
    let cases = [
        (
            "not-graph",
            false,
            json!({"aud": "https://outlook.office365.com"}),
            "not for Microsoft Graph",
        ),
        (
            "no-mail-send",
            false,
            json!({"roles": ["Mail.Read"]}),
            "(Mail.Read) do not hold Mail.Send",
        ),
        ("no-mail-send-scope", true, json!({"scp": "Mail.Read"}), "Mail.Send is not among"),
    ];
    let mut seen = Vec::new();
    for (name, is_person, claims, what) in cases {
        world.faults(|faults| faults.token.claims = serde_json::from_value(claims).unwrap());
        let told = plain(world, &by_graph(if is_person { person } else { application }));
        let told: Vec<_> = told.doubts().iter().map(|doubt| doubt.what.clone()).collect();
        assert!(told.iter().any(|told| told.contains(what)), "{name}: {told:?}");
        seen.push(name);
    }
    seen
}

#[test]
fn a_role_in_exchange_wants_a_token_without_permission() {
    let world = world(|options| options.exchange_role = true);
    world.faults(|faults| faults.token.no_permission = Switch::On);
    let bare = plain(&world, &by_secret(&world));
    assert!(bare.outcome.broken.is_none() && bare.doubts().is_empty(), "{:?}", bare.steps);
    says(bare.seen(Step::Claims), &["roles none"], "claims");
    world.sandbox.set_faults(Faults::default());
    let both = plain(&world, &by_secret(&world));
    breaks(&both, Step::Auth, &["5.7.3"], &["take SMTP.SendAsApp away from its API permissions"]);
}

#[test]
fn an_opaque_token_is_said_to_be_opaque() {
    let world = world(|_| {});
    world.faults(|faults| faults.token.opaque = true);
    let good = plain(&world, &by_person(&world));
    assert!(good.outcome.broken.is_none(), "{:?}", good.steps);
    says(good.seen(Step::Claims), &["opaque"], "claims");
    world.faults(|faults| {
        faults.token.opaque = true;
        faults.smtp.auth = Some(Fault::always(AuthRefusal::Rejected));
    });
    let told = plain(&world, &by_person(&world));
    breaks(&told, Step::Auth, &["without saying why"], &["check in this order", "erp@contoso.com"]);
}

#[test]
fn a_foreign_sender_is_refused_only_after_the_dot() {
    let world = world(|options| options.mailboxes = vec![Mailbox::new("erp@contoso.com")]);
    let config = by_secret(&world);
    let asked = walk(&world, &config, &trial(Some("sales@contoso.com"), None));
    assert!(asked.outcome.broken.is_none(), "Exchange takes any sender at MAIL: {:?}", asked.steps);
    says(asked.seen(Step::Mail), &["sales@contoso.com as sender: 250 2.1.0"], "MAIL");
    let sent = walk(&world, &config, &trial(Some("sales@contoso.com"), Some("ann@example.org")));
    let (step, trouble) = sent.broken();
    assert_eq!((step, trouble.class), (Step::Send, Class::Administrator));
    says(&trouble.what, &["554 5.2.252 SendAsDenied"], "what");
    says(remedy(trouble), &["Add-RecipientPermission", "-Trustee erp@contoso.com"], "remedy");
    assert_eq!(world.sandbox.statistics().messages, 0);
}

#[test]
fn certificates_that_are_no_good_name_what_is_wrong() {
    let world = world(|_| {});
    for (certificate, what, then) in [
        (Certificate::Expired, "expired on", "renew"),
        (Certificate::WrongName, "not for localhost", "set host to the server's own name"),
        (Certificate::UnknownAuthority, "not trusted here", "ca_file"),
    ] {
        world.faults(|faults| faults.smtp.certificate = Some(Fault::always(certificate)));
        let told = plain(&world, &by_secret(&world));
        breaks(&told, Step::Tls, &[what], &[then, "o token was sent"]);
    }
    world.faults(|faults| faults.smtp.no_starttls = Switch::On);
    let told = plain(&world, &by_secret(&world));
    breaks(&told, Step::Smtp, &["STARTTLS is not offered"], &["firewall"]);
}

#[test]
fn a_gateway_that_opens_tls_is_named_until_it_is_trusted() {
    let world = world(|_| {});
    let gateway = Gateway::before_smtp(&world);
    let port = world.sandbox.smtp_addr().port().to_string();
    let through = by_secret(&world).replace(&port, &gateway.port().to_string());
    let told = plain(&world, &through);
    breaks(
        &told,
        Step::Tls,
        &[
            "for \"localhost, Contoso Web Gateway\"",
            "comes from \"Contoso Inspection CA, Contoso AG\"",
        ],
        &["certificate of its CA", "ca_file", "exempt this connection"],
    );
    // Trusted besides the sandbox's own, it lets everything through.
    let file = world.path().join("both.pem");
    std::fs::write(&file, format!("{}{}", world.sandbox.ca_pem(), gateway.authority())).unwrap();
    let trusted = through.replace("sandbox-ca.pem", "both.pem");
    let good = walk(&world, &trusted, &trial(None, Some("ann@example.org")));
    assert!(good.outcome.broken.is_none(), "{:?}", good.steps);
    assert_eq!(world.messages(1).len(), 1);
}

#[test]
fn a_gateway_before_the_token_endpoint_is_named_too() {
    let world = world(|_| {});
    let gateway = Gateway::before_web(&world);
    let url = format!("https://localhost:{}", gateway.port());
    let through = by_secret(&world).replace(&world.sandbox.web_url(), &url);
    let told = plain(&world, &through);
    breaks(&told, Step::Token, &["Contoso Inspection CA", "not trusted here"], &["`ca_file`"]);
    std::fs::write(world.path().join("gateway.pem"), gateway.authority()).unwrap();
    let trusted = format!("{through}ca_file = \"gateway.pem\"\n");
    let good = plain(&world, &trusted);
    assert!(good.outcome.broken.is_none(), "{:?}", good.steps);
}

#[test]
fn servers_that_are_not_there() {
    let world = world(|_| {});
    let config = by_secret(&world);
    let unknown = config.replace("\"localhost\"", "\"no-such-host.invalid\"");
    let told = plain(&world, &unknown);
    breaks(&told, Step::Dns, &["no-such-host.invalid"], &["getent hosts", "`host`"]);
    let gone = Port::hold();
    let port = world.sandbox.smtp_addr().port().to_string();
    let told = plain(&world, &config.replace(&port, &gone.number().to_string()));
    breaks(&told, Step::Tcp, &["refused"], &["outgoing SMTP", &gone.number().to_string()]);
    assert_eq!(told.broken().1.class, Class::Transient);
}

/// The real program with this configuration.
fn submitd(world: &World, text: &str, words: &[&str]) -> (Option<i32>, String) {
    let path = world.path().join("submitd.toml");
    std::fs::write(&path, text).unwrap();
    let output = Command::new(binary()).arg("check").args(words).arg("--config").arg(path).heard();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn json_and_exit_codes_are_for_programs() {
    let world = world(|_| {});
    let config = by_secret(&world);
    let run = |text: &str, words: &[&str]| {
        let (code, output) = submitd(&world, text, words);
        (code, serde_json::from_str::<Value>(&output).unwrap_or_else(|e| panic!("{e}: {output}")))
    };
    let (code, good) = run(&config, &["--json"]);
    assert_eq!((code, &good["ok"]), (Some(0), &json!(true)), "{good}");
    assert_eq!(good["accounts"][0]["account"], "erp");
    assert_eq!(good["accounts"][0]["setup"], Value::Null);
    assert_eq!(good["accounts"][0]["steps"].as_array().unwrap().len(), 9);
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::Rejected)));
    let (code, refused) = run(&config, &["--json", "erp"]);
    assert_eq!((code, &refused["ok"]), (Some(1), &json!(false)));
    let steps = refused["accounts"][0]["steps"].as_array().unwrap();
    let auth = steps.iter().find(|step| step["step"] == "AUTH").unwrap();
    assert_eq!((&auth["state"], &auth["class"]), (&json!("broken"), &json!("administrator")));
    assert!(auth["remedy"].as_str().unwrap().contains("Get-ServicePrincipal"), "{auth}");
    assert_eq!(*steps.last().unwrap(), json!({"step": "MAIL", "state": "not_reached"}));
    assert!(refused["accounts"][0]["setup"].as_str().unwrap().contains("New-ManagementScope"));
    world.faults(|faults| faults.token.status = Some(Fault::always(503)));
    assert_eq!(run(&config, &["--json"]).0, Some(75), "what passes by itself");
    let (code, wrong) = run(&config.replace("mailbox =", "mialbox ="), &["--json"]);
    assert_eq!(code, Some(78));
    let problems = wrong["problems"].as_array().unwrap();
    assert!(problems.iter().any(|one| one["key"] == "account \"erp\": mialbox"), "{wrong}");
    let (code, text) = submitd(&world, &config, &["nobody"]);
    assert_eq!(code, Some(64), "{text}");
    assert_eq!(submitd(&world, &config, &["--send", "no address"]).0, Some(64));
}

#[test]
fn the_program_sends_a_trial_and_prints_what_is_to_be_set_up() {
    let world = world(|_| {});
    let config = by_secret(&world);
    let (code, text) = submitd(&world, &config, &["--send", "ann@example.org"]);
    assert_eq!(code, Some(0), "{text}");
    says(&text, &["ok send 250 2.0.0 OK"], "text");
    assert_eq!(world.messages(1)[0].envelope.recipients[0].address.as_str(), "ann@example.org");
    let (code, text) =
        submitd(&world, &config, &["--send", "ann@example.org", "--from", "sales@contoso.com"]);
    assert_eq!(code, Some(1), "{text}");
    says(&text, &["BROKEN send", "SendAsDenied", "remedy"], "text");
    let asked = world.sandbox.statistics().token_requests;
    let (code, text) = submitd(&world, &config, &["--setup", "erp"]);
    assert_eq!(code, Some(0), "{text}");
    says(
        &text,
        &[
            "New-ManagementRoleAssignment -Name submitd-erp",
            "Set-CASMailbox -Identity erp@contoso.com -SmtpClientAuthenticationDisabled $false",
        ],
        "set-up",
    );
    assert_eq!(world.sandbox.statistics().token_requests, asked, "nobody is asked");
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::Rejected)));
    let (code, text) = submitd(&world, &config, &[]);
    assert_eq!(code, Some(1), "{text}");
    let line = "New-ServicePrincipal -AppId 0f8fad5b-d9cb-469f-a165-70867728950e -ObjectId \
                a1d5e3c7-6b20-4f8e-9c14-d7f30b5e8a26 -DisplayName submitd-erp";
    says(&text, &["BROKEN AUTH", "- MAIL not reached", line, "Remove permission"], "text");
}
