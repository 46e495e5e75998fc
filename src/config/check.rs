//! From what was written to a [`Config`] that is valid by construction.
//!
//! It promises to find every mistake in one walk and to give no configuration while there is one. It
//! touches no file: what it needs from the machine is handed in as [`Surroundings`].

use super::account::{self, YEAR};
use super::section::{Section, Walk};
use super::tree::{Node, Origin, Table, Value};
use super::value::{Size, Wrong, words};
use super::{
    Account, Auth, BareNewline, Config, Headers, Listener, Log, LogFormat, Network, Queue,
    Received, User,
};
use crate::secret::Secret;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How a file of a secret is read.
pub(super) type ReadSecret<'a> = &'a dyn Fn(&Path) -> Result<Secret, Wrong>;
/// Whether a file can be read; else why not.
pub(super) type Readable<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

/// What the machine says.
pub(super) struct Surroundings<'a> {
    /// The directory relative paths start from.
    pub base: PathBuf,
    /// The machine's name.
    pub hostname: String,
    /// Where state lives unless told otherwise.
    pub state_dir: PathBuf,
    /// How a file of a secret is read.
    pub read_secret: ReadSecret<'a>,
    /// Whether a file can be read.
    pub readable: Readable<'a>,
}

words!(Auth { "none" => None, "optional" => Optional, "required" => Required } later {
    "accept_any" => "use \"optional\" or \"none\"",
});
words!(BareNewline { "normalise" => Normalise, "reject" => Reject } later {
    "normalize" => "it is spelt \"normalise\"",
});
words!(Received { "full" => Full, "minimal" => Minimal, "none" => None } later {});
words!(LogFormat { "auto" => Auto, "text" => Text, "json" => Json } later {});

/// `mode`.
#[derive(Clone, Copy)]
enum Mode {
    Queue,
}
words!(Mode { "queue" => Queue } later { "direct" => "use mode = \"queue\"" });

/// `tls` of a listener.
#[derive(Clone, Copy)]
enum ListenerTls {
    None,
}
words!(ListenerTls { "none" => None } later {
    "starttls" => "use tls = \"none\" on a loopback address",
    "implicit" => "use tls = \"none\" on a loopback address",
});

const TOP_LATER: [(&str, &str); 4] = [
    ("default_domain", "leave it out"),
    ("aliases", "leave it out"),
    ("notify", "leave it out and watch the log"),
    ("admin", "leave it out"),
];
const TABLES: [(&str, &str); 6] =
    [("listener", ""), ("user", ""), ("account", ""), ("queue", ""), ("headers", ""), ("log", "")];
const LISTENER_LATER: [(&str, &str); 3] = [
    ("certificate", "leave it out: TLS for clients is not there yet"),
    ("key", "leave it out: TLS for clients is not there yet"),
    ("proxy_protocol", "leave it out"),
];

