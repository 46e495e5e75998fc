//! From a host name to a connection that is logged in: resolve, TCP, TLS, EHLO, AUTH.
//!
//! It promises that the token is written only where chain and name of the certificate were verified, and
//! that a failure says at which stage it happened.

use super::drive::{Goal, Wire};
use super::{Connection, GOODBYE, Patience, converse};
use crate::config::{Upstream, UpstreamTls};
use crate::observe::redact;
use crate::secret::Secret;
use crate::smtp::Reply;
use crate::smtp::client::{Dialogue, Event, Terms};
use crate::smtp::offer::Offer;
use crate::smtp::sasl_client;
use crate::upstream::{Credential, Failure, Fault, Stage};
use rustls::ClientConfig;
use std::net::SocketAddr;
use std::sync::Arc;

/// How to get to one upstream.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub settings: Upstream,
    pub hostname: String,
    pub tls: Arc<ClientConfig>,
}

impl Route {
    /// Opens a connection and logs in.
    pub async fn open(&self, credential: &Credential) -> Result<Connection, Failure> {
        self.log_in(credential).await.1
    }

    /// The same; also what the server offers inside TLS, as far as it came to say so.
    pub async fn log_in(&self, credential: &Credential) -> (Offer, Result<Connection, Failure>) {
        let settings = &self.settings;
        let response = match sasl_client::xoauth2(credential.mailbox.as_str(), &credential.token) {
            Ok(response) => response,
            Err(error) => {
                let failure = Failure::at(Stage::Auth, Fault::Local(error.to_string()));
                return (Offer::default(), Err(failure));
            }
        };
        let (mut wire, mut dialogue) = match self.dial(response.clone()).await {
            Ok(dialled) => dialled,
            Err(failure) => return (Offer::default(), Err(failure)),
        };
        let event = self.advance(&mut wire, &mut dialogue).await;
        let offer = dialogue.offer().clone();
        let connection = match event {
            Ok(Event::Ready) => {
                tracing::debug!(host = %settings.host, peer = %wire.peer, mailbox = %credential.mailbox, "logged in");
                Ok(Connection::new(wire, dialogue, credential.clone(), settings))
            }
            Ok(other) => Err(unexpected(&dialogue, &other)),
            Err(failure) => Err(without_tokens(failure, &response, &credential.token)),
        };
        (offer, connection)
    }

    /// Opens a connection as far as TLS and closes it; no token is needed.
    pub async fn reach_tls(&self) -> Result<SocketAddr, Failure> {
        let (wire, _) = self.dial(Secret::new("")).await?;
        let peer = wire.peer;
        wire.close(GOODBYE).await;
        Ok(peer)
    }

    /// TCP, and the dialogue until TLS is there.
    async fn dial(&self, response: Secret) -> Result<(Wire, Dialogue), Failure> {
        let settings = &self.settings;
        let starttls = settings.tls == UpstreamTls::StartTls;
        let wire = Wire::connect(&settings.host, settings.port, settings.connect_timeout).await;
        let mut wire = wire.map_err(|fault| Failure::at(Stage::Connect, fault))?;
        let hostname = self.hostname.clone();
        let mut dialogue = Dialogue::new(Terms { hostname, starttls, response });
        if starttls {
            match self.advance(&mut wire, &mut dialogue).await? {
                Event::StartTls => {}
                other => return Err(unexpected(&dialogue, &other)),
            }
        }
        wire = self.start_tls(wire).await?;
        if starttls {
            dialogue.tls_started();
        }
        Ok((wire, dialogue))
    }

    /// Converses until the dialogue wants something of us.
    async fn advance(&self, wire: &mut Wire, dialogue: &mut Dialogue) -> Result<Event, Failure> {
        let mut patience = Patience::default();
        loop {
            match dialogue.advance() {
                Event::NeedInput => {
                    let until = patience.until(dialogue, self.settings.command_timeout);
                    converse(wire, dialogue, Goal::Answer, until)
                        .await
                        .map_err(|fault| Failure::at(dialogue.step().into(), fault))?;
                }
                Event::Failed(refusal) => return Err(Failure::of(refusal, &Fault::Closed)),
                event => return Ok(event),
            }
        }
    }

    async fn start_tls(&self, wire: Wire) -> Result<Wire, Failure> {
        let settings = &self.settings;
        wire.start_tls(self.tls.clone(), &settings.host, settings.connect_timeout)
            .await
            .map_err(|fault| Failure::at(Stage::Tls, fault))
    }
}

/// A server may give back what it was told; its reply goes into the log.
fn without_tokens(failure: Failure, response: &Secret, token: &Secret) -> Failure {
    let clean = |text: &str| redact::without_tokens(text, &[response.expose(), token.expose()]);
    let fault = match failure.fault {
        Fault::Reply(reply) => Fault::Reply(Reply { text: clean(&reply.text).into(), ..reply }),
        Fault::Protocol(text) => Fault::Protocol(clean(&text)),
        other => other,
    };
    Failure { fault, ..failure }
}

fn unexpected(dialogue: &Dialogue, event: &Event) -> Failure {
    let text = format!("{event:?} before the login");
    Failure::at(dialogue.step().into(), Fault::Protocol(text))
}
