//! What the operator meant: a [`Config`] is valid by construction.
//!
//! `file` reads what was written (TOML, environment), `check` turns it into this and gathers every
//! problem. Sizes are octets, 1 MB = 1,048,576. Durations are written in words (`30s`, `4h`) or seconds.

mod account;
mod address;
mod admin;
mod application;
mod certificate;
mod check;
mod credential;
mod endpoint;
mod environment;
mod file;
mod glance;
mod grant;
mod graph;
mod identity;
mod limit;
mod listener;
mod local;
mod login;
mod network;
mod notify;
mod preset;
mod problem;
mod proxy;
mod queue;
mod secrets;
mod section;
mod show;
mod sign_in;
mod surroundings;
mod tree;
mod user;
mod value;
mod wire;

pub use account::OnUncertain;
pub use admin::{Admin, Group};
pub use certificate::{Identity, IdentityError};
pub use credential::{
    Application, Certificate, Consent, Grant, IdentityHost, OAuth, Proof, SignIn, SignInBy,
};
pub use glance::Glance;
pub use graph::{Graph, Transport, Upload};
pub use limit::Limit;
pub use listener::{Direct, ListenAddress, ListenerTls, Mode, TlsStart, TlsVersion};
pub use login::{Login, Sasl};
pub use network::{Network, is_this_machine};
pub use notify::{Hook, Notify};
pub use problem::{Excerpt, Place, Problem, Problems};
pub use proxy::{HttpProxy, Proxy, ProxyScheme};
pub use queue::Queue;
pub use secrets::SecretFile;
pub use show::{Settings, keys};
pub use wire::{Chunking, UpstreamTls};

use crate::mail::rewrite::When;
use crate::mail::{Address, Local, Pattern};
use crate::secret::Secret;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where the configuration is looked for where nobody names a file.
pub const USUAL_FILE: &str = "/etc/submitd/submitd.toml";

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where queue, tokens and locks live.
    pub state_dir: PathBuf,
    /// Our name in the greeting, in EHLO and in `Received:`.
    pub hostname: String,
    /// How long a stop waits for sessions and deliveries under way.
    pub drain_timeout: Duration,
    /// The machine's names, `default_domain` and `[aliases]`: where mail for `root` goes.
    pub local: Arc<Local>,
    /// Where programs hand in their mail. At least one.
    pub listeners: Vec<Listener>,
    /// The mailboxes we send through. At least one.
    pub accounts: Vec<Arc<Account>>,
    /// Local names and passwords of programs.
    pub users: Vec<User>,
    /// The store and its schedule.
    pub queue: Queue,
    /// Whom we tell.
    pub notify: Notify,
    /// What we change in a message.
    pub headers: Headers,
    /// Where the daemon is watched and steered.
    pub admin: Admin,
    /// How we speak to the operator.
    pub log: Log,
    /// What is valid and yet doubtful; to be told at every start.
    pub warnings: Vec<Problem>,
    /// Every key with its effective value, for [`Config::show`]; holds no secret.
    pub settings: Settings,
}

impl Config {
    /// Reads a file and the variables of the environment. Without a path it is [`USUAL_FILE`], or the
    /// environment alone where that does not exist.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let variables: Vec<(String, String)> = environment.collect();
        let path_or_usual = path.unwrap_or(Path::new(USUAL_FILE));
        let name = path_or_usual.display().to_string();
        let text = match surroundings::read_file(path_or_usual) {
            Ok(text) => text,
            Err(surroundings::Unread::Absent) if path.is_none() => {
                return Self::from_text(&name, "", &variables).map_err(Problems::of_no_file);
            }
            Err(why) => return Err(Problems(vec![why.problem(&name)])),
        };
        let mut config = Self::from_text(&name, &text, &variables)?;
        config.warnings.extend(surroundings::shown_to_others(path_or_usual, &text));
        Ok(config)
    }

    /// Reads a text that stands in the file `name`, and the variables. Relative paths in it start from
    /// the directory of `name`. Of the machine it reads the host name and the files it names.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn from_text(
        name: &str,
        text: &str,
        environment: &[(String, String)],
    ) -> Result<Self, Problems> {
        let walk = section::Walk::default();
        let mut table = file::parse(text, &mut walk.problems.borrow_mut());
        environment::overlay(&mut table, environment, &mut walk.problems.borrow_mut());
        let machine = surroundings::Machine::new(name, environment);
        let config = machine.look(|around| check::check(&table, around, &walk));
        show::judge_strangers(&walk);
        let located = |found: Vec<section::Found>| problem::located(name, text, found);
        let problems = located(walk.problems.take());
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let warnings = located(walk.warnings.take());
        Ok(Self { warnings, settings: Settings::new(walk.parts.take()), ..config })
    }
}

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// TCP addresses to bind; `localhost:2525` stands for 127.0.0.1 and ::1.
    pub addresses: Vec<SocketAddr>,
    /// Unix sockets to bind, absolute paths.
    pub sockets: Vec<PathBuf>,
    /// Permission bits of the Unix sockets.
    pub unix_mode: u32,
    /// Encryption towards clients; none = mail and passwords come in the clear.
    pub tls: Option<ListenerTls>,
    /// Who may connect.
    pub clients: Vec<Network>,
    /// Balancers that must tell the client's address first (PROXY protocol).
    pub proxy_protocol: Vec<Network>,
    /// What happens with the mail.
    pub mode: Mode,
    /// Whether a login is offered or needed.
    pub auth: Auth,
    /// The account of clients that name none.
    pub account: Option<String>,
    /// Who may be written to; empty = anybody.
    pub recipients: Vec<Pattern>,
    /// Octets of one message, as announced by SIZE.
    pub max_message_size: u64,
    /// RCPT TO of one mail, at least 1.
    pub max_recipients: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one client address; loopback and Unix sockets have no such bound.
    pub max_connections_per_client: usize,
    /// Wrong commands until we hang up.
    pub max_errors: usize,
    /// How long a client may take for a command, or for a piece of a body.
    pub command_timeout: Duration,
    /// How long one connection may last in all.
    pub session_timeout: Duration,
    /// What becomes of a lone CR or LF in a body.
    pub bare_newline: BareNewline,
    /// How much `Received:` tells.
    pub received: Received,
}