/// Walks everything; problems and warnings lie in `walk` afterwards.
pub(super) fn check(table: &Table, around: &Surroundings<'_>, walk: &Walk) -> Config {
    let top = Section::top(walk, table, Origin::File(0..0));
    let state_dir = around.base.join(top.or("state_dir", around.state_dir.clone()));
    let hostname = top.or("hostname", around.hostname.clone());
    check_hostname(&top, &hostname);
    let drain_timeout = top.within("drain_timeout", Duration::from_secs(25), Duration::ZERO..=YEAR);
    let names = account_names(table);
    let listeners = listeners(&top, &names);
    let accounts = accounts(&top, around);
    let users = users(&top, around, &names);
    let largest = listeners.iter().map(|listener| listener.max_message_size).max();
    let queue = queue(top.section("queue", "queue"), largest.unwrap_or(0));
    let headers = headers(top.section("headers", "headers"));
    let log = log(top.section("log", "log"));
    top.later(&TOP_LATER);
    top.finish(&[&TOP_LATER, &TABLES]);
    Config {
        state_dir,
        hostname,
        drain_timeout,
        listeners,
        accounts,
        users,
        queue,
        headers,
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

fn listeners(top: &Section<'_>, names: &[String]) -> Vec<Listener> {
    let mut sections = top.sections("listener");
    if !top.is_given("listener") {
        sections.push(top.implied("listener"));
    }
    let mut bound: HashSet<SocketAddr> = HashSet::new();
    let mut all = Vec::new();
    for section in sections {
        let listener = listener(&section, names);
        for address in listener.addresses.iter().filter(|address| address.port() != 0) {
            if !bound.insert(*address) {
                section.wrong("address", format!("{address} is there twice"), "give each its own");
            }
        }
        if listener.auth == Auth::Required && !top.is_given("user") {
            let remedy = "write [[user]] with name and password_hash, or auth = \"optional\"";
            section.wrong("auth", "nobody could log in: there is no [[user]]", remedy);
        }
        section.later(&LISTENER_LATER);
        section.finish(&[&LISTENER_LATER]);
        all.push(listener);
    }
    if all.is_empty() {
        top.wrong("listener", "there is none", "write [[listener]], or leave the key out");
    }
    all
}

fn listener(section: &Section<'_>, names: &[String]) -> Listener {
    let localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let addresses =
        section.or("address", localhost.map(|address| SocketAddr::new(address, 2525)).to_vec());
    let is_local = addresses.iter().all(|address| address.ip().to_canonical().is_loopback());
    section.or("mode", Mode::Queue);
    section.or("tls", ListenerTls::None);
    let auth = section.or("auth", Auth::Optional);
    let clients = section.or("clients", loopback_networks());
    let account = account::reference(section, names);
    let size = section.within("max_message_size", Size(35 << 20), Size(64 << 10)..=Size(1 << 30));
    let second = Duration::from_secs(1);
    let newline = if is_local { BareNewline::Normalise } else { BareNewline::Reject };
    let listener = Listener {
        addresses,
        clients,
        auth,
        account,
        max_message_size: size.0,
        max_recipients: section.within("max_recipients", 500, 1..=10_000),
        max_connections: section.within("max_connections", 1_000, 1..=100_000),
        max_errors: section.within("max_errors", 20, 1..=10_000),
        command_timeout: section.within("command_timeout", second * 300, second..=YEAR),
        session_timeout: section.within("session_timeout", second * 3_600, second..=YEAR),
        bare_newline: section.or("bare_newline", newline),
        received: section.or("received", Received::Full),
    };
    let is_allowed = section.or("allow_insecure", false);
    check_reach(section, &listener, is_local, is_allowed);
    listener
}

fn loopback_networks() -> Vec<Network> {
    vec![
        Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
        Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    ]
}

/// Passwords and mail would cross a network in the clear, and an address without a list of clients
/// would be an open relay.
fn check_reach(section: &Section<'_>, listener: &Listener, is_local: bool, is_allowed: bool) {
    if listener.addresses.iter().any(|address| address.port() == 0) {
        let remedy =
            "write a port that programs can be told; the log names the one that was chosen";
        section.doubt("address", "port 0 lets the system choose a free port", remedy);
    }
    if is_local {
        return;
    }
    if !is_allowed {
        section.wrong(
            "address",
            "is not loopback, and clients cannot use TLS yet",
            "write \"localhost:2525\", or allow_insecure = true where nobody else can listen",
        );
    } else {
        let what = "mail and passwords of clients cross the network unencrypted";
        section.doubt("allow_insecure", what, "use a loopback address where you can");
    }
    if !section.is_given("clients") {
        let remedy = "write the networks that may connect: clients = [\"10.1.2.0/24\"]";
        section.wrong("clients", "is missing, and this address is not loopback", remedy);
    } else if listener.auth != Auth::Required
        && listener.clients.iter().any(|network| network.prefix == 0)
    {
        let what = "lets everybody who reaches the address send without a login";
        section.doubt("clients", what, "name the networks, or write auth = \"required\"");
    }
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
        all.extend(account::user(section, around, accounts));
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

fn queue(section: Section<'_>, largest: u64) -> Queue {
    let (second, hour, day) =
        (Duration::from_secs(1), Duration::from_secs(3_600), Duration::from_secs(86_400));
    let size = section.within("max_size", Size(2 << 30), Size(1 << 20)..=Size(1 << 50));
    if size.0 < largest {
        let remedy = "make it larger, or max_message_size of the listener smaller";
        section.wrong("max_size", "is smaller than max_message_size of a listener", remedy);
    }
    let reserve = section.within("reserve", Size(64 << 20), Size(1 << 20)..=Size(1 << 50));
    let expire = section.within("expire", day * 5, second..=YEAR);
    let delay_notice = section.within("delay_notice", hour * 4, second..=YEAR);
    let minutes = [1, 5, 15, 30, 60].map(|minutes| second * 60 * minutes);
    let schedule = section.or("schedule", minutes.to_vec());
    if schedule.is_empty() || schedule.iter().any(|pause| *pause < second || *pause > YEAR) {
        let remedy =
            "write pauses from 1 s, such as [\"1m\", \"5m\", \"1h\"]; the last one repeats";
        section.wrong("schedule", "holds no pause, or one that is out of range", remedy);
    }
    let history = section.within("history", day * 7, Duration::ZERO..=YEAR);
    section.finish(&[]);
    Queue { max_size: size.0, reserve: reserve.0, expire, delay_notice, schedule, history }
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
    use super::*;

    #[test]
    fn dump() {
        for text in std::fs::read_to_string("/tmp/wt/cfgmistakes.txt").unwrap().split("=====\n") {
            println!("--- {}", text.lines().last().unwrap_or(""));
            match Config::from_text("submitd.toml", text, &[]) {
                Err(p) => println!("{}", p.render(false)),
                Ok(c) => println!("OK {:?}\n{}", c.warnings, c.show(false)),
            }
        }
    }
}
