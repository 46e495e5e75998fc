//! From a host name to a connection that is logged in: resolve, TCP, TLS, EHLO, AUTH.
//!
//! It promises that the token is written only where chain and name of the certificate were verified, and
//! that a failure says at which stage it happened.

use super::drive::{Goal, Wire};
use super::{Connection, Patience, converse};
use crate::config::{Upstream, UpstreamTls};
use crate::smtp::client::{Dialogue, Event, Terms};
use crate::smtp::sasl_client;
use crate::upstream::{Credential, Failure, Fault, Stage};
use rustls::ClientConfig;
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
        let settings = &self.settings;
        let response = sasl_client::xoauth2(credential.mailbox.as_str(), &credential.token)
            .map_err(|error| Failure::at(Stage::Auth, Fault::Local(error.to_string())))?;
        let starttls = settings.tls == UpstreamTls::StartTls;
        let wire = Wire::connect(&settings.host, settings.port, settings.connect_timeout).await;
        let mut wire = wire.map_err(|fault| Failure::at(Stage::Connect, fault))?;
        if !starttls {
            wire = self.start_tls(wire).await?;
        }
        let hostname = self.hostname.clone();
        let mut dialogue = Dialogue::new(Terms { hostname, starttls, response });
        let mut patience = Patience::default();
        loop {
            match dialogue.advance() {
                Event::NeedInput => {
                    let until = patience.until(&dialogue, settings.command_timeout);
                    converse(&mut wire, &mut dialogue, Goal::Answer, until)
                        .await
                        .map_err(|fault| Failure::at(dialogue.step().into(), fault))?;
                }
                Event::StartTls => {
                    wire = self.start_tls(wire).await?;
                    dialogue.tls_started();
                }
                Event::Ready => break,
                Event::Failed(refusal) => return Err(Failure::of(refusal, &Fault::Closed)),
                other => {
                    let text = format!("{other:?} before the login");
                    return Err(Failure::at(dialogue.step().into(), Fault::Protocol(text)));
                }
            }
        }
        tracing::debug!(host = %settings.host, peer = %wire.peer, mailbox = %credential.mailbox, "logged in");
        Ok(Connection::new(wire, dialogue, credential.clone(), settings))
    }

    async fn start_tls(&self, wire: Wire) -> Result<Wire, Failure> {
        let settings = &self.settings;
        wire.start_tls(self.tls.clone(), &settings.host, settings.connect_timeout)
            .await
            .map_err(|fault| Failure::at(Stage::Tls, fault))
    }
}
