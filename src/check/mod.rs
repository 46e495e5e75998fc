//! The walk of `submitd check`: DNS, TCP, TLS, token, AUTH, each step on its own.
//!
//! It goes the way a mail goes, with the same parts, and stops an account at the first broken step: what
//! lies behind it cannot be known. No mail is sent.

use crate::config::{Account, Grant, Login, Sasl, Upstream, UpstreamTls};
use crate::delivery::verdict;
use crate::diagnosis::exchange::{self, Place};
use crate::diagnosis::fill;
use crate::oauth::{TokenSource, request};
use crate::smtp::offer::Offer;
use crate::tls::{self, TrustError};
use crate::upstream::smtp::{probe, probe_connect, probe_tls};
use crate::upstream::{Credential, Failure, Fault, Stage};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Somebody sits before the screen: no answer is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// One step and what it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `DNS` and `TCP`, or `proxy`; `TLS`, `token`, `AUTH`; `SMTP` where it broke, or where there is no login.
    pub name: &'static str,
    /// What was seen, or what is broken.
    pub result: Result<String, Broken>,
}

/// A broken step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What is wrong, in the other side's words where it has some.
    pub what: String,
    /// The next step of the administrator; none where only waiting helps.
    pub remedy: Option<String>,
}

/// Walks one account; `tell` hears of every step as it is done. True where all went well.
pub async fn walk(
    account: &Account,
    hostname: &str,
    tokens: &impl TokenSource,
    mut tell: impl FnMut(Step),
) -> bool {
    let mut step = |name, result: Result<String, Broken>| {
        let good = result.is_ok();
        tell(Step { name, result });
        good
    };
    let trust = match approach(account, &mut step).await {
        Ok(trust) => trust,
        Err(Step { name, result }) => return step(name, result),
    };
    let (mut settings, hostname) = (account.upstream.clone(), hostname.to_owned());
    settings.command_timeout = settings.command_timeout.min(PATIENCE);
    if settings.tls != UpstreamTls::None {
        match probe_tls(settings.clone(), hostname.clone(), trust.clone()).await {
            Ok(peer) => {
                let seen = format!(
                    "{} shows a good certificate for {}",
                    by(&settings, peer),
                    settings.host
                );
                step("TLS", Ok(seen));
            }
            Err(failure) => {
                let name = if failure.stage < Stage::Tls { "SMTP" } else { "TLS" };
                return step(name, Err(explain(account, &failure)));
            }
        }
    }
    let token = match tokens.access_token(&account.name).await {
        Ok(token) => token,
        Err(error) => {
            return step("token", Err(Broken { what: error.message, remedy: error.remedy }));
        }
    };
    if account.grant != Grant::Tokenless {
        let life = token.usable_until.saturating_duration_since(std::time::Instant::now());
        let life = humantime::format_duration(Duration::from_secs(life.as_secs()));
        step("token", Ok(format!("from {}, good for {life}", account.oauth.token_url)));
    }
    let credential = Credential {
        mailbox: account.mailbox.clone(),
        token: token.secret,
        usable_until: token.usable_until,
    };
    let login = probe(settings, hostname, trust, &credential).await;
    let name = match (&login, &account.upstream.login) {
        (Err(failure), _) if failure.stage < Stage::Auth => "SMTP",
        (_, Login::Nobody) => "SMTP",
        _ => "AUTH",
    };
    step(name, login.map(|offer| seen(account, &offer)).map_err(|error| explain(account, &error)))
}

