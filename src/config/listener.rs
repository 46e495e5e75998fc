//! `[[listener]]`: what is written becomes doors that are safe to open.
//!
//! It promises that a door to a network needs TLS and a login, or two words of the operator who wants it
//! otherwise (`allow_insecure`, `clients`). It touches no file: certificates are read through the function
//! it is given.

use super::account::YEAR;
use super::certificate::{Identity, IdentityError};
use super::check::Surroundings;
use super::section::Section;
use super::tree::{Node, Value};
use super::user;
use super::value::{Size, Written, Wrong, quote, text, words};
use super::{Auth, BareNewline, Listener, Network, Received};
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where a listener can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// All its addresses: TCP first, in the order in which they were written.
    pub fn doors(&self) -> impl Iterator<Item = ListenAddress> + '_ {
        let tcp = self.addresses.iter().copied().map(ListenAddress::Tcp);
        tcp.chain(self.sockets.iter().cloned().map(ListenAddress::Unix))
    }
}

/// What a listener does with mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Makes it durable, answers, and delivers it afterwards.
    Queue,
    /// Passes it through; the client waits for the upstream's own answers.
    Direct(Direct),
}

/// What a client in direct mode may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direct {
    /// How long it waits for a turn of its mailbox.
    pub turn_timeout: Duration,
    /// How long it holds its turn without progress.
    pub stall_timeout: Duration,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// When it begins.
    pub start: TlsStart,
    /// Certificate and key.
    pub identity: Identity,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsStart {
    /// When the client asks: STARTTLS (RFC 3207).
    StartTls,
    /// With the first octet (RFC 8314).
    Implicit,
}

/// A version of TLS. Older ones than these are broken (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

words!(TlsVersion { "1.2" => Tls12, "1.3" => Tls13 } later {
    "1.0" => "it is broken (RFC 8996); write \"1.2\"",
    "1.1" => "it is broken (RFC 8996); write \"1.2\"",
});

words!(Auth {
    "none" => None, "optional" => Optional, "required" => Required, "accept_any" => AcceptAny,
} later {});
words!(BareNewline { "normalise" => Normalise, "reject" => Reject } later {
    "normalize" => "it is spelt \"normalise\"",
});
words!(Received { "full" => Full, "minimal" => Minimal, "none" => None } later {});

/// `mode`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ModeWord {
    Queue,
    Direct,
}
words!(ModeWord { "queue" => Queue, "direct" => Direct } later {});

/// `tls`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TlsWord {
    None,
    StartTls,
    Implicit,
}
words!(TlsWord { "none" => None, "starttls" => StartTls, "implicit" => Implicit } later {});

/// The mode of a Unix socket, written in octal as chmod(1) takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct UnixMode(u32);

impl Written for UnixMode {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        // A number would be ambiguous: 660 is 0o1224.
        const REMEDY: &str = "write it in octal and in quotes, such as \"0660\"";
        if !matches!(node.value, Value::Text(_)) {
            return Err(vec![Wrong::new("is not a file mode", REMEDY)]);
        }
        let text = text(node)?;
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let is_octal = digits.chars().all(|c| c.is_digit(8));
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o777 && is_octal => Ok(Self(mode)),
            _ => Err(vec![Wrong::new(format!("{text:?} is not a file mode"), REMEDY)]),
        }
    }
    fn write(&self) -> String {
        quote(&format!("{:04o}", self.0))
    }
}

/// All of them; without any there is one with all defaults.
pub(super) fn listeners(
    top: &Section<'_>,
    around: &Surroundings<'_>,
    names: &[String],
) -> Vec<Listener> {
    let mut sections = top.sections("listener");
    if !top.is_given("listener") {
        sections.push(top.implied("listener"));
    }
    let mut bound: HashSet<ListenAddress> = HashSet::new();
    let mut all = Vec::new();
    for section in sections {
        let listener = listener(&section, around, names);
        // Port 0 too: doors are told apart by what is written.
        for door in listener.doors() {
            let what = format!("{door} is there twice");
            if !bound.insert(door) {
                section.wrong("address", what, "give each its own");
            }
        }
        if listener.auth == Auth::Required && !top.is_given("user") {
            let remedy = "write [[user]] with name and password_hash, or auth = \"optional\"";
            section.wrong("auth", "nobody could log in: there is no [[user]]", remedy);
        }
        section.finish(&[]);
        all.push(listener);
    }
    let is_empty = |node: &Node| matches!(&node.value, Value::List(items) if items.is_empty());
    if top.node("listener").is_some_and(is_empty) {
        top.wrong("listener", "there is none", "write [[listener]], or leave the key out");
    }
    all
}

