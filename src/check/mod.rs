//! The walk of `submitd check`: DNS and TCP (or the proxy), SMTP, TLS, token, claims, EHLO, AUTH, MAIL, each step on its own.
//!
//! It goes the way a mail goes, with the same parts, and stops an account at the first broken step: what
//! lies behind it cannot be known and is told as not reached. What a token's claims give away is told as
//! a doubt and decides nothing. No mail is sent unless one is given ([`Trial`]).

mod explain;
mod graph;
mod mail;
mod reach;
pub mod setup;
mod token;

use crate::config::{Account, Grant, Login, Sasl, Transport, Upstream, UpstreamTls};
use crate::delivery::words::clean;
use crate::diagnosis::Class;
use crate::mail::{Address, BodyKind, Envelope};
use crate::oauth::TokenSource;
use crate::oauth::claims::Claims;
use crate::smtp::Reply;
use crate::smtp::offer::Offer;
use crate::tls;
use crate::upstream::smtp::{Pool, probe, probe_connect, probe_tls};
use crate::upstream::{Credential, Failure, Stage};
use bytes::Bytes;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Somebody sits before the screen: no answer is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// One step of the walk, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The server's addresses.
    Dns,
    /// Each of them.
    Tcp,
    /// In the place of both: the proxy, as far as the server.
    Proxy,
    /// Greeting, EHLO and STARTTLS in clear text; left out where TLS comes first.
    Smtp,
    /// The handshake; chain and name are verified.
    Tls,
    /// A token from the provider.
    Token,
    /// What the token says of itself.
    Claims,
    /// What the server offers inside TLS.
    Ehlo,
    /// The login.
    Auth,
    /// Whether the sender is taken.
    Mail,
    /// Whether Graph lets this token send from the mailbox.
    Graph,
    /// A mail, where one was given.
    Send,
}

impl Step {
    const ALL: [Step; 12] = [
        Step::Dns,
        Step::Tcp,
        Step::Proxy,
        Step::Smtp,
        Step::Tls,
        Step::Token,
        Step::Claims,
        Step::Ehlo,
        Step::Auth,
        Step::Mail,
        Step::Graph,
        Step::Send,
    ];

    /// What people and programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Step::Dns => "DNS",
            Step::Tcp => "TCP",
            Step::Proxy => "proxy",
            Step::Smtp => "SMTP",
            Step::Tls => "TLS",
            Step::Token => "token",
            Step::Claims => "claims",
            Step::Ehlo => "EHLO",
            Step::Auth => "AUTH",
            Step::Mail => "MAIL",
            Step::Graph => "Graph",
            Step::Send => "send",
        }
    }
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It went well; what was seen.
    Good(String),
    /// It went on, but this looks wrong; a later step may show that it is.
    Doubt(Trouble),
    /// It broke, and the walk ends here.
    Broken(Trouble),
    /// A step before it broke.
    NotReached,
}

/// What is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, in the other side's words where it has some.
    pub what: String,
    /// The next step of the administrator; none where nothing is known.
    pub remedy: Option<String>,
    /// Who can mend it.
    pub class: Class,
    /// Whether it lies in what was set up at the provider: then [`setup::text`] helps.
    pub needs_setup: bool,
}

/// What is tried beyond the login.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// The sender that is asked about; the account's mailbox where none is given.
    pub from: Option<Address>,
    /// A recipient and a message (with CRLF), sent for good.
    pub mail: Option<(Address, Bytes)>,
}

/// How a walk ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What broke.
    pub broken: Option<Trouble>,
    /// What the token said of itself, where it was had and could be read.
    pub claims: Option<Claims>,
}

/// Walks one account; `tell` hears of every step as it is done.
pub async fn walk(
    account: &Account,
    hostname: &str,
    tokens: &impl TokenSource,
    trial: &Trial,
    mut tell: impl FnMut(Step, Finding),
) -> Outcome {
    let mut outcome = Outcome::default();
    let claims = &mut outcome.claims;
    let end = match &account.transport {
        Transport::Graph(_) => graph::steps(account, tokens, trial, claims, &mut tell).await,
        Transport::Smtp => steps(account, hostname, tokens, trial, claims, &mut tell).await,
        Transport::Auto(_) => {
            let end = steps(account, hostname, tokens, trial, claims, &mut tell).await;
            match end {
                // It may be that for which there is the detour.
                Err((Step::Auth, trouble)) => {
                    tell(Step::Auth, Finding::Doubt(trouble));
                    graph::detour(account, tokens, trial, &mut tell).await
                }
                end => end,
            }
        }
    };
    if let Err((broken_at, trouble)) = end {
        tell(broken_at, Finding::Broken(trouble.clone()));
        for step in Step::ALL.into_iter().filter(|step| *step > broken_at) {
            if !is_left_out(step, account, trial) {
                tell(step, Finding::NotReached);
            }
        }
        outcome.broken = Some(trouble);
    }
    outcome
}

