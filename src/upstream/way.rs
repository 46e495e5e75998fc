//! The way an account's mail goes: SMTP, Graph, or SMTP with Graph as its detour.
//!
//! It promises that a mail goes the way for which its token was made. Which that is says `delivery`.

use super::graph::Graph;
use super::smtp::{Pool, Transit};
use super::{Courier, Credential, Failure, Fault, Outcome, Outgoing, Stage};
use crate::config::{Account, Audience, Transport};
use rustls::ClientConfig;
use std::sync::Arc;

/// One of the ways.
#[derive(Debug)]
pub enum Way {
    /// SMTP with XOAUTH2.
    Smtp(Pool),
    /// Graph.
    Graph(Box<Graph>),
    /// SMTP while it goes.
    Auto(Box<Detour>),
}

/// SMTP with Graph beside it.
#[derive(Debug)]
pub struct Detour {
    smtp: Pool,
    graph: Graph,
}

impl Way {
    /// The way of this account. `hostname` is our name in EHLO; `tls` verifies the server.
    pub fn new(account: &Account, hostname: String, tls: Arc<ClientConfig>) -> Self {
        let pool = |tls| Pool::new(account.upstream.clone(), hostname.clone(), tls);
        let by_graph = |graph: &crate::config::Graph| {
            Graph::new(graph.clone(), account.upstream.clone(), account.oauth.proxy.clone(), &tls)
        };
        match &account.transport {
            Transport::Smtp => Self::Smtp(pool(Arc::clone(&tls))),
            Transport::Graph(graph) => Self::Graph(Box::new(by_graph(graph))),
            Transport::Auto(graph) => Self::Auto(Box::new(Detour {
                graph: by_graph(graph),
                smtp: pool(Arc::clone(&tls)),
            })),
        }
    }

    /// Opens further connections under this name and with this trust.
    pub fn reroute(&self, hostname: String, tls: Arc<ClientConfig>) {
        match self {
            Self::Smtp(pool) => pool.reroute(hostname, tls),
            Self::Graph(graph) => graph.reroute(&tls),
            Self::Auto(detour) => {
                detour.graph.reroute(&tls);
                detour.smtp.reroute(hostname, tls);
            }
        }
    }
}

impl Courier for Way {
    async fn deliver(&self, mail: Outgoing<'_>, credential: &Credential) -> Outcome {
        match self {
            Self::Smtp(pool) => pool.deliver(mail, credential).await,
            Self::Graph(graph) => graph.deliver(mail, credential).await,
            Self::Auto(detour) => match credential.audience {
                Audience::Smtp => detour.smtp.deliver(mail, credential).await,
                Audience::Graph => detour.graph.deliver(mail, credential).await,
            },
        }
    }

    async fn transit(&self, credential: &Credential, is_fresh: bool) -> Result<Transit, Failure> {
        match self {
            Self::Smtp(pool) => pool.transit(credential, is_fresh).await,
            Self::Auto(detour) if credential.audience == Audience::Smtp => {
                detour.smtp.transit(credential, is_fresh).await
            }
            Self::Graph(_) | Self::Auto(_) => {
                let text = "Graph takes a mail only as a whole";
                let fault = Fault::Local(text.to_owned());
                Err(Failure { stage: Stage::Connect, fault })
            }
        }
    }

    async fn close_idle(&self) {
        match self {
            Self::Smtp(pool) => pool.close_idle().await,
            Self::Graph(_) => {}
            Self::Auto(detour) => detour.smtp.close_idle().await,
        }
    }
}