fn listener(section: &Section<'_>, around: &Surroundings<'_>, names: &[String]) -> Listener {
    let localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let usual = localhost.map(|address| ListenAddress::Tcp(SocketAddr::new(address, 2525)));
    let doors = section.or("address", usual.to_vec());
    let is_local = doors.iter().all(ListenAddress::is_local);
    let unix_mode = section.or("unix_mode", UnixMode(0o660));
    let mode = mode(section);
    let (tls_word, tls) = tls(section, around);
    let auth = section.or("auth", Auth::Optional);
    let clients = section.or("clients", loopback_networks());
    let proxy_protocol = section.optional::<Vec<Network>>("proxy_protocol").unwrap_or_default();
    let account = user::reference(section, names);
    let recipients = section.optional("recipients").unwrap_or_default();
    let size = section.within("max_message_size", Size(35 << 20), Size(64 << 10)..=Size(1 << 30));
    let second = Duration::from_secs(1);
    let newline = if is_local { BareNewline::Normalise } else { BareNewline::Reject };
    let (addresses, sockets) = parted(doors);
    let listener = Listener {
        addresses,
        sockets,
        unix_mode: unix_mode.0,
        tls,
        clients,
        proxy_protocol,
        mode,
        auth,
        account,
        recipients,
        max_message_size: size.0,
        max_recipients: section.within("max_recipients", 500, 1..=10_000),
        max_connections: section.within("max_connections", 1_000, 1..=100_000),
        max_connections_per_client: section.within("max_connections_per_client", 100, 1..=100_000),
        max_errors: section.within("max_errors", 20, 1..=10_000),
        command_timeout: section.within("command_timeout", second * 300, second..=YEAR),
        session_timeout: section.within("session_timeout", second * 3_600, second..=YEAR),
        bare_newline: section.or("bare_newline", newline),
        received: section.or("received", Received::Full),
    };
    let is_allowed = section.or("allow_insecure", false);
    check_reach(section, &listener, tls_word, is_allowed);
    listener
}

/// What was written for `mode`, and how long clients of direct mode wait.
fn mode(section: &Section<'_>) -> Mode {
    let word = section.or("mode", ModeWord::Queue);
    let second = Duration::from_secs(1);
    let direct = Direct {
        turn_timeout: section.within("turn_timeout", second * 20, second..=second * 3_600),
        stall_timeout: section.within("stall_timeout", second * 30, second..=second * 3_600),
    };
    if word == ModeWord::Direct {
        return Mode::Direct(direct);
    }
    for name in ["turn_timeout", "stall_timeout"].into_iter().filter(|n| section.is_given(n)) {
        let remedy = "write mode = \"direct\", or leave it out";
        section.doubt(name, "means nothing with mode = \"queue\"", remedy);
    }
    Mode::Queue
}

fn parted(doors: Vec<ListenAddress>) -> (Vec<SocketAddr>, Vec<PathBuf>) {
    let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
    for door in doors {
        match door {
            ListenAddress::Tcp(address) => addresses.push(address),
            ListenAddress::Unix(path) => sockets.push(path),
        }
    }
    (addresses, sockets)
}

fn loopback_networks() -> Vec<Network> {
    vec![
        Network { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
        Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    ]
}

/// What was written for `tls`, and all of it where its files are good.
fn tls(section: &Section<'_>, around: &Surroundings<'_>) -> (TlsWord, Option<ListenerTls>) {
    let word = section.or("tls", TlsWord::None);
    let certificate = section.optional::<PathBuf>("certificate");
    let key = section.optional::<PathBuf>("key");
    let min_version = section.or("tls_min_version", TlsVersion::Tls12);
    let start = match word {
        TlsWord::None => {
            for name in ["certificate", "key"].into_iter().filter(|name| section.is_given(name)) {
                let remedy = "write tls = \"starttls\" or \"implicit\", or leave it out";
                section.doubt(name, "means nothing with tls = \"none\"", remedy);
            }
            return (word, None);
        }
        TlsWord::StartTls => TlsStart::StartTls,
        TlsWord::Implicit => TlsStart::Implicit,
    };
    for (name, what) in [("certificate", "certificate and its chain"), ("key", "private key")] {
        if !section.is_given(name) {
            let remedy = format!("write {name} = \"…\", the name of a PEM file with the {what}");
            section.wrong(name, "is missing, and TLS needs it", remedy);
        }
    }
    let (Some(certificate), Some(key)) = (certificate, key) else { return (word, None) };
    match (around.identity)(&certificate, &key) {
        Ok(identity) => (word, Some(ListenerTls { start, identity, min_version })),
        Err(IdentityError { key, what, remedy }) => {
            section.wrong(key, what, remedy);
            (word, None)
        }
    }
}

/// Passwords and mail would cross a network in the clear, and an address without a list of clients
/// would be an open relay.
fn check_reach(section: &Section<'_>, listener: &Listener, tls: TlsWord, is_allowed: bool) {
    if listener.addresses.iter().any(|address| address.port() == 0) {
        let remedy =
            "write a port that programs can be told; the log names the one that was chosen";
        section.doubt("address", "port 0 lets the system choose a free port", remedy);
    }
    let is_local = listener.doors().all(|door| door.is_local());
    // A balancer brings clients of anywhere to a loopback address.
    if listener.auth == Auth::AcceptAny && (!is_local || !listener.proxy_protocol.is_empty()) {
        let what = "\"accept_any\" takes every password, and clients are not of this machine only";
        let remedy = "use a loopback address without proxy_protocol, or auth = \"required\"";
        section.wrong("auth", what, remedy);
    }
    if is_local {
        return;
    }
    let missing = match (tls, listener.auth) {
        (TlsWord::None, _) => Some("has no TLS"),
        (_, Auth::None | Auth::Optional | Auth::AcceptAny) => Some("needs no login"),
        (_, Auth::Required) => None,
    };
    match missing {
        Some(missing) if !is_allowed => section.wrong(
            "address",
            format!("is not loopback and {missing}"),
            "write tls = \"starttls\" with certificate and key, and auth = \"required\"; or \
             \"localhost:2525\"; or allow_insecure = true where nobody else can listen",
        ),
        Some(_) => {
            let what = match tls {
                TlsWord::None => "mail and passwords of clients cross the network unencrypted",
                _ => "whoever connects from one of the clients sends without a login",
            };
            section.doubt("allow_insecure", what, "use a loopback address where you can");
        }
        None => {}
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