/// Whether an account has no such step.
fn is_left_out(step: Step, account: &Account, trial: &Trial) -> bool {
    let upstream = &account.upstream;
    if let Transport::Graph(settings) = &account.transport {
        return match step {
            Step::Proxy | Step::Smtp | Step::Ehlo | Step::Auth | Step::Mail => true,
            Step::Dns | Step::Tcp => graph::is_proxied(account),
            Step::Tls => settings.url.scheme() != "https",
            Step::Send => trial.mail.is_none(),
            Step::Token | Step::Claims | Step::Graph => false,
        };
    }
    match step {
        Step::Graph => true,
        Step::Dns | Step::Tcp => upstream.proxy.is_some(),
        Step::Proxy => upstream.proxy.is_none(),
        Step::Smtp => upstream.tls != UpstreamTls::StartTls,
        Step::Tls => upstream.tls == UpstreamTls::None,
        Step::Token | Step::Claims => account.grant == Grant::Tokenless,
        Step::Auth => upstream.login == Login::Nobody,
        Step::Send => trial.mail.is_none(),
        Step::Ehlo | Step::Mail => false,
    }
}

async fn steps(
    account: &Account,
    hostname: &str,
    tokens: &impl TokenSource,
    trial: &Trial,
    claims: &mut Option<Claims>,
    tell: &mut impl FnMut(Step, Finding),
) -> Result<(), (Step, Trouble)> {
    let mut settings = account.upstream.clone();
    settings.command_timeout = settings.command_timeout.min(PATIENCE);
    settings.data_timeout = settings.data_timeout.min(2 * PATIENCE);
    let trust = approach(account, tell).await?;
    if settings.tls != UpstreamTls::None {
        secure(account, (settings.clone(), hostname.to_owned(), Arc::clone(&trust)), tell).await?;
    }
    let token = tokens.access_token(&account.name).await;
    let token = token.map_err(|error| (Step::Token, explain::token(account, error)))?;
    if account.grant != Grant::Tokenless {
        let life = token.usable_until.saturating_duration_since(Instant::now());
        let life = humantime::format_duration(Duration::from_secs(life.as_secs()));
        let seen = format!("from {}, good for {life}", account.oauth.token_url);
        tell(Step::Token, Finding::Good(seen));
        *claims = Claims::read(token.secret.expose());
        tell_claims(account, claims.as_ref(), tell);
    }
    let credential = Credential {
        mailbox: account.mailbox.clone(),
        audience: account.transport.audience(),
        token: token.secret,
        usable_until: token.usable_until,
    };
    let route = Route { settings, hostname: hostname.to_owned(), trust };
    log_in(account, route, &credential, trial, claims.as_ref(), tell).await
}

/// As far as a connection, by its addresses or by the proxy. Gives what the TLS behind it trusts.
async fn approach(
    account: &Account,
    tell: &mut impl FnMut(Step, Finding),
) -> Result<Arc<ClientConfig>, (Step, Trouble)> {
    let mut good = |step, seen| tell(step, Finding::Good(seen));
    let upstream = &account.upstream;
    if upstream.proxy.is_none() {
        let addresses = reach::resolve(account).await.map_err(|broken| (Step::Dns, broken))?;
        good(Step::Dns, reach::list(account, &addresses));
        let seen = reach::reach(account, &addresses).await.map_err(|broken| (Step::Tcp, broken))?;
        good(Step::Tcp, seen);
    }
    let trust = tls::client_config(upstream.ca_file.as_deref())
        .map_err(|error| (Step::Tls, explain::distrust(account, &error)))?;
    if let Some(proxy) = &upstream.proxy {
        let reached = probe_connect(upstream.clone(), Arc::clone(&trust)).await;
        reached.map_err(|failure| (Step::Proxy, explain::failure(account, &failure)))?;
        let seen = format!("{proxy} connects us to {}:{}", upstream.host, upstream.port);
        good(Step::Proxy, seen);
    }
    Ok(trust)
}

/// STARTTLS where it is used, and the handshake.
async fn secure(
    account: &Account,
    (settings, hostname, trust): (Upstream, String, Arc<ClientConfig>),
    tell: &mut impl FnMut(Step, Finding),
) -> Result<(), (Step, Trouble)> {
    let starttls = settings.tls == UpstreamTls::StartTls;
    let (host, proxy) = (settings.host.clone(), settings.proxy.clone());
    let peer = probe_tls(settings, hostname, trust).await;
    let is_clear_good = match &peer {
        Ok(_) => true,
        Err(failure) => failure.stage == Stage::Tls && !explain::is_clear(failure),
    };
    if starttls && is_clear_good {
        let clear = "the server speaks SMTP and offers STARTTLS".to_owned();
        tell(Step::Smtp, Finding::Good(clear));
    }
    let at = if is_clear_good || !starttls { Step::Tls } else { Step::Smtp };
    let peer = peer.map_err(|failure| (at, explain::failure(account, &failure)))?;
    let who = match proxy {
        Some(proxy) => format!("what {proxy} leads to"),
        None => peer.to_string(),
    };
    tell(Step::Tls, Finding::Good(format!("{who} shows a good certificate for {host}")));
    Ok(())
}