/// As far as a connection: DNS and TCP, or the proxy. Gives what the TLS behind it trusts.
async fn approach(
    account: &Account,
    step: &mut impl FnMut(&'static str, Result<String, Broken>) -> bool,
) -> Result<Arc<ClientConfig>, Step> {
    let broken = |name, broken| Step { name, result: Err(broken) };
    let (upstream, host) = (&account.upstream, &account.upstream.host);
    if upstream.proxy.is_none() {
        let addresses = resolve(account).await.map_err(|error| broken("DNS", error))?;
        let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        step("DNS", Ok(format!("{host} is {}", list.join(", "))));
        let seen = reach(account, &addresses).await.map_err(|error| broken("TCP", error))?;
        step("TCP", Ok(seen));
    }
    let trust = tls::client_config(upstream.ca_file.as_deref())
        .map_err(|error| broken("TLS", distrust(account, &error)))?;
    if let Some(proxy) = &upstream.proxy {
        let reached = probe_connect(upstream.clone(), trust.clone()).await;
        reached.map_err(|failure| broken("proxy", explain(account, &failure)))?;
        step("proxy", Ok(format!("{proxy} connects us to {host}:{}", upstream.port)));
    }
    Ok(trust)
}

/// What a good login showed.
fn seen(account: &Account, offer: &Offer) -> String {
    let size = offer.max_size.filter(|size| *size > 0);
    let size = size.map_or_else(String::new, |size| format!("; mail up to {} MB", size >> 20));
    match &account.upstream.login {
        Login::Token => {
            let name = mechanism(account, offer, ["XOAUTH2", "OAUTHBEARER"]);
            format!("{} logged in with {name}{size}", account.mailbox)
        }
        Login::Password { username, .. } => {
            let name = mechanism(account, offer, ["PLAIN", "LOGIN"]);
            format!("{username:?} logged in with {name}{size}")
        }
        Login::Nobody => format!("{} asks for no login{size}", account.upstream.host),
    }
}

/// The mechanism that was used: the one that is named, else the first of these that is offered.
fn mechanism(account: &Account, offer: &Offer, ways: [&'static str; 2]) -> &'static str {
    match account.upstream.sasl {
        Sasl::XOAuth2 | Sasl::Plain => ways[0],
        Sasl::OAuthBearer | Sasl::Login => ways[1],
        Sasl::Auto if offer.has_mechanism(ways[0]) => ways[0],
        Sasl::Auto => ways[1],
    }
}

/// Who was reached: the server by its address, or by the proxy.
fn by(settings: &Upstream, peer: SocketAddr) -> String {
    match &settings.proxy {
        Some(proxy) => format!("what {proxy} leads to"),
        None => peer.to_string(),
    }
}

async fn resolve(account: &Account) -> Result<Vec<SocketAddr>, Broken> {
    let upstream = &account.upstream;
    let found = timeout(
        upstream.connect_timeout,
        tokio::net::lookup_host((upstream.host.as_str(), upstream.port)),
    );
    let what = match found.await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            if !addresses.is_empty() {
                return Ok(addresses);
            }
            format!("{} has no address", upstream.host)
        }
        Ok(Err(error)) => format!("{}: {error}", upstream.host),
        Err(_) => format!("{}: no answer from the name server", upstream.host),
    };
    Err(Broken { what, remedy: Some("check upstream.host and /etc/resolv.conf".into()) })
}

async fn reach(account: &Account, addresses: &[SocketAddr]) -> Result<String, Broken> {
    let mut what = String::new();
    for address in addresses {
        match timeout(account.upstream.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(format!("{address} answers")),
            Ok(Err(error)) => what = format!("{address}: {error}"),
            Err(_) => what = format!("{address}: no answer; a firewall drops it"),
        }
    }
    let remedy = format!(
        "let this machine reach port {} of {}; many networks block outgoing SMTP",
        account.upstream.port, account.upstream.host
    );
    Err(Broken { what, remedy: Some(remedy) })
}

fn distrust(account: &Account, error: &TrustError) -> Broken {
    let remedy = format!("mend `ca_file` in [account.upstream] of account {:?}", account.name);
    Broken { what: error.to_string(), remedy: Some(remedy) }
}

/// The failure with the remedy that is known for it.
fn explain(account: &Account, failure: &Failure) -> Broken {
    let Fault::Reply(reply) = &failure.fault else {
        let remedy = verdict::explain(failure).map(str::to_owned);
        return Broken { what: failure.to_string(), remedy };
    };
    let enhanced = reply.enhanced.map(|code| (code.0, code.1, code.2));
    let at = match failure.stage {
        Stage::Auth => Place::SignIn,
        _ => Place::Connection,
    };
    let known = exchange::find(reply.code, enhanced, &reply.text, at);
    let remedy = known.map(|known| {
        let names = request::names(account);
        format!("{}: {}", fill(known.meaning, &names), fill(known.remedy, &names))
    });
    Broken { what: failure.to_string(), remedy }
}
