//! The walk of `submitd check`: DNS, TCP, TLS, token, AUTH, each step on its own.
//!
//! It goes the way a mail goes, with the same parts, and stops an account at the first broken step: what
//! lies behind it cannot be known. No mail is sent.

use crate::config::Account;
use crate::delivery::verdict;
use crate::diagnosis::exchange::{self, Place};
use crate::diagnosis::fill;
use crate::oauth::{TokenSource, request};
use crate::smtp::offer::Offer;
use crate::tls::{self, TrustError};
use crate::upstream::smtp::{probe, probe_tls};
use crate::upstream::{Credential, Failure, Fault, Stage};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Somebody sits before the screen: no answer is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// One step and what it showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `DNS`, `TCP`, `SMTP`, `TLS`, `token`, `AUTH`; `SMTP` only where it broke.
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
    let addresses = match resolve(account).await {
        Ok(addresses) => addresses,
        Err(broken) => return step("DNS", Err(broken)),
    };
    let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    step("DNS", Ok(format!("{} is {}", account.upstream.host, list.join(", "))));
    if !step("TCP", reach(account, &addresses).await) {
        return false;
    }
    let trust = match tls::client_config(account.upstream.ca_file.as_deref()) {
        Ok(trust) => trust,
        Err(error) => return step("TLS", Err(distrust(account, &error))),
    };
    let (mut settings, hostname) = (account.upstream.clone(), hostname.to_owned());
    settings.command_timeout = settings.command_timeout.min(PATIENCE);
    match probe_tls(settings.clone(), hostname.clone(), trust.clone()).await {
        Ok(peer) => {
            let seen = format!("{peer} shows a good certificate for {}", settings.host);
            step("TLS", Ok(seen));
        }
        Err(failure) => {
            let name = if failure.stage < Stage::Tls { "SMTP" } else { "TLS" };
            return step(name, Err(explain(account, &failure)));
        }
    }
    let token = match tokens.access_token(&account.name).await {
        Ok(token) => token,
        Err(error) => {
            return step("token", Err(Broken { what: error.message, remedy: error.remedy }));
        }
    };
    let life = token.usable_until.saturating_duration_since(std::time::Instant::now());
    let life = humantime::format_duration(Duration::from_secs(life.as_secs()));
    step("token", Ok(format!("from {}, good for {life}", account.oauth.token_url)));
    let credential = Credential {
        mailbox: account.mailbox.clone(),
        token: token.secret,
        usable_until: token.usable_until,
    };
    let login = probe(settings, hostname, trust, &credential).await;
    step("AUTH", login.map(|offer| seen(account, &offer)).map_err(|error| explain(account, &error)))
}

/// What a good login showed.
fn seen(account: &Account, offer: &Offer) -> String {
    let size = offer.max_size.filter(|size| *size > 0);
    let size = size.map_or_else(String::new, |size| format!("; mail up to {} MB", size >> 20));
    format!("{} logged in with XOAUTH2{size}", account.mailbox)
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