/// How to get to the server.
struct Route {
    settings: Upstream,
    hostname: String,
    trust: Arc<ClientConfig>,
}

fn tell_claims(account: &Account, claims: Option<&Claims>, tell: &mut impl FnMut(Step, Finding)) {
    let Some(claims) = claims else {
        let opaque = "the token is opaque: only the server can say what is in it";
        return tell(Step::Claims, Finding::Good(opaque.to_owned()));
    };
    let now = SystemTime::now();
    tell(Step::Claims, Finding::Good(token::describe(claims, now)));
    for row in token::doubts(claims, account, now) {
        tell(Step::Claims, Finding::Doubt(token::tell(row, claims, account)));
    }
}

/// EHLO, AUTH, MAIL, and the mail where there is one.
async fn log_in(
    account: &Account,
    route: Route,
    credential: &Credential,
    trial: &Trial,
    claims: Option<&Claims>,
    tell: &mut impl FnMut(Step, Finding),
) -> Result<(), (Step, Trouble)> {
    let sender = trial.from.clone().unwrap_or_else(|| account.mailbox.clone());
    let recipients = trial.mail.iter().map(|(to, _)| crate::mail::Recipient::new(to.clone()));
    let envelope = Envelope {
        sender: Some(sender.clone()),
        body: BodyKind::Undeclared,
        smtputf8: false,
        ret: None,
        envid: None,
        recipients: recipients.collect(),
    };
    let Route { settings, hostname, trust } = route;
    let seen =
        probe(settings.clone(), hostname.clone(), Arc::clone(&trust), credential, &envelope).await;
    let broken = |failure: &Failure| explain::login(account, failure, claims);
    let answer = match &seen.sender {
        Err(failure) if failure.stage < Stage::Auth => {
            return Err((Step::Ehlo, broken(failure)));
        }
        answer => answer,
    };
    tell(Step::Ehlo, Finding::Good(offered(&seen.offer)));
    let answer: Result<&Reply, &Failure> = answer.as_ref();
    match answer {
        Err(failure) if failure.stage == Stage::Auth => {
            return Err((Step::Auth, broken(failure)));
        }
        _ if account.upstream.login == Login::Nobody => {}
        _ => tell(Step::Auth, Finding::Good(logged_in(account, &seen.offer))),
    }
    let reply = answer.map_err(|failure| (Step::Mail, broken(failure)))?;
    tell(Step::Mail, Finding::Good(format!("{sender} as sender: {}", clean(&reply.to_string()))));
    if let Some((_, message)) = &trial.mail {
        let reply =
            mail::send(&Pool::new(settings, hostname, trust), credential, &envelope, message).await;
        let reply = reply.map_err(|failure| (Step::Send, broken(&failure)))?;
        tell(Step::Send, Finding::Good(clean(&reply.to_string())));
    }
    Ok(())
}

/// Who logged in, and how: the mechanism that is named, else the first that we like and it offers.
fn logged_in(account: &Account, offer: &Offer) -> String {
    let (who, ways) = match &account.upstream.login {
        Login::Password { username, .. } => (clean(username), ["PLAIN", "LOGIN"]),
        Login::Token | Login::Nobody => (account.mailbox.to_string(), ["XOAUTH2", "OAUTHBEARER"]),
    };
    let way = match account.upstream.sasl {
        Sasl::XOAuth2 | Sasl::Plain => ways[0],
        Sasl::OAuthBearer | Sasl::Login => ways[1],
        Sasl::Auto if offer.has_mechanism(ways[0]) => ways[0],
        Sasl::Auto => ways[1],
    };
    format!("{who} logged in with {way}")
}

/// What the server offers, in its own words.
fn offered(offer: &Offer) -> String {
    let mut words: Vec<String> =
        offer.extensions.iter().map(|extension| extension.keyword().to_owned()).collect();
    for word in &mut words {
        match word.as_str() {
            "AUTH" => *word = format!("AUTH ({})", offer.mechanisms.join(" ")),
            "SIZE" => {
                if let Some(size) = offer.max_size {
                    *word = format!("SIZE {size}");
                }
            }
            _ => {}
        }
    }
    if words.is_empty() { "nothing is offered".to_owned() } else { words.join(", ") }
}
