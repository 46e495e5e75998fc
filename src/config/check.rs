//! From what was written to a [`Config`] that is valid by construction.
//!
//! It promises to find every mistake in one walk and to give no configuration while there is one. It
//! touches no file: what it needs from the machine is handed in as [`Surroundings`].

use super::account::{self, YEAR};
use super::admin;
use super::certificate::{Identity, IdentityError};
use super::listener;
use super::local;
use super::notify;
use super::queue::queue;
use super::secrets::Secrecy;
use super::section::{Section, Walk};
use super::tree::{Node, Origin, Table, Value};
use super::user;
use super::value::{Wrong, words};
use super::{Account, Config, Headers, Log, LogFormat, SecretFile, User};
use crate::secret::Secret;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How a file of a secret is read.
pub(super) type ReadSecret<'a> = &'a dyn Fn(&Path) -> Result<Secret, Wrong>;
/// Where a file is that is read at each use, and what is wrong with it now.
pub(super) type FindFile<'a> = &'a dyn Fn(&Path, Secrecy) -> (SecretFile, Option<Wrong>);
/// A variable that the host sets.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Whether a file can be read; else why not.
pub(super) type Readable<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

/// How a file that is no secret is read; else why not.
pub(super) type ReadText<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// Certificate and key as they are written, found and tried.
pub(super) type FindIdentity<'a> = &'a dyn Fn(&Path, &Path) -> Result<Identity, IdentityError>;

/// What the machine says.
#[derive(Clone)]
pub(super) struct Surroundings<'a> {
    /// The directory relative paths start from.
    pub base: PathBuf,
    /// The time of day.
    pub now: SystemTime,
    /// The machine's name.
    pub hostname: String,
    /// Where state lives unless told otherwise.
    pub state_dir: PathBuf,
    /// Where systemd lets us put sockets.
    pub runtime_dir: Option<PathBuf>,
    /// How a file of a secret is read.
    pub read_secret: ReadSecret<'a>,
    /// Where a file is that is read at each use.
    pub find_file: FindFile<'a>,
    /// What the host says of itself.
    pub variable: Variable<'a>,
    /// Whether a file can be read.
    pub readable: Readable<'a>,
    /// The text of a file that is no secret; else why it cannot be had.
    pub read_text: ReadText<'a>,
    /// How certificate and key of a listener are found and tried.
    pub identity: FindIdentity<'a>,
}

words!(LogFormat { "auto" => Auto, "text" => Text, "json" => Json } later {});

const TABLES: [(&str, &str); 8] = [
    ("listener", ""),
    ("user", ""),
    ("account", ""),
    ("queue", ""),
    ("notify", ""),
    ("headers", ""),
    ("admin", ""),
    ("log", ""),
];

/// Walks everything; problems and warnings lie in `walk` afterwards.
pub(super) fn check(table: &Table, around: &Surroundings<'_>, walk: &Walk) -> Config {
    let top = Section::top(walk, table, Origin::File(0..0));
    let state_dir = around.base.join(top.or("state_dir", around.state_dir.clone()));
    let hostname = top.or("hostname", around.hostname.clone());
    check_hostname(&top, &hostname);
    let drain_timeout = top.within("drain_timeout", Duration::from_secs(25), Duration::ZERO..=YEAR);
    let local = Arc::new(local::local(&top, around, &hostname));
    let names = account_names(table);
    let listeners = listener::listeners(&top, around, &names);
    let accounts = accounts(&top, around);
    let users = users(&top, around, &names);
    let largest = listeners.iter().map(|listener| listener.max_message_size).max();
    let queue = queue(top.section("queue", "queue"), largest.unwrap_or(0), &names);
    let notify = notify::notify(top.section("notify", "notify"), around, &names);
    let headers = headers(top.section("headers", "headers"));
    let admin = admin::admin(top.section("admin", "admin"), around, &state_dir);
    let log = log(top.section("log", "log"));
    top.finish(&[&TABLES]);
    Config {
        state_dir,
        hostname,
        drain_timeout,
        local,
        listeners,
        accounts,
        users,
        queue,
        notify,
        headers,
        admin,
        log,
        warnings: Vec::new(),
        settings: Default::default(),
    }
}

fn check_hostname(top: &Section<'_>, hostname: &str) {
    let literal = hostname.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let fits =
        |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || c == ':' && literal.is_some();
    let name = literal.unwrap_or(hostname);
    if !name.chars().all(fits) || name.is_empty() || name.starts_with('.') || name.len() > 255 {
        let what = format!("{hostname:?} is no host name");
        top.wrong("hostname", what, "write a name such as \"relay.contoso.com\"");
    }
}

