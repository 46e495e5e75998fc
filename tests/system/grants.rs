//! One mail by each way to a token, and what an administrator reads where one does not work.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, binary};
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::world::World;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use submitd::sandbox::faults::{Aadsts, Fault, Faults};
use submitd::sandbox::{Identities, Limits, Options};

const APP: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const PUBLIC: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const PASSWORD: &str = "Correct-horse-battery-staple-1";

/// A configuration whose account has these keys, and these in `[account.oauth]`.
fn config(world: &World, keys: &str, oauth: &str) -> String {
    world.account(&format!("mailbox = \"erp@contoso.com\"\n{keys}"), oauth)
}

fn tenant(world: &World) -> String {
    format!("token_url = \"{}\"", world.sandbox.token_url())
}

fn at(world: &World, path: &str) -> String {
    format!("token_url = \"{}{path}\"", world.sandbox.web_url())
}

/// A file of mode 600 beside the configuration.
fn file(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.path().join(name);
    let new = world.path().join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(new, &path).unwrap();
    path
}

fn world(change: impl FnOnce(&mut Identities)) -> World {
    let mut options = Options { limits: Limits::NONE, ..Options::default() };
    change(&mut options.identities);
    World::with(options)
}

fn send(daemon: &Daemon, subject: &str) {
    let body = String::from_utf8(mails::plain(subject)).unwrap();
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// A mail by this account arrives, and the log at its loudest holds none of the secrets.
fn arrives(world: &World, config: &str, environment: &[(&str, &str)], secrets: &[&str]) -> Daemon {
    let mut start = world.start(config);
    for (name, value) in environment {
        start = start.with(name, value);
    }
    let daemon = start.run();
    send(&daemon, "by-this-grant");
    assert_eq!(world.messages(1).len(), 1);
    let log = daemon.log.text();
    assert!(log.contains("token obtained"), "{log}");
    for secret in secrets {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    daemon
}

/// What `submitd check` says of the token.
fn refused(world: &World, config: &str, environment: &[(&str, &str)]) -> String {
    let path = world.path().join("check.toml");
    std::fs::write(&path, config).unwrap();
    let output = Command::new(binary())
        .args(["check", "--config"])
        .arg(&path)
        .envs(environment.iter().copied())
        .heard();
    assert!(!output.status.success());
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

fn says(text: &str, words: &[&str]) {
    // Long lines are broken for the terminal.
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[test]
fn refresh_token_and_the_one_that_came_back_serves_the_next_start() {
    let world = world(|_| {});
    let first = Options::default().refresh_token;
    let keys = format!(
        "grant = \"refresh_token\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{PUBLIC}\"\n\
         refresh_token = \"{}\"",
        first.expose()
    );
    let config = config(&world, &keys, &tenant(&world));
    let mut daemon = arrives(&world, &config, &[], &[first.expose()]);
    assert!(daemon.stop().success());
    let kept = std::fs::read_to_string(world.path().join("state/tokens")).unwrap();
    assert!(!kept.contains(first.expose()), "sealed");
    let daemon = world.start(&config).run();
    send(&daemon, "the next start");
    assert_eq!(world.messages(2).len(), 2);
}

fn password_keys(password: &str) -> String {
    format!(
        "grant = \"password\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{PUBLIC}\"\n\
         password = \"{password}\"\n"
    )
}

#[test]
fn password() {
    let world = World::new();
    let config = config(&world, &password_keys(PASSWORD), &tenant(&world));
    arrives(&world, &config, &[], &[PASSWORD]);
}

#[test]
fn password_is_tried_once_and_then_waits_for_a_person() {
    let world = World::new();
    let text = config(&world, &password_keys("wrong-one"), &tenant(&world));
    let mut daemon = world.start(&text).run();
    send(&daemon, "one");
    daemon.log.wait_for("AADSTS50126");
    for subject in ["two", "three"] {
        send(&daemon, subject);
    }
    assert_eq!(world.sandbox.statistics().token_requests, 1);
    // A reload is the person.
    let right = config(&world, &password_keys(PASSWORD), &tenant(&world));
    std::fs::write(world.path().join("submitd.toml"), &right).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("token obtained");
    assert_eq!(world.sandbox.statistics().token_requests, 2);
    assert!(!daemon.log.text().contains("wrong-one"));
    assert!(daemon.stop().success());
    let _daemon = world.start(&right).run();
    assert_eq!(world.messages(3).len(), 3);
}

#[test]
fn password_refusals_name_their_remedy() {
    let world = World::new();
    let wrong = config(&world, &password_keys("wrong"), &tenant(&world));
    says(&refused(&world, &wrong, &[]), &["AADSTS50126", "set the right password of erp@contoso"]);
    for _ in 0..9 {
        refused(&world, &wrong, &[]);
    }
    let right = config(&world, &password_keys(PASSWORD), &tenant(&world));
    says(&refused(&world, &right, &[]), &["AADSTS50053", "wait a quarter of an hour"]);
    let world = World::new();
    let right = config(&world, &password_keys(PASSWORD), &tenant(&world));
    let user = right.replace("[account.up", "username = \"nobody@contoso.com\"\n[account.up");
    says(&refused(&world, &user, &[]), &["AADSTS50034", "User principal name"]);
    let common = right.replace("contoso.onmicrosoft.com/oauth2", "common/oauth2");
    says(&refused(&world, &common, &[]), &["AADSTS9001023", "set `tenant`"]);
    let confidential = right.replace(PUBLIC, APP);
    says(&refused(&world, &confidential, &[]), &["AADSTS7000218", "client_secret"]);
    let mut faults = Faults::default();
    faults.token.error = Some(Fault::always(Aadsts(50076)));
    world.sandbox.set_faults(faults);
    says(&refused(&world, &right, &[]), &["AADSTS50076", "multi-factor", "client_credentials"]);
}

fn certificate_keys(world: &World) -> String {
    let identities = Identities::default();
    file(world, "erp.crt", &identities.certificates[0]);
    file(world, "erp.key", identities.key.expose());
    format!(
        "grant = \"client_credentials\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{APP}\"\n\
         certificate = \"erp.crt\"\nkey = \"erp.key\"\n"
    )
}

#[test]
fn client_credentials_by_certificate() {
    let world = World::new();
    let keys = certificate_keys(&world);
    let key = Identities::default().key;
    let line = key.expose().lines().nth(5).unwrap().to_owned();
    arrives(&world, &config(&world, &keys, &tenant(&world)), &[], &[&line]);
}

/// Certificate and key in PKCS#12, made by openssl(1) with these words.
fn pkcs12(world: &World, password: &str, words: &[&str]) {
    let (certificate, key) = (world.path().join("erp.crt"), world.path().join("erp.key"));
    let made = Command::new("openssl")
        .args(["pkcs12", "-export", "-passout", &format!("pass:{password}"), "-in"])
        .arg(certificate)
        .arg("-inkey")
        .arg(key)
        .args(words)
        .output()
        .expect("openssl(1) is needed: scripts/install-test-tools");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = world.path().join("erp.pfx");
    std::fs::write(&path, made.stdout).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn client_credentials_by_certificate_in_pkcs12() {
    for (password, words) in [("Pass-word-1", &[][..]), ("Pass-word-1", &["-legacy"]), ("", &[])] {
        let world = World::new();
        let keys = certificate_keys(&world).replace("key = \"erp.key\"\n", "");
        pkcs12(&world, password, words);
        file(&world, "erp.password", password);
        let mut keys = keys.replace("erp.crt", "erp.pfx");
        if !password.is_empty() {
            keys.push_str("certificate_password_file = \"erp.password\"\n");
        }
        let config = config(&world, &keys, &tenant(&world));
        arrives(&world, &config, &[], &["Pass-word-1"]);
        if !password.is_empty() {
            file(&world, "erp.password", "another");
            let told = refused(&world, &config, &[]);
            says(&told, &["erp.pfx does not open with `certificate_password`"]);
            let none = config.replace("certificate_password_file = \"erp.password\"\n", "");
            says(&refused(&world, &none, &[]), &["erp.pfx has a password", "certificate_password"]);
        }
    }
}

#[test]
fn pkcs12_without_a_key_or_no_pkcs12_at_all_is_told() {
    let world = World::new();
    let keys = certificate_keys(&world).replace("key = \"erp.key\"\n", "");
    let config = config(&world, &keys.replace("erp.crt", "erp.pfx"), &tenant(&world));
    pkcs12(&world, "", &["-nokeys"]);
    says(&refused(&world, &config, &[]), &["erp.pfx: holds no private key"]);
    file(&world, "erp.pfx", "0 this is no PKCS#12");
    says(&refused(&world, &config, &[]), &["erp.pfx is neither PEM nor PKCS#12"]);
    assert_eq!(world.sandbox.statistics().token_requests, 0, "nobody was asked");
}

#[test]
fn a_certificate_stands_in_for_the_secret_with_a_refresh_token_and_a_password() {
    let proof = |world: &World| {
        certificate_keys(world)
            .lines()
            .filter(|line| !line.starts_with("grant"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let world = World::new();
    let first = Options::default().refresh_token;
    let more = format!("grant = \"refresh_token\"\nrefresh_token = \"{}\"\n", first.expose());
    let keys = format!("{more}{}", proof(&world));
    arrives(&world, &config(&world, &keys, &tenant(&world)), &[], &[first.expose()]);
    let world = World::new();
    let keys = format!("grant = \"password\"\npassword = \"{PASSWORD}\"\n{}", proof(&world));
    arrives(&world, &config(&world, &keys, &tenant(&world)), &[], &[PASSWORD]);
}

#[test]
fn certificate_refusals_name_their_remedy() {
    let world = world(|identities| identities.certificates.clear());
    let keys = certificate_keys(&world);
    let config = config(&world, &keys, &tenant(&world));
    says(&refused(&world, &config, &[]), &["AADSTS700027", "Certificates & secrets", "upload"]);
    file(&world, "erp.key", Identities::default().service_account_key.expose());
    says(&refused(&world, &config, &[]), &["does not belong to the certificate", "`key`"]);
    file(&world, "erp.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n");
    says(&refused(&world, &config, &[]), &["is encrypted", "openssl pkey"]);
    std::fs::set_permissions(world.path().join("erp.key"), PermissionsExt::from_mode(0o644))
        .unwrap();
    says(&refused(&world, &config, &[]), &["read or written by others", "chmod 600"]);
    assert_eq!(world.sandbox.statistics().token_requests, 1, "asked only where it could work");
}

#[test]
fn a_mended_certificate_is_read_at_the_next_request() {
    let world = World::new();
    let keys = certificate_keys(&world);
    file(&world, "erp.key", Identities::default().service_account_key.expose());
    let daemon = world.start(&config(&world, &keys, &tenant(&world))).run();
    send(&daemon, "one");
    daemon.log.wait_for("does not belong");
    certificate_keys(&world);
    // The account waits minutes for a person: a reload with the very same configuration.
    daemon.signal("HUP");
    daemon.log.wait_for("token obtained");
}

fn workload(world: &World) -> [(String, String); 4] {
    let path =
        file(world, "federated", world.sandbox.federated_token(Duration::from_secs(600)).expose());
    [
        ("AZURE_CLIENT_ID".into(), APP.into()),
        ("AZURE_TENANT_ID".into(), "contoso.onmicrosoft.com".into()),
        ("AZURE_FEDERATED_TOKEN_FILE".into(), path.display().to_string()),
        ("AZURE_AUTHORITY_HOST".into(), format!("{}/", world.sandbox.web_url())),
    ]
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn workload_identity() {
    let world = World::new();
    let variables = workload(&world);
    let config = config(&world, "grant = \"workload_identity\"\n", "");
    let token = std::fs::read_to_string(world.path().join("federated")).unwrap();
    arrives(&world, &config, &borrowed(&variables), &[&token]);
}

#[test]
fn workload_identity_refusals_name_their_remedy() {
    for (code, change) in [
        ("AADSTS700211", (|trusted| trusted.federated_issuer = "x".into()) as fn(&mut Identities)),
        ("AADSTS700213", |trusted| trusted.federated_subject = "x".into()),
        ("AADSTS700212", |trusted| trusted.federated_audience = "x".into()),
    ] {
        let (other, world) = (World::new(), world(change));
        let token = other.sandbox.federated_token(Duration::from_secs(600));
        let variables = workload(&world);
        file(&world, "federated", token.expose());
        let config = config(&world, "grant = \"workload_identity\"\n", "");
        let text = refused(&world, &config, &borrowed(&variables));
        says(&text, &[code, "Federated credentials", "issuer, subject and audience"]);
    }
    let world = World::new();
    let variables = workload(&world);
    let config = config(&world, "grant = \"workload_identity\"\n", "");
    file(&world, "federated", world.sandbox.federated_token(Duration::ZERO).expose());
    let text = refused(&world, &config, &borrowed(&variables));
    says(&text, &["AADSTS700024", "token file", "being renewed"]);
    std::fs::remove_file(world.path().join("federated")).unwrap();
    let text = refused(&world, &config, &borrowed(&variables));
    says(&text, &["does not exist", "azure.workload.identity/use"]);
}

#[test]
fn managed_identity_of_a_virtual_machine() {
    let world = World::new();
    let endpoint = at(&world, "/metadata/identity/oauth2/token");
    let config = config(&world, "grant = \"managed_identity\"\n", &endpoint);
    // A proxy that is none: nothing must go there.
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:9"), ("ALL_PROXY", "http://127.0.0.1:9")];
    arrives(&world, &config, &proxy, &[]);
}

#[test]
fn managed_identity_of_an_app_service() {
    let world = World::new();
    let header = Identities::default().identity_header;
    let endpoint = format!("{}/msi/token", world.sandbox.web_url());
    let id = Identities::default().managed_client_id;
    let keys = format!("grant = \"managed_identity\"\nclient_id = \"{id}\"\n");
    let variables =
        [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", header.expose())];
    arrives(&world, &config(&world, &keys, ""), &variables, &[header.expose()]);
}

#[test]
fn managed_identity_of_azure_arc() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(|identities| identities.arc_key_dir = Some(dir.path().to_owned()));
    let keys = |dir: &std::path::Path| {
        format!(
            "grant = \"managed_identity\"\nidentity_host = \"arc\"\narc_key_dir = \"{}\"\n",
            dir.display()
        )
    };
    let endpoint = at(&world, "/metadata/identity/oauth2/token");
    arrives(&world, &config(&world, &keys(dir.path()), &endpoint), &[], &[]);
    let elsewhere = config(&world, &keys(world.path()), &endpoint);
    says(&refused(&world, &elsewhere, &[]), &["outside of arc_key_dir", "himds"]);
}

#[test]
fn managed_identity_refusals_name_their_remedy() {
    let world = World::new();
    let machine = at(&world, "/metadata/identity/oauth2/token");
    let keys =
        "grant = \"managed_identity\"\nclient_id = \"11111111-1111-1111-1111-111111111111\"\n";
    let text = refused(&world, &config(&world, keys, &machine), &[]);
    says(&text, &["no such managed identity", "Azure portal", "Identity not found"]);
    let app = format!("{}/msi/token", world.sandbox.web_url());
    let header = Identities::default().identity_header;
    let variables = [("IDENTITY_ENDPOINT", app.as_str()), ("IDENTITY_HEADER", header.expose())];
    let text = refused(&world, &config(&world, keys, ""), &variables);
    says(&text, &["no such user-assigned identity", "User assigned > Add"]);
    let variables = [("IDENTITY_ENDPOINT", app.as_str()), ("IDENTITY_HEADER", "stale")];
    let text = refused(&world, &config(&world, "grant = \"managed_identity\"\n", ""), &variables);
    says(&text, &["does not accept its own header", "restart the container"]);
    let graph = format!("{machine}\nscope = \"https://elsewhere.example/.default\"");
    let text = refused(&world, &config(&world, "grant = \"managed_identity\"\n", &graph), &[]);
    says(&text, &["does not have the service", "`scope`"]);
}

#[test]
fn managed_identity_waits_out_an_update_of_the_service() {
    let world = World::new();
    let mut faults = Faults::default();
    faults.token.status = Some(Fault::times(410, 2));
    world.sandbox.set_faults(faults);
    let machine = at(&world, "/metadata/identity/oauth2/token");
    arrives(&world, &config(&world, "grant = \"managed_identity\"\n", &machine), &[], &[]);
    assert_eq!(world.sandbox.statistics().token_requests, 3);
}

fn service_account(world: &World, mailbox: &str) -> String {
    file(world, "key.json", &world.sandbox.options().identities.service_account_file());
    let keys =
        "preset = \"gmail\"\ngrant = \"service_account\"\nservice_account_file = \"key.json\"\n";
    config(world, keys, &at(world, "/google/token"))
        .replace("mailbox = \"erp@contoso.com\"", &format!("mailbox = \"{mailbox}\""))
}

#[test]
fn service_account_of_google() {
    let world = World::new();
    let config = service_account(&world, "erp@contoso.com");
    let key = Identities::default().service_account_key;
    let line = key.expose().lines().nth(5).unwrap().to_owned();
    arrives(&world, &config, &[], &[&line]);
}

#[test]
fn service_account_refusals_name_their_remedy() {
    let world = World::new();
    let good = service_account(&world, "erp@contoso.com");
    let other = service_account(&world, "nobody@contoso.com");
    says(&refused(&world, &other, &[]), &["has no such user", "Invalid email", "nobody@contoso"]);
    let scope = format!("{good}scope = \"https://www.googleapis.com/auth/gmail.send\"\n");
    says(&refused(&world, &scope, &[]), &["Domain-wide delegation", "may not act"]);
    let text = std::fs::read_to_string(world.path().join("key.json")).unwrap();
    file(&world, "key.json", &text.replace("submitd@", "deleted@"));
    says(&refused(&world, &good, &[]), &["does not exist any more", "service_account_file"]);
    let foreign =
        Identities { service_account_key: Identities::default().key, ..Identities::default() };
    file(&world, "key.json", &foreign.service_account_file());
    says(&refused(&world, &good, &[]), &["Invalid JWT Signature", "Keys > Add key"]);
    file(&world, "key.json", "{\"client_email\": \"x\"}");
    says(&refused(&world, &good, &[]), &["is not a key file", "Google Cloud console"]);
}

/// A token of the sandbox, as a broker would have it.
fn brokered(world: &World) -> String {
    let form = format!(
        "grant_type=client_credentials&client_id={APP}&client_secret={}\
         &scope=https%3A%2F%2Foutlook.office365.com%2F.default",
        Options::default().client_secret.expose()
    );
    let output = Command::new("curl")
        .args(["-s", "--noproxy", "*", "-d", &form, &world.sandbox.token_url()])
        .output()
        .expect("curl is needed");
    String::from_utf8(output.stdout).unwrap()
}

fn program(world: &World, name: &str, script: &str) -> PathBuf {
    let path = world.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn command(world: &World, script: &str, more: &str) -> String {
    let path = program(world, "broker", script);
    let keys = format!(
        "grant = \"token_command\"\ntoken_command = [\"{}\", \"erp; id\"]\n",
        path.display()
    );
    config(world, &keys, more)
}

#[test]
fn token_command() {
    let world = World::new();
    file(&world, "answer.json", &brokered(&world));
    let answer = world.path().join("answer.json");
    // The argument comes as one word, and secrets of ours do not come at all.
    let script =
        format!("[ \"$1\" = 'erp; id' ] && [ -z \"$SUBMITD_LOG\" ] && cat '{}'", answer.display());
    let token: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&answer).unwrap()).unwrap();
    let token = token["access_token"].as_str().unwrap();
    let config = command(&world, &script, "");
    arrives(&world, &config, &[("SUBMITD_LOG", "trace")], &[token]);
}

#[test]
fn token_command_that_fails_is_told_by_its_first_line() {
    let world = World::new();
    let fails =
        command(&world, "echo 'not signed in; run az login' >&2; echo more >&2; exit 3", "");
    let text = refused(&world, &fails, &[]);
    says(&text, &["ended with 3: not signed in; run az login", "by hand"]);
    assert!(!text.contains("more"), "{text}");
    let hangs = command(&world, "echo planted-token; exec sleep 600", "timeout = \"1s\"");
    let text = refused(&world, &hangs, &[]);
    says(&text, &["did not end within 1 s"]);
    assert!(!text.contains("planted"), "{text}");
    let chatters = command(&world, "echo 'Your planted-token is: x'", "");
    let text = refused(&world, &chatters, &[]);
    says(&text, &["neither one token nor JSON"]);
    assert!(!text.contains("planted"), "{text}");
    let nothing = command(&world, "true", "");
    says(&refused(&world, &nothing, &[]), &["holds no access_token"]);
    std::fs::remove_file(world.path().join("broker")).unwrap();
    says(&refused(&world, &nothing, &[]), &["cannot be started", "operations.md"]);
}

#[test]
fn token_file_is_read_again_when_it_changes() {
    let world = World::new();
    let path = file(&world, "erp.token", &brokered(&world));
    let keys = format!("grant = \"token_file\"\ntoken_file = \"{}\"\n", path.display());
    let config = config(&world, &keys, "");
    let daemon = arrives(&world, &config, &[], &[]);
    // The old token is worth nothing from now on; the broker has laid a new one.
    world.sandbox.revoke_access_tokens();
    file(&world, "erp.token", &brokered(&world));
    send(&daemon, "two");
    assert_eq!(world.messages(2).len(), 2);
    assert_eq!(world.sandbox.statistics().login_failures, 0, "the old token was used");
}

#[test]
fn token_file_mistakes_name_their_remedy() {
    let world = World::new();
    let path = file(&world, "erp.token", "{\"access_token\": \"planted\", \"expires_on\": 1}");
    let keys = format!("grant = \"token_file\"\ntoken_file = \"{}\"\n", path.display());
    let config = config(&world, &keys, "");
    let text = refused(&world, &config, &[]);
    says(&text, &["holds a token that has ended", "look at the program that renews"]);
    assert!(!text.contains("planted"), "{text}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    says(&refused(&world, &config, &[]), &["read or written by others", "chmod 600"]);
    std::fs::remove_file(&path).unwrap();
    says(&refused(&world, &config, &[]), &["does not exist", "token_file"]);
}
