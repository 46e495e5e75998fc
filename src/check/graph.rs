//! The walk of an account whose mail goes by Graph: DNS, TCP, TLS, token, claims, and a request that sends
//! nothing.
//!
//! Graph has no question that needs no more than Mail.Send. So `sendMail` is asked with what is no message:
//! whoever may send is told that it is none (400), everybody else why he may not.

use super::{Finding, Step, Trial, Trouble, explain, mail, reach, tell_claims};
use crate::config::{Account, Audience, HttpProxy, Transport, Upstream};
use crate::delivery::words::clean;
use crate::mail::{BodyKind, Envelope, Recipient};
use crate::oauth::TokenSource;
use crate::oauth::claims::Claims;
use crate::tls;
use crate::upstream::graph::Graph;
use crate::upstream::{Credential, Failure};
use std::time::{Duration, Instant};

/// Whether a proxy is asked for Graph, so that this machine's own way there says nothing.
pub(super) fn is_proxied(account: &Account) -> bool {
    matches!(account.oauth.proxy, HttpProxy::By(_))
}

/// All steps.
pub(super) async fn steps(
    account: &Account,
    tokens: &impl TokenSource,
    trial: &Trial,
    claims: &mut Option<Claims>,
    tell: &mut impl FnMut(Step, Finding),
) -> Result<(), (Step, Trouble)> {
    let graph = way(account)?;
    let Transport::Graph(settings) = &account.transport else { return Ok(()) };
    if !is_proxied(account) {
        let there = at_graph(account, settings);
        let remedy = format!(
            "let this machine reach {} by https, or set `proxy` in [account.oauth]",
            settings.url
        );
        let told = |trouble: Trouble| Trouble { remedy: Some(remedy.clone()), ..trouble };
        let addresses = reach::resolve(&there).await.map_err(|broken| (Step::Dns, told(broken)))?;
        tell(Step::Dns, Finding::Good(reach::list(&there, &addresses)));
        let seen =
            reach::reach(&there, &addresses).await.map_err(|broken| (Step::Tcp, told(broken)))?;
        tell(Step::Tcp, Finding::Good(seen));
    }
    if settings.url.scheme() == "https" {
        graph.greet().await.map_err(|failure| (Step::Tls, broken(account, &failure)))?;
        let seen = format!("{} shows a good certificate", account.server());
        tell(Step::Tls, Finding::Good(seen));
    }
    let token = tokens.access_token(&account.name).await;
    let token = token.map_err(|error| (Step::Token, explain::token(account, error)))?;
    let life = token.usable_until.saturating_duration_since(Instant::now());
    let life = humantime::format_duration(Duration::from_secs(life.as_secs()));
    let seen = format!("from {}, good for {life}", account.oauth.token_url);
    tell(Step::Token, Finding::Good(seen));
    *claims = Claims::read(token.secret.expose());
    tell_claims(account, claims.as_ref(), tell);
    let credential = credential(account, token);
    ask(account, &graph, &credential, trial, tell).await
}

/// The steps at Graph of an account whose SMTP does not let it in.
pub(super) async fn detour(
    account: &Account,
    tokens: &impl TokenSource,
    trial: &Trial,
    tell: &mut impl FnMut(Step, Finding),
) -> Result<(), (Step, Trouble)> {
    let graph = way(account)?;
    let token = tokens.access_token_for(&account.name, Audience::Graph).await;
    let token = token.map_err(|error| (Step::Graph, explain::token(account, error)))?;
    ask(account, &graph, &credential(account, token), trial, tell).await
}

/// The request that sends nothing, and the mail where there is one.
async fn ask(
    account: &Account,
    graph: &Graph,
    credential: &Credential,
    trial: &Trial,
    tell: &mut impl FnMut(Step, Finding),
) -> Result<(), (Step, Trouble)> {
    let said = graph.probe(credential).await;
    let said = said.map_err(|failure| (Step::Graph, broken(account, &failure)))?;
    let seen =
        format!("{} may send: to what is no message it says {}", account.mailbox, clean(&said));
    tell(Step::Graph, Finding::Good(seen));
    let Some((to, message)) = &trial.mail else { return Ok(()) };
    let envelope = Envelope {
        sender: Some(trial.from.clone().unwrap_or_else(|| account.mailbox.clone())),
        body: BodyKind::Undeclared,
        smtputf8: false,
        ret: None,
        envid: None,
        recipients: vec![Recipient::new(to.clone())],
    };
    let reply = mail::send(graph, credential, &envelope, message).await;
    let reply = reply.map_err(|failure| (Step::Send, broken(account, &failure)))?;
    tell(Step::Send, Finding::Good(clean(&reply.to_string())));
    Ok(())
}

fn broken(account: &Account, failure: &Failure) -> Trouble {
    explain::failure(account, failure)
}

fn way(account: &Account) -> Result<Graph, (Step, Trouble)> {
    let trust = tls::client_config(account.upstream.ca_file.as_deref())
        .map_err(|error| (Step::Tls, explain::distrust(account, &error)))?;
    let mut times = account.upstream.clone();
    times.command_timeout = times.command_timeout.min(super::PATIENCE);
    times.data_timeout = times.data_timeout.min(2 * super::PATIENCE);
    let Some(settings) = account.transport.graph() else {
        return Err((Step::Graph, no_graph()));
    };
    Ok(Graph::new(settings.clone(), times, account.oauth.proxy.clone(), &trust))
}

/// Never: only accounts with Graph come here.
fn no_graph() -> Trouble {
    let what = "this account does not use Graph".to_owned();
    Trouble {
        what,
        remedy: None,
        class: crate::diagnosis::Class::Administrator,
        needs_setup: false,
    }
}

fn credential(account: &Account, token: crate::oauth::AccessToken) -> Credential {
    Credential {
        mailbox: account.mailbox.clone(),
        audience: Audience::Graph,
        token: token.secret,
        usable_until: token.usable_until,
    }
}

/// The account with Graph's place as its server, for the first steps.
fn at_graph(account: &Account, settings: &crate::config::Graph) -> Account {
    let host = settings.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = settings.url.port_or_known_default().unwrap_or(443);
    Account { upstream: Upstream { host, port, ..account.upstream.clone() }, ..account.clone() }
}