/// Every name an account has, whether or not the account is sound: one mistake must not beget another.
fn account_names(table: &Table) -> Vec<String> {
    let Some(Value::List(items)) = table.entry("account").map(|entry| &entry.node.value) else {
        return Vec::new();
    };
    let name = |node: &Node| match &node.value {
        Value::Table(item) => match item.entry("name").map(|entry| &entry.node.value) {
            Some(Value::Text(name)) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

fn accounts(top: &Section<'_>, around: &Surroundings<'_>) -> Vec<Arc<Account>> {
    let mut names: HashSet<String> = HashSet::new();
    let mut all = Vec::new();
    let sections = top.sections("account");
    if sections.is_empty() && !top.is_given("account") {
        let remedy = "write [[account]] with name, mailbox, grant, tenant, client_id and \
                      client_secret_file, or set SUBMITD_ACCOUNT__NAME__MAILBOX and so on";
        top.wrong("account", "there is none, so no mail could be sent", remedy);
    }
    for section in sections {
        check_unique(&section, &mut names, str::to_lowercase);
        all.extend(account::account(section, around).map(Arc::new));
    }
    all
}

fn users(top: &Section<'_>, around: &Surroundings<'_>, accounts: &[String]) -> Vec<User> {
    let mut names: HashSet<String> = HashSet::new();
    let mut all = Vec::new();
    for section in top.sections("user") {
        check_unique(&section, &mut names, str::to_owned);
        all.extend(user::user(section, around, accounts));
    }
    all
}

fn check_unique(section: &Section<'_>, names: &mut HashSet<String>, fold: fn(&str) -> String) {
    if let Some(Value::Text(name)) = section.node("name").map(|node| &node.value)
        && !names.insert(fold(name))
    {
        section.wrong("name", format!("{name:?} is there twice"), "give each its own name");
    }
}

fn headers(section: Section<'_>) -> Headers {
    let headers = Headers {
        add_date: section.or("add_date", true),
        add_message_id: section.or("add_message_id", true),
        remove_bcc: section.or("remove_bcc", true),
        remove_return_path: section.or("remove_return_path", true),
    };
    section.finish(&[]);
    headers
}

fn log(section: Section<'_>) -> Log {
    let format = section.or("format", LogFormat::Auto);
    let level = section.or("level", "info".to_owned());
    let is_level = |word: &str| ["error", "warn", "info", "debug", "trace", "off"].contains(&word);
    let is_target = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
    };
    let fits = level.split(',').map(str::trim).all(|part| match part.split_once('=') {
        Some((target, word)) => is_target(target) && is_level(word),
        None => is_level(part),
    });
    if !fits {
        let remedy =
            "write error, warn, info, debug or trace, or parts such as info,submitd::smtp=debug";
        section.wrong("level", format!("{level:?} is no level"), remedy);
    }
    section.finish(&[]);
    Log { format, level }
}

#[cfg(test)]
mod tests {
    use crate::config::{Account, Config, Password, Problems, Proof};

    /// Lines 1 to 7; a case's text begins on line 8.
    const ACCOUNT: &str = r#"[[account]]
name = "erp"
mailbox = "erp@contoso.com"
grant = "client_credentials"
tenant = "contoso.onmicrosoft.com"
client_id = "0f8fad5b-d9cb-469f-a165-70867728950e"
client_secret = "hunter2"
"#;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Config::from_text("submitd.toml", text, &variables)
    }

    fn has_secret(account: &Account, text: &str) -> bool {
        let proof = account.grant.application().map(|application| &application.proof);
        matches!(proof, Some(Proof::Secret(secret)) if secret.matches(text))
    }

    fn problems(text: &str) -> String {
        read(text, &[]).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_mistake_below_a_sound_account_is_told_by_line_and_key() {
        for (text, expected) in [
            (
                "[queue]\nexpires = 5",
                r#"9:1: queue.expires: there is no such key; did you mean "expire"?"#,
            ),
            (
                "[queue]\nexpire = \"5M\"",
                r#"9:10: queue.expire: "5M" is not a duration; write it like "30s", "15m", "4h", "5d", or as a number of seconds"#,
            ),
            (
                "[queue]\nexpire = -5",
                r#"9:10: queue.expire: -5 is out of range; write it like "30s", "15m", "4h", "5d", or as a number of seconds"#,
            ),
            (
                "[queue]\nexpire = 0",
                r#"9:10: queue.expire: "0s" is out of range; write from "1s" to "365d""#,
            ),
            (
                "[queue]\nexpire = true",
                r#"9:10: queue.expire: expected a duration, found true or false; write a duration"#,
            ),
            (
                "[queue]\nmax_size = \"5 MiBs\"",
                r#"9:12: queue.max_size: "5 MiBs" is not a size; write it like "35 MB", "64 KB", "2 GB", or as a number of octets"#,
            ),
            (
                "[queue]\nmax_size = \"9999999999999 TB\"",
                r#"9:12: queue.max_size: 9999999999999 is out of range; write it like "35 MB", "64 KB", "2 GB", or as a number of octets"#,
            ),
            (
                "[queue]\nmax_size = 1.5",
                r#"9:12: queue.max_size: expected a size, found a number with a fraction; write a size"#,
            ),
            (
                "[queue]\nmax_size = \"30 MB\"",
                r#"9:12: queue.max_size: is smaller than max_message_size of a listener; make it larger, or max_message_size of the listener smaller"#,
            ),
            (
                "[queue]\nschedule = []",
                r#"9:12: queue.schedule: holds no pause, or one that is out of range; write pauses from 1 s, such as ["1m", "5m", "1h"]; the last one repeats"#,
            ),
            (
                "[queue]\nschedule = [\"1m\",\n \"soon\"]",
                r#"10:2: queue.schedule: "soon" is not a duration; write it like "30s", "15m", "4h", "5d", or as a number of seconds"#,
            ),
            (
                "[log]\nlevel = \"verbose\"",
                r#"9:9: log.level: "verbose" is no level; write error, warn, info, debug or trace, or parts such as info,submitd::smtp=debug"#,
            ),
            (
                "[log]\nformat = \"JSON\"",
                r#"9:10: log.format: "JSON" is not known here; did you mean "json"?"#,
            ),
            (
                "[headers]\nadd_date = \"yes\"",
                r#"9:12: headers.add_date: expected true or false, found text; write true or false, without quotes"#,
            ),
            (
                "[[user]]\nname = \"a\"\npassword = \"x\"\naccount = \"erp\"\naccounts = [\"erp\", \"hr\"]",
                "12:12: user \"a\": accounts: there is no account \"hr\"; write \"erp\"\n\
                 submitd.toml:12:12: user \"a\": accounts: stands beside account; keep one of the two",
            ),
            (
                "[[user]]\nname = \"a\"\npassword = \"x\"\nsenders = [\"@\"]\nrecipients = []",
                "11:12: user \"a\": senders: \"@\" is no address or domain; write \"user@domain\", \"@domain\" or \"*\"\n\
                 submitd.toml:12:14: user \"a\": recipients: allows nobody; write \"user@domain\", \"@domain\" or \"*\"",
            ),
            (
                "[[listener]]\naddress = \"10.1.2.3:25\"\nallow_insecure = true\n\
                 clients = \"10.0.0.0/8\"\nauth = \"accept_any\"",
                "12:8: listener: auth: \"accept_any\" takes every password, and clients are not of this \
                 machine only; use a loopback address without proxy_protocol, or auth = \"required\"",
            ),
            (
                "[[listener]]\nauth = \"accept_any\"\nproxy_protocol = \"127.0.0.1\"",
                "9:8: listener: auth: \"accept_any\" takes every password, and clients are not of this \
                 machine only; use a loopback address without proxy_protocol, or auth = \"required\"",
            ),
            ("[haeders]", r#"8:2: haeders: there is no such key; did you mean "headers"?"#),
            (
                "[listener]",
                r#"8:1: listener: expected a list of tables; write [[listener]] with double brackets, and its keys below"#,
            ),
            (
                "host = \"x\"",
                r#"8:1: account "erp": host: there is no such key; it belongs into [account.upstream]"#,
            ),
            (
                "hostname = \"x\"",
                r#"8:1: account "erp": hostname: there is no such key; it belongs at the top, before the first [table]"#,
            ),
            (
                "queue = 3",
                r#"8:1: account "erp": queue: there is no such key; it is a table of its own: [queue] or [[queue]]"#,
            ),
            (
                "client-secret = \"hunter3\"",
                r#"8:1: account "erp": client-secret: there is no such key; did you mean "client_secret"?"#,
            ),
            (
                "client_secret_file = \"erp.secret\"",
                r#"8:22: account "erp": client_secret_file: stands beside client_secret; keep one of the two"#,
            ),
            (
                "cloud = \"gcc\"",
                r#"8:9: account "erp": cloud: "gcc" is not available in this version; GCC uses the worldwide endpoints: write "global" or leave it out"#,
            ),
            (
                "cloud = \"gcc_high\"",
                r#"8:9: account "erp": cloud: "gcc_high" is not known here; did you mean "gcc-high"?"#,
            ),
            (
                "transport = \"imap\"",
                r#"8:13: account "erp": transport: "imap" is not known here; write "smtp", "graph" or "auto""#,
            ),
            (
                "upstream = 587",
                r#"8:12: account "erp": upstream: expected a table; write [account.upstream] and its keys below"#,
            ),
            (
                "[account.upstream]\nconnections = 0",
                r#"9:15: account "erp": upstream.connections: 0 would stop all mail; write a number from 1, or "unlimited""#,
            ),
            (
                "[account.upstream]\nmessages_per_minute = \"many\"",
                r#"9:23: account "erp": upstream.messages_per_minute: "many" is not a number; write a number from 1, or "unlimited""#,
            ),
            (
                "[account.upstream]\nport = 0",
                r#"9:8: account "erp": upstream.port: 0 is not a port; write a number from 1 to 65535"#,
            ),
            (
                "[account.upstream]\nport = 65536",
                r#"9:8: account "erp": upstream.port: 65536 is not a port; write a number from 1 to 65535"#,
            ),
            (
                "[account.upstream]\nhost = \"smtp.office365.com:587\"",
                r#"9:8: account "erp": upstream.host: "smtp.office365.com:587" is no host name; write the bare name; the port has a key of its own"#,
            ),
            (
                "[account.upstream]\ntls = \"none\"",
                r#"9:7: account "erp": upstream.tls: a token goes over this connection; write "starttls" or "implicit""#,
            ),
            (
                "[account.upstream]\nca_file = \"/nowhere/ca.pem\"",
                r#"9:11: account "erp": upstream.ca_file: /nowhere/ca.pem cannot be read (entity not found); name a PEM file with certificates that we may read"#,
            ),
            (
                "[account.oauth]\ntoken_url = \"http://idp.example/token\"",
                r#"9:13: account "erp": oauth.token_url: plain http would show secrets to the network; write https://; http is for this machine only"#,
            ),
            (
                "[account.oauth]\ntoken_url = \"ftp://idp.example/token\"",
                r#"9:13: account "erp": oauth.token_url: "ftp" is not a scheme for it; write https://"#,
            ),
            (
                "[account.oauth]\ntoken_url = \"idp.example\"",
                r#"9:13: account "erp": oauth.token_url: not a URL (relative URL without a base); write https://host/path"#,
            ),
            (
                "[account.oauth]\ntoken_url = \"https://u:hunter4@idp.example/\"",
                r#"9:13: account "erp": oauth.token_url: holds a user name or password; write it without"#,
            ),
            (
                "[[listener]]\nmode = \"relay\"",
                r#"9:8: listener: mode: "relay" is not known here; write "queue" or "direct""#,
            ),
            (
                "[[listener]]\ntls = \"ssl\"",
                r#"9:7: listener: tls: "ssl" is not known here; write "none", "starttls" or "implicit""#,
            ),
            (
                "[[listener]]\ntls = \"starttls\"\nkey = \"relay.key\"",
                r#"8:1: listener: certificate: is missing, and TLS needs it; write certificate = "…", the name of a PEM file with the certificate and its chain"#,
            ),
            (
                "[[listener]]\ntls = \"implicit\"\ncertificate = \"/nowhere/relay.pem\"\nkey = \"relay.key\"",
                r#"10:15: listener: certificate: /nowhere/relay.pem cannot be read (entity not found); name a PEM file that the user submitd runs as may read"#,
            ),
            (
                "[[listener]]\ntls_min_version = \"1.1\"",
                r#"9:19: listener: tls_min_version: "1.1" is not available in this version; it is broken (RFC 8996); write "1.2""#,
            ),
            (
                "[[listener]]\nunix_mode = 660",
                r#"9:13: listener: unix_mode: is not a file mode; write it in octal and in quotes, such as "0660""#,
            ),
            (
                "[[listener]]\nunix_mode = \"rw\"",
                r#"9:13: listener: unix_mode: "rw" is not a file mode; write it in octal and in quotes, such as "0660""#,
            ),
            (
                "[[listener]]\naddress = \"unix:smtp.sock\"",
                r#"9:11: listener: address: "smtp.sock" is not the absolute path of a socket; write it like "unix:/run/submitd/smtp.sock""#,
            ),
            (
                "[[listener]]\naddress = [\"unix:/run/a\", \"unix:/run/a\"]",
                r#"9:11: listener: address: unix:/run/a is there twice; give each its own"#,
            ),
            (
                "[[listener]]\nmax_connections_per_client = 0",
                r#"9:30: listener: max_connections_per_client: 0 is out of range; write from 1 to 100000"#,
            ),
            (
                "[[listener]]\nauth = \"required\"",
                r#"9:8: listener: auth: nobody could log in: there is no [[user]]; write [[user]] with name and password_hash, or auth = "optional""#,
            ),
            (
                "[[listener]]\nmax_recipients = 0",
                r#"9:18: listener: max_recipients: 0 is out of range; write from 1 to 10000"#,
            ),
            (
                "[[listener]]\nmax_connections = -1",
                r#"9:19: listener: max_connections: -1 is out of range; write a number from 1"#,
            ),
            (
                "[[listener]]\nmax_message_size = 0",
                r#"9:20: listener: max_message_size: 0 is out of range; write from "64 KB" to "1 GB""#,
            ),
            (
                "[[listener]]\naccount = \"epr\"",
                r#"9:11: listener: account: there is no account "epr"; did you mean "erp"?"#,
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1\"",
                r#"9:11: listener: address: "127.0.0.1" is not an address with a port; write "127.0.0.1:2525""#,
            ),
            (
                "[[listener]]\naddress = \":25\"",
                r#"9:11: listener: address: ":25" is not an address with a port; write "0.0.0.0:25" or "[::]:25" for all interfaces"#,
            ),
            (
                "[[listener]]\naddress = [\"127.0.0.1:25\", \"mail.example:25\"]",
                r#"9:28: listener: address: "mail.example:25" is not an address with a port; write an IP address or localhost before ":25""#,
            ),
            (
                "[[listener]]\naddress = [\"127.0.0.1:25\", \"localhost:25\"]",
                r#"9:11: listener: address: 127.0.0.1:25 is there twice; give each its own"#,
            ),
            (
                "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"",
                r#"11:11: listener: address: 127.0.0.1:0 is there twice; give each its own"#,
            ),
            (
                "[[listener]]\nclients = []",
                r#"9:11: listener: clients: nobody could connect; write "127.0.0.0/8", "::1""#,
            ),
            (
                "[[listener]]\nclients = [\"10.0.0.0/8\",\n  \"10.0.0.0/33\"]",
                r#"10:3: listener: clients: "10.0.0.0/33" is not a network; write a prefix from 0 to 32"#,
            ),
            (
                "[[listener]]\nclients = \"10.0.0.1/8\"",
                r#"9:11: listener: clients: "10.0.0.1/8" has bits behind its prefix; write "10.0.0.0/8" or "10.0.0.1""#,
            ),
            (
                "[[listener]]\nproxy_protocol = true",
                r#"9:18: listener: proxy_protocol: expected a list of networks, found true or false; write a list of networks"#,
            ),
            (
                "[account.upstream]\nport = 58x7",
                "9:8: syntax: string values must be quoted, expected literal string; see https://toml.io for how TOML is written",
            ),
            (
                "[[user]]\nname = \"scanner\"",
                r#"8:1: user "scanner": password: is missing; write password_hash, password_file or password"#,
            ),
            (
                "[[user]]\nname = \"a\"\npassword = \"\"",
                r#"10:12: user "a": password: is empty; write a value or leave the key out"#,
            ),
            (
                "[[user]]\nname = \"a\"\npassword_hash = \"$2y$10$abc\"",
                r#"10:17: user "a": password_hash: is not an argon2 hash; make one with `submitd user hash`; it begins with $argon2id$"#,
            ),
            (
                "[[user]]\nname = \"a\"\npassword = \"hunter5\"\naccount = \"crm\"",
                r#"11:11: user "a": account: there is no account "crm"; write "erp""#,
            ),
            (
                "[[user]]\nname = \"a\"\npassword = \"b\"\n[[user]]\nname = \"a\"\npassword = \"c\"",
                r#"12:8: user "a": name: "a" is there twice; give each its own name"#,
            ),
            (
                "[queue\n",
                "8:7: syntax: unclosed table, expected `]`; see https://toml.io for how TOML is written",
            ),
            (
                "name = \"crm\"",
                "8:1: syntax: duplicate key; see https://toml.io for how TOML is written",
            ),
            (
                "# Größe\nßx = 1",
                "9:1: syntax: invalid unquoted key, expected letters, numbers, `-`, `_`; see https://toml.io for how TOML is written",
            ),
        ] {
            assert_eq!(problems(&format!("{ACCOUNT}{text}")), format!("submitd.toml:{expected}"));
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_mistake_of_an_account_is_told_by_line_and_key() {
        for (from, to, expected) in [
            (
                "name = \"erp\"\n",
                "",
                r#"1:1: account: name: is missing; write name = "…", any word you like"#,
            ),
            (
                "\"erp\"",
                "\"../erp\"",
                r#"2:8: account "../erp": name: "../erp" is no name for an account; use letters, digits, "-", "_" and ".", beginning with a letter or digit"#,
            ),
            (
                "mailbox = \"erp@contoso.com\"\n",
                "",
                r#"1:1: account "erp": mailbox: is missing; write the address of the mailbox that sends: mailbox = "erp@contoso.com""#,
            ),
            (
                "erp@contoso.com",
                "erp",
                r#"3:11: account "erp": mailbox: "erp" has no domain; write user@domain"#,
            ),
            (
                "erp@contoso.com",
                "erp contoso.com",
                r#"3:11: account "erp": mailbox: "erp contoso.com": character not allowed in an address; write user@domain"#,
            ),
            (
                "client_credentials",
                "client-credential",
                r#"4:9: account "erp": grant: "client-credential" is not known here; did you mean "client_credentials"?"#,
            ),
            (
                "client_credentials",
                "refresh_token",
                r#"1:1: account "erp": refresh_token: is missing; write refresh_token_file = "…", the name of a file that holds it"#,
            ),
            (
                "contoso.onmicrosoft.com",
                "common",
                r#"5:10: account "erp": tenant: "common" names no directory, and an app-only token needs one; write the directory (tenant) id or a verified domain, such as "contoso.onmicrosoft.com""#,
            ),
            (
                "contoso.onmicrosoft.com",
                "contoso/x",
                r#"5:10: account "erp": tenant: "contoso/x" is no tenant; write the directory (tenant) id or a verified domain, such as "contoso.onmicrosoft.com""#,
            ),
            (
                "tenant = \"contoso.onmicrosoft.com\"\n",
                "",
                r#"1:1: account "erp": tenant: is missing; write the directory (tenant) id or a verified domain, such as "contoso.onmicrosoft.com""#,
            ),
            (
                "\"hunter2\"",
                "1234",
                r#"7:17: account "erp": client_secret: expected text, found a number; write it in quotes"#,
            ),
            (
                "\"hunter2\"",
                "\"\"",
                r#"7:17: account "erp": client_secret: is empty; write a value or leave the key out"#,
            ),
            (
                "client_secret = \"hunter2\"\n",
                "",
                r#"1:1: account "erp": client_secret: is missing; write client_secret_file = "…", the name of a file that holds it"#,
            ),
            (
                "client_secret = \"hunter2\"",
                "client_secret_file = \"/nowhere/erp.secret\"",
                r#"7:22: account "erp": client_secret_file: names a file in a directory that does not exist; write the secret into that file, with mode 600"#,
            ),
        ] {
            assert!(ACCOUNT.contains(from), "{from}");
            assert_eq!(
                problems(&ACCOUNT.replacen(from, to, 1)),
                format!("submitd.toml:{expected}")
            );
        }
        let twice = problems(&format!("{ACCOUNT}{}", ACCOUNT.replace("\"erp\"", "\"ERP\"")));
        assert_eq!(
            twice,
            r#"submitd.toml:9:8: account "ERP": name: "ERP" is there twice; give each its own name"#
        );
        assert!(
            problems("").starts_with(
                "submitd.toml:1:1: account: there is none, so no mail could be sent; "
            )
        );
    }

    #[test]
    fn a_secret_readable_by_others_is_refused_with_the_command_that_mends_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("directory");
        let secret = directory.path().join("erp.secret");
        std::fs::write(&secret, "hunter2\n").expect("write");
        let file = directory.path().join("submitd.toml");
        let text =
            ACCOUNT.replace("client_secret = \"hunter2\"", "client_secret_file = \"erp.secret\"");
        std::fs::write(&file, text).expect("write");
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).expect("chmod");
        let load = || Config::load(Some(&file), std::iter::empty());
        let (file, shown) = (file.display(), secret.display());
        assert_eq!(
            load().err().map(|problems| problems.to_string()).unwrap_or_default(),
            format!(
                "{file}:7:22: account \"erp\": client_secret_file: {shown} can be read or written \
                 by others (mode 644); chmod 600 {shown}"
            )
        );
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("chmod");
        let config = load().expect("mended");
        assert!(has_secret(&config.accounts[0], "hunter2"));
    }

    #[test]
    fn ten_mistakes_give_ten_problems_in_the_order_of_the_file() {
        let text = r#"
drain_timeout = "soon"
colour = "red"
[[account]]
name = "erp"
mailbox = "nobody"
grant = "device"
tenant = "contoso.onmicrosoft.com"
client_id = 7
client_secret = ""
[account.upstream]
port = 0
connections = 0
[[listener]]
address = "nowhere"
account = "crm"
"#;
        let all = problems(text);
        let lines: Vec<&str> = all.lines().filter_map(|line| line.split(':').nth(1)).collect();
        assert_eq!(lines, ["2", "3", "6", "7", "9", "10", "12", "13", "15", "16"], "{all}");
    }

    #[test]
    fn a22_an_address_that_is_not_loopback_needs_two_words_and_warns() {
        let with = |keys: &str| read(&format!("{ACCOUNT}[[listener]]\n{keys}"), &[]);
        for address in ["0.0.0.0:25", "[::]:25", "192.168.1.7:25", "[::ffff:10.0.0.1]:25"] {
            let address = format!("address = [\"127.0.0.1:25\", \"{address}\"]\n");
            let refused =
                |keys: &str| with(&format!("{address}{keys}")).err().map(|all| all.0.len());
            assert_eq!(refused(""), Some(2));
            assert_eq!(refused("clients = \"10.0.0.0/8\""), Some(1));
            assert_eq!(refused("allow_insecure = true"), Some(1));
            let both = with(&format!("{address}allow_insecure = true\nclients = \"10.0.0.0/8\""));
            let config = both.expect("both words");
            assert_eq!(
                config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
                [
                    "submitd.toml:10:18: listener: allow_insecure: mail and passwords of clients cross \
                  the network unencrypted; use a loopback address where you can"
                ]
            );
            assert_eq!(config.listeners[0].bare_newline, crate::config::BareNewline::Reject);
        }
        let open =
            "address = \"[::]:25\"\nallow_insecure = true\nclients = [\"0.0.0.0/0\", \"::/0\"]";
        assert_eq!(with(open).expect("allowed").warnings.len(), 2);
    }

    #[test]
    fn a22_tls_and_a_login_open_an_address_to_the_network() {
        let directory = tempfile::tempdir().expect("directory");
        let key = rcgen::KeyPair::generate().expect("key");
        let params = rcgen::CertificateParams::new(vec!["relay.test".to_owned()]).expect("names");
        let files = ["relay.pem", "relay.key"].map(|name| directory.path().join(name));
        std::fs::write(&files[0], params.self_signed(&key).expect("pair").pem()).expect("write");
        std::fs::write(&files[1], key.serialize_pem()).expect("write");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&files[1], private).expect("chmod");
        let tls = format!(
            "address = \"0.0.0.0:25\"\ntls = \"starttls\"\ncertificate = {:?}\nkey = {:?}\n",
            files[0], files[1]
        );
        let user = "[[user]]\nname = \"scanner\"\npassword = \"hunter2\"\n";
        let with = |keys: &str| read(&format!("{ACCOUNT}[[listener]]\n{tls}{keys}\n{user}"), &[]);
        let clients = "clients = \"10.0.0.0/8\"\n";
        let safe = with(&format!("{clients}auth = \"required\"")).expect("safe");
        assert_eq!(safe.warnings, []);
        assert!(safe.listeners[0].tls.is_some());
        let refused = |keys: &str| with(keys).err().map(|all| all.to_string()).unwrap_or_default();
        assert!(refused(clients).contains("address: is not loopback and needs no login; write"));
        assert!(refused("auth = \"required\"").contains("clients: is missing"));
        let open = with(&format!("{clients}allow_insecure = true")).expect("allowed");
        assert_eq!(open.warnings.len(), 1);
        let unix = "[[listener]]\naddress = \"unix:/run/submitd/smtp.sock\"\nunix_mode = \"0622\"";
        let unix = read(&format!("{ACCOUNT}{unix}"), &[]).expect("a Unix socket is local");
        assert_eq!((unix.warnings.len(), unix.listeners[0].unix_mode), (0, 0o622));
    }

    #[test]
    fn what_is_valid_and_doubtful_is_a_warning() {
        for (text, key) in [
            (ACCOUNT.replace("hunter2", "5f0d4c1e-1111-2222-3333-444455556666"), "client_secret"),
            (ACCOUNT.replace("0f8fad5b-d9cb", "x"), "client_id"),
            (format!("{ACCOUNT}refresh_token = \"x\""), "refresh_token"),
            (format!("{ACCOUNT}[account.upstream]\nport = 465"), "upstream.tls"),
            (format!("{ACCOUNT}[[listener]]\naddress = \"127.0.0.1:0\""), "address"),
        ] {
            let warnings = read(&text, &[]).expect("valid").warnings;
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].key.ends_with(&format!(" {key}")), "{warnings:?}");
        }
    }

    #[test]
    fn an_account_comes_wholly_from_the_environment() {
        let variables = [
            ("SUBMITD_ACCOUNT__ERP__MAILBOX", "erp@contoso.com"),
            ("SUBMITD_ACCOUNT__ERP__GRANT", "client_credentials"),
            ("SUBMITD_ACCOUNT__ERP__TENANT", "contoso.onmicrosoft.com"),
            ("SUBMITD_ACCOUNT__ERP__CLIENT_ID", "0f8fad5b-d9cb-469f-a165-70867728950e"),
            ("SUBMITD_ACCOUNT__ERP__CLIENT_SECRET", "007"),
            ("SUBMITD_ACCOUNT__ERP__UPSTREAM__HOST", "127.0.0.1"),
            ("SUBMITD_ACCOUNT__ERP__UPSTREAM__CONNECTIONS", "unlimited"),
            ("SUBMITD_LISTENER__0__ADDRESS", "127.0.0.1:25,[::1]:25"),
            ("SUBMITD_LISTENER__0__MAX_RECIPIENTS", "7"),
            ("SUBMITD_HEADERS__ADD_DATE", "false"),
            ("SUBMITD_QUEUE__SCHEDULE", "5s, 10s"),
            ("SUBMITD_USER__SCANNER__PASSWORD", "hunter3"),
            ("SUBMITD_CONFIG", "elsewhere.toml"),
            ("SUBMITD_LOG", "trace"),
            ("SUBMITD_PORT", "tcp://10.0.0.1:2525"),
            ("SUBMITD_PORT_2525_TCP_ADDR", "10.0.0.1"),
            ("SUBMITD_SERVICE_PORT_SMTP", "2525"),
            ("PATH", "/bin"),
        ];
        let config = read("", &variables).unwrap_or_else(|problems| panic!("{problems}"));
        let account = &config.accounts[0];
        assert_eq!((account.name.as_str(), account.upstream.host.as_str()), ("erp", "127.0.0.1"));
        assert_eq!(account.upstream.connections, crate::config::Limit::Unlimited);
        assert!(has_secret(account, "007"));
        assert_eq!((config.listeners.len(), config.listeners[0].addresses.len()), (1, 2));
        assert_eq!(config.listeners[0].max_recipients, 7);
        assert!(!config.headers.add_date);
        assert_eq!(config.queue.schedule.len(), 2);
        assert_eq!(config.log.level, "info");
        assert!(
            matches!(&config.users[0].password, Password::Clear(text) if text.matches("hunter3"))
        );
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = ACCOUNT
            .replace("\"erp\"", "\"ERP-1\"")
            .replace("client_secret =", "client_secret_file =");
        let file = format!("hostname = \"file\"\n{file}[account.upstream]\nport = 25\n");
        let variables = [
            ("SUBMITD_HOSTNAME", "variable"),
            ("SUBMITD_ACCOUNT__ERP_1__CLIENT_SECRET", "from the variable"),
            ("SUBMITD_ACCOUNT__ERP_1__UPSTREAM__TLS", "implicit"),
            ("SUBMITD_ACCOUNT__ERP_1__UPSTREAM__PORT", "465"),
        ];
        let config = read(&file, &variables).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!((config.hostname.as_str(), config.accounts.len()), ("variable", 1));
        assert_eq!(config.accounts[0].upstream.port, 465);
        assert!(has_secret(&config.accounts[0], "from the variable"));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn mistakes_in_variables_name_the_variable() {
        for (name, value, expected) in [
            (
                "SUBMITD_QUEUE__EXPIRES",
                "5d",
                "queue.expires: there is no such key; did you mean SUBMITD_QUEUE__EXPIRE?",
            ),
            (
                "SUBMITD_STATE_DIRS",
                "x",
                "state_dirs: there is no such key; did you mean SUBMITD_STATE_DIR?",
            ),
            (
                "SUBMITD_QUEUE__EXPIRE",
                "soon",
                r#"queue.expire: "soon" is not a duration; write it like "30s", "15m", "4h", "5d", or as a number of seconds"#,
            ),
            ("SUBMITD_QUEUE", "soon", "queue: expected a table; write [queue] and its keys below"),
            (
                "SUBMITD_QUEUE____EXPIRE",
                "5d",
                "environment: names no key; part levels by exactly two underscores: SUBMITD_QUEUE__EXPIRE",
            ),
            (
                "SUBMITD_LISTENER__1__MODE",
                "queue",
                r#"environment: "1" is no listener; number listeners from 0 without gaps; 0 comes next"#,
            ),
            (
                "SUBMITD_ACCOUNT__ERP__UPSTREAM__PORT",
                "smtp",
                r#"account "erp": upstream.port: "smtp" is not a number; write a number"#,
            ),
            (
                "SUBMITD_ACCOUNT__ERP__CLIENT_SECRET",
                "",
                r#"account "erp": client_secret: is empty; write a value or leave the key out"#,
            ),
            (
                "SUBMITD_ACCOUNT__ERP__CLIENT_SECRET",
                "hunter\u{fffd}",
                r#"account "erp": client_secret: is not UTF-8 text; write the variable in UTF-8"#,
            ),
        ] {
            let found = read(ACCOUNT, &[(name, value)]).err().map(|problems| problems.to_string());
            assert_eq!(found.unwrap_or_default(), format!("{name}: {expected}"));
        }
        let missing = read(ACCOUNT, &[("SUBMITD_ACCOUNT__CRM__TENANT", "x.example")]).err();
        let missing = missing.map(|problems| problems.to_string()).unwrap_or_default();
        assert!(
            missing.contains(
                "\nSUBMITD_ACCOUNT__CRM__MAILBOX: account \"crm\": mailbox: is missing; "
            ),
            "{missing}"
        );
    }

    #[test]
    fn presets_and_clouds_fill_what_is_not_written() {
        for (keys, host, token_host, scope) in [
            (
                "",
                "smtp.office365.com",
                "login.microsoftonline.com",
                "https://outlook.office365.com/.default",
            ),
            (
                "cloud = \"gcc-high\"",
                "smtp.office365.us",
                "login.microsoftonline.us",
                "https://outlook.office365.us/.default",
            ),
            (
                "cloud = \"china\"",
                "smtp.partner.outlook.cn",
                "login.partner.microsoftonline.cn",
                "https://partner.outlook.cn/.default",
            ),
        ] {
            let config = read(&format!("{ACCOUNT}{keys}"), &[]).expect("valid");
            let account = &config.accounts[0];
            assert_eq!(account.upstream.host, host);
            assert_eq!(
                account.oauth.token_url.as_str(),
                format!("https://{token_host}/contoso.onmicrosoft.com/oauth2/v2.0/token")
            );
            assert_eq!(account.oauth.scope, scope);
        }
        let delegated = ACCOUNT
            .replace("client_credentials", "refresh_token")
            .replace("contoso.onmicrosoft.com", "common");
        let config = read(&format!("{delegated}refresh_token = \"x\""), &[]).expect("valid");
        assert_eq!(
            config.accounts[0].oauth.scope,
            "https://outlook.office.com/SMTP.Send offline_access"
        );
        let generic = format!("{}preset = \"generic\"\n", ACCOUNT.replace("tenant", "# tenant"));
        let missing = read(&generic, &[]).err().map(|problems| problems.0.len());
        assert_eq!(missing, Some(3), "host, token_url, scope");
        let whole = format!(
            "{generic}[account.upstream]\nhost = \"h\"\n[account.oauth]\ntoken_url = \"http://localhost:1/t\"\nscope = \"s\""
        );
        assert_eq!(problems(&whole), "");
    }

    /// Plants secrets at every place a file can hold one, sound and broken, and searches all that is shown.
    #[test]
    fn no_secret_is_ever_shown() {
        let sound = format!(
            "{ACCOUNT}refresh_token = \"hunter3\"\n[[user]]\nname = \"a\"\npassword = \"hunter4\"\n"
        );
        let config = read(&sound, &[]).expect("valid");
        let shown =
            format!("{config:?}{:?}{}{}", config.warnings, config.show(false), config.show(true));
        assert!(shown.contains("(secret)") && !shown.contains("hunter"), "{shown}");
        for broken in [
            "client_secrt = \"hunter3\" # hunter4",
            "client_secret = \"hunter3\"",
            "refresh_token = \"hunter3",
            "refresh_token = \"\"\"\nhunter3",
            "refresh_token = \"hunter\\q3\"",
            "refresh_token = hunter3",
            "refresh_token = [\"hunter3\"]",
            "refresh_token = \"\"\"hunter3\nhunter4\"\"\"",
            "client_secret_file = \"hunter3\"",
            "user = [{ name = \"a\", password = \"hunter3\", accuont = \"erp\", account = \"crm\" }]",
            "[[user]]\nname = \"a\"\npassword_hash = \"hunter3\"",
            "[[user]]\npassword = \"hunter3\" name = 3",
            "[queue]\nreserve = \"1 MB\" # hunter4\nsecret hunter4",
            "[queue]\nreserve = \"1 B\" # hunter4",
            "pass = hunter4",
            "refresh_token = '''\nport = \\ hunter3",
        ] {
            let problems = read(&format!("{ACCOUNT}{broken}"), &[]).expect_err(broken);
            let shown = format!("{problems}{problems:?}{}", problems.render(false));
            assert!(!shown.contains("hunter"), "{broken}\n{shown}");
        }
    }

    /// One character lost or doubled, anywhere: whatever the parser makes of it, no secret is shown.
    #[test]
    fn no_slip_of_the_finger_shows_a_secret() {
        let sound = format!(
            "{ACCOUNT}refresh_token = 'hunter3'\nupstream = {{ port = 587 }}\n[[user]]\nname = \"a\"\n\
             password = \"\"\"hunter4\"\"\"\n[queue]\nexpire = \"5d\"\n"
        );
        for (index, c) in sound.char_indices() {
            let (before, after) = sound.split_at(index);
            let lost = format!("{before}{}", &after[c.len_utf8()..]);
            for text in
                [lost, format!("{before}{c}{after}"), format!("{before}\"{after}"), before.into()]
            {
                let shown = match read(&text, &[]) {
                    Ok(config) => format!("{:?}{}", config.warnings, config.show(true)),
                    Err(problems) => problems.render(false),
                };
                assert!(!shown.contains("hunt"), "{text}\n\n{shown}");
            }
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        let text = format!(
            "{ACCOUNT}[account.upstream]\nidle_timeout = 0\n[[listener]]\naddress = \"localhost:25\"\n\
             max_message_size = 100000\n[[listener]]\n[log]\nlevel = \"debug\"\n"
        );
        let variables = [("STATE_DIRECTORY", "/state")];
        let config = read(&text, &variables).expect("valid");
        for all in [false, true] {
            let shown = config.show(all);
            let again =
                read(&shown, &variables).unwrap_or_else(|problems| panic!("{shown}{problems}"));
            assert_eq!(again.show(true), config.show(true));
        }
        assert!(!config.show(false).contains("drain_timeout"));
        assert!(config.show(true).contains("drain_timeout = \"25s\""));
    }

    #[test]
    fn the_place_is_marked_with_a_caret() {
        let problems =
            read(&format!("{ACCOUNT}[queue]\nexpire = \"soon\" # x"), &[]).expect_err("refused");
        let shown = problems.render(false);
        assert!(shown.ends_with("  |\n9 | expire = \"soon\"\n  |          ^^^^^^"), "{shown}");
        assert!(problems.render(true).contains('\u{1b}'));
    }

    /// Nothing that is cut short may panic, here or while its problems are shown.
    #[test]
    fn a_file_cut_anywhere_never_panics() {
        let whole = include_str!("../../config/submitd.full.toml").replace("…", "ä");
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)).step_by(3) {
            let result = read(&whole[..end], &[]);
            assert!(result.is_err(), "no secret file is there");
            let _ = result.map_err(|problems| problems.render(false));
        }
    }
}
