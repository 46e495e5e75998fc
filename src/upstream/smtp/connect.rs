//! From a host name to a connection that is logged in: resolve, TCP, TLS, EHLO, AUTH.
//!
//! It promises that a token is written only where chain and name of the certificate were verified, a
//! password where the configuration says so, and that a failure says at which stage it happened.

use super::drive::{Goal, Wire};
use super::{Connection, GOODBYE, Patience, converse};
use crate::config::{self, Sasl, Upstream, UpstreamTls};
use crate::observe::redact;
use crate::secret::Secret;
use crate::smtp::Reply;
use crate::smtp::client::{Dialogue, Event, Terms};
use crate::smtp::offer::Offer;
use crate::smtp::sasl::Mechanism;
use crate::smtp::sasl_client::Login;
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
        let login = match self.login(credential) {
            Ok(login) => login,
            Err(fault) => return (Offer::default(), Err(Failure::at(Stage::Auth, fault))),
        };
        let (mut wire, mut dialogue) = match self.dial(login.clone()).await {
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
            Err(failure) => {
                let clean = without_secrets(failure, &login, self.secret(credential));
                Err(self.of_password(clean))
            }
        };
        (offer, connection)
    }

    /// Whom the upstream is to see.
    fn login(&self, credential: &Credential) -> Result<Login, Fault> {
        let settings = &self.settings;
        let only = match settings.sasl {
            Sasl::Auto => None,
            Sasl::XOAuth2 => Some(Mechanism::XOAuth2),
            Sasl::OAuthBearer => Some(Mechanism::OAuthBearer),
            Sasl::Plain => Some(Mechanism::Plain),
            Sasl::Login => Some(Mechanism::Login),
        };
        let login = match &settings.login {
            // The configuration refuses it; here it must not be possible.
            config::Login::Token if settings.tls == UpstreamTls::None => {
                return Err(Fault::Local("a token is not sent without TLS".to_owned()));
            }
            config::Login::Token => {
                let (user, server) =
                    (credential.mailbox.as_str(), (&*settings.host, settings.port));
                Login::bearer(user, &credential.token, server, only)
            }
            config::Login::Password { username, password } => {
                Login::password(username, password, only)
            }
            config::Login::Nobody => Ok(Login::default()),
        };
        login.map_err(|error| Fault::Local(error.to_string()))
    }

    /// What proves who we are.
    fn secret<'a>(&'a self, credential: &'a Credential) -> &'a Secret {
        match &self.settings.login {
            config::Login::Password { password, .. } => password,
            config::Login::Token | config::Login::Nobody => &credential.token,
        }
    }

    /// Marks a refusal of a password: its remedy is another than a token's.
    fn of_password(&self, failure: Failure) -> Failure {
        match (&self.settings.login, failure) {
            (
                config::Login::Password { .. },
                Failure { stage: Stage::Auth, fault: Fault::Reply(reply) },
            ) => Failure::at(Stage::Auth, Fault::Login(reply)),
            (_, failure) => failure,
        }
    }

    /// Opens a connection, through the proxy where there is one, and closes it. Gives the address reached.
    pub async fn reach(&self) -> Result<SocketAddr, Failure> {
        let wire = Wire::connect(&self.settings).await;
        let wire = wire.map_err(|fault| Failure::at(Stage::Connect, fault))?;
        let peer = wire.peer;
        wire.close(GOODBYE).await;
        Ok(peer)
    }

    /// Opens a connection as far as TLS and closes it; no token is needed.
    pub async fn reach_tls(&self) -> Result<SocketAddr, Failure> {
        let (wire, _) = self.dial(Login::default()).await?;
        let peer = wire.peer;
        wire.close(GOODBYE).await;
        Ok(peer)
    }

    /// TCP, and the dialogue until TLS is there.
    async fn dial(&self, login: Login) -> Result<(Wire, Dialogue), Failure> {
        let settings = &self.settings;
        let starttls = settings.tls == UpstreamTls::StartTls;
        let wire = Wire::connect(settings).await;
        let mut wire = wire.map_err(|fault| Failure::at(Stage::Connect, fault))?;
        let hostname = self.hostname.clone();
        let mut dialogue = Dialogue::new(Terms { hostname, starttls, login });
        if starttls {
            match self.advance(&mut wire, &mut dialogue).await? {
                Event::StartTls => {}
                other => return Err(unexpected(&dialogue, &other)),
            }
        }
        if settings.tls != UpstreamTls::None {
            wire = self.start_tls(wire).await?;
        }
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
fn without_secrets(failure: Failure, login: &Login, secret: &Secret) -> Failure {
    let secrets: Vec<&str> = login.secrets().chain([secret]).map(Secret::expose).collect();
    let clean = |text: &str| redact::without_tokens(text, &secrets);
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
