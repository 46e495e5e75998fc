//! The walk of `submitd check`: DNS, TCP, SMTP, TLS, token, claims, EHLO, AUTH, MAIL, each step on its own.
//!
//! It goes the way a mail goes, with the same parts, and stops an account at the first broken step: what
//! lies behind it cannot be known and is told as not reached. What a token's claims give away is told as
//! a doubt and decides nothing. No mail is sent unless one is given ([`Trial`]).

mod explain;
mod mail;
mod reach;
pub mod setup;
mod token;

use crate::config::{Account, Upstream, UpstreamTls};
use crate::delivery::words::clean;
use crate::diagnosis::Class;
use crate::mail::{Address, BodyKind, Envelope};
use crate::oauth::TokenSource;
use crate::oauth::claims::Claims;
use crate::smtp::Reply;
use crate::smtp::offer::Offer;
use crate::tls;
use crate::upstream::smtp::{probe, probe_tls};
use crate::upstream::{Credential, Failure, Stage};
use bytes::Bytes;
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
    /// A mail, where one was given.
    Send,
}

impl Step {
    const ALL: [Step; 10] = [
        Step::Dns,
        Step::Tcp,
        Step::Smtp,
        Step::Tls,
        Step::Token,
        Step::Claims,
        Step::Ehlo,
        Step::Auth,
        Step::Mail,
        Step::Send,
    ];

    /// What people and programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Step::Dns => "DNS",
            Step::Tcp => "TCP",
            Step::Smtp => "SMTP",
            Step::Tls => "TLS",
            Step::Token => "token",
            Step::Claims => "claims",
            Step::Ehlo => "EHLO",
            Step::Auth => "AUTH",
            Step::Mail => "MAIL",
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
    let end = steps(account, hostname, tokens, trial, &mut outcome.claims, &mut tell).await;
    if let Err((broken_at, trouble)) = end {
        tell(broken_at, Finding::Broken(trouble.clone()));
        let implicit = account.upstream.tls == UpstreamTls::Implicit;
        for step in Step::ALL.into_iter().filter(|step| *step > broken_at) {
            let is_left_out =
                step == Step::Smtp && implicit || step == Step::Send && trial.mail.is_none();
            if !is_left_out {
                tell(step, Finding::NotReached);
            }
        }
        outcome.broken = Some(trouble);
    }
    outcome
}

async fn steps(
    account: &Account,
    hostname: &str,
    tokens: &impl TokenSource,
    trial: &Trial,
    claims: &mut Option<Claims>,
    tell: &mut impl FnMut(Step, Finding),
) -> Result<(), (Step, Trouble)> {
    let mut good = |step, seen| tell(step, Finding::Good(seen));
    let addresses = reach::resolve(account).await.map_err(|broken| (Step::Dns, broken))?;
    good(Step::Dns, reach::list(account, &addresses));
    good(Step::Tcp, reach::reach(account, &addresses).await.map_err(|broken| (Step::Tcp, broken))?);
    let trust = tls::client_config(account.upstream.ca_file.as_deref())
        .map_err(|error| (Step::Tls, explain::distrust(account, &error)))?;
    let mut settings = account.upstream.clone();
    settings.command_timeout = settings.command_timeout.min(PATIENCE);
    settings.data_timeout = settings.data_timeout.min(2 * PATIENCE);
    let peer = probe_tls(settings.clone(), hostname.to_owned(), Arc::clone(&trust)).await;
    let starttls = settings.tls == UpstreamTls::StartTls;
    let clear = "the server speaks SMTP and offers STARTTLS".to_owned();
    match peer {
        Ok(peer) => {
            if starttls {
                good(Step::Smtp, clear);
            }
            good(Step::Tls, format!("{peer} shows a good certificate for {}", settings.host));
        }
        Err(failure) if failure.stage == Stage::Tls && !explain::is_clear(&failure) => {
            if starttls {
                good(Step::Smtp, clear);
            }
            return Err((Step::Tls, explain::failure(account, &failure)));
        }
        Err(failure) => {
            let step = if starttls { Step::Smtp } else { Step::Tls };
            return Err((step, explain::failure(account, &failure)));
        }
    }
    let token = tokens.access_token(&account.name).await;
    let token = token.map_err(|error| (Step::Token, explain::token(account, error)))?;
    let life = token.usable_until.saturating_duration_since(Instant::now());
    let life = humantime::format_duration(Duration::from_secs(life.as_secs()));
    good(Step::Token, format!("from {}, good for {life}", account.oauth.token_url));
    *claims = Claims::read(token.secret.expose());
    tell_claims(account, claims.as_ref(), tell);
    let credential = Credential {
        mailbox: account.mailbox.clone(),
        audience: account.transport.audience(),
        token: token.secret,
        usable_until: token.usable_until,
    };
    let route = Route { settings, hostname: hostname.to_owned(), trust };
    log_in(account, route, &credential, trial, claims.as_ref(), tell).await
}

/// How to get to the server.
struct Route {
    settings: Upstream,
    hostname: String,
    trust: Arc<rustls::ClientConfig>,
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
        _ => tell(Step::Auth, Finding::Good(format!("{} logged in with XOAUTH2", account.mailbox))),
    }
    let reply = answer.map_err(|failure| (Step::Mail, broken(failure)))?;
    tell(Step::Mail, Finding::Good(format!("{sender} as sender: {}", clean(&reply.to_string()))));
    if let Some((_, message)) = &trial.mail {
        let reply = mail::send((settings, hostname, trust), credential, &envelope, message).await;
        let reply = reply.map_err(|failure| (Step::Send, broken(&failure)))?;
        tell(Step::Send, Finding::Good(clean(&reply.to_string())));
    }
    Ok(())
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