/// Whether clients log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// AUTH is not offered.
    None,
    /// Offered, not needed.
    Optional,
    /// MAIL is refused without it.
    Required,
    /// Offered, not needed, and every name and password is good: for devices that insist. Only on
    /// loopback.
    AcceptAny,
}

/// What becomes of a lone CR or LF in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// It becomes CRLF: old programs write it.
    Normalise,
    /// The mail is refused, 550 5.6.11.
    Reject,
}

/// How much `Received:` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Client name and address, our name, protocol, id.
    Full,
    /// Our name, protocol, id: nothing about the client.
    Minimal,
    /// No `Received:` is added.
    None,
}

/// One `[[account]]`: a mailbox we send through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What log, queue and commands call it.
    pub name: String,
    /// Whose token it is: the XOAUTH2 user.
    pub mailbox: Address,
    /// How a token is had.
    pub grant: Grant,
    /// Which way the mail goes.
    pub transport: Transport,
    /// The server that takes the mail; of Graph only its limits and time limits count.
    pub upstream: Upstream,
    /// The endpoint that gives tokens.
    pub oauth: OAuth,
    /// What happens to a mail whose fate is unknown.
    pub on_uncertain: OnUncertain,
    /// Clients from here send through this account; with any, others do not unless they are granted it.
    pub networks: Vec<Network>,
    /// Senders that choose this account and are authorised for its mailbox, besides the mailbox itself.
    pub senders: Vec<Pattern>,
    /// Which senders are replaced by the mailbox.
    pub rewrite_from: When,
    /// When the client secret ends, as the portal shows it.
    pub client_secret_expires: Option<SystemTime>,
}

/// For which service a token is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The provider's mail server.
    Smtp,
    /// Microsoft Graph.
    Graph,
}

/// `[account.upstream]`, filled from preset and cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Name to resolve, to show in SNI and to verify.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// How the connection becomes safe.
    pub tls: UpstreamTls,
    /// How it learns who we are.
    pub login: Login,
    /// The mechanism of AUTH.
    pub sasl: Sasl,
    /// Who connects us to it; none = straight.
    pub proxy: Option<Proxy>,
    /// Certificates trusted besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Connections at once, per mailbox.
    pub connections: Limit,
    /// Messages a minute, per mailbox.
    pub messages_per_minute: Limit,
    /// Recipients in any 24 hours, per mailbox.
    pub recipients_per_day: Limit,
    /// Recipients of one transaction; a mail with more goes in several.
    pub max_recipients: Limit,
    /// Octets of one message; a larger one is refused when it comes in.
    pub max_message_size: u64,
    /// How long connecting to one address may take.
    pub connect_timeout: Duration,
    /// How long we wait for an answer to a command.
    pub command_timeout: Duration,
    /// How long we wait for the answer to the final dot (RFC 5321 §4.5.3.2.6: 10 minutes).
    pub data_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// It is known to offer CHUNKING and BINARYMIME (RFC 3030), so that our clients may be offered it too.
    pub binarymime: bool,
    /// Whether small mail goes in one flight.
    pub chunking: Chunking,
}

/// One `[[user]]`: local name and password of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The AUTH user name.
    pub name: String,
    /// What proves it.
    pub password: Password,
    /// The accounts this user may send through, the usual one first; empty = as without a login.
    pub accounts: Vec<String>,
    /// Who this user may be: MAIL FROM, `From:` and `Sender:`; empty = anybody.
    pub senders: Vec<Pattern>,
    /// Whom this user may write to; empty = anybody.
    pub recipients: Vec<Pattern>,
}

/// What proves a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// The clear text.
    Clear(Secret),
    /// An argon2 hash in PHC form.
    Hash(Secret),
}

/// `[headers]`: the only changes made to a message by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Add `Date:` where none stands.
    pub add_date: bool,
    /// Add `Message-ID:` where none stands.
    pub add_message_id: bool,
    /// Remove `Bcc:`.
    pub remove_bcc: bool,
    /// Remove `Return-Path:`.
    pub remove_return_path: bool,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Shape of a line.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,submitd::smtp=debug`.
    pub level: String,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, journald's way under systemd.
    Auto,
    /// One JSON object a line.
    Json,
    /// Text.
    Text,
}
