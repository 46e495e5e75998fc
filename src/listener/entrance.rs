//! One accepting socket: takes connections in, learns whose they are, counts them, hands them to `session`.
//!
//! It promises that running out of file descriptors ends nothing (it waits, says so, and says when it is
//! over), and that only a named balancer can tell another address than its own.

use super::bind::{Connection, Socket};
use super::crowd::{Crowd, Place};
use super::proxy::{self, Progress, ProxyError};
use crate::config::Network;
use crate::session::{self, Refusal, Shared};
use arc_swap::ArcSwap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a balancer may take for its PROXY header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What an entrance lets in: settings and counts, replaced together by a reload.
#[derive(Debug)]
pub struct Rules {
    /// For the sessions.
    pub shared: Arc<Shared>,
    /// Who is connected to this listener.
    pub crowd: Arc<Crowd>,
}

/// One accepting socket.
pub struct Entrance {
    /// Where connections come from.
    pub socket: Socket,
    /// As they are now.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Every session of the daemon.
    pub sessions: TaskTracker,
    /// Asks the sessions to end.
    pub stop_sessions: CancellationToken,
}

impl Entrance {
    /// Accepts until it is stopped; then the socket is closed.
    pub async fn accept_until(self, stop: CancellationToken) {
        let mut complained = false;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok(()) if complained => {
                    complained = false;
                    tracing::info!("connections are accepted again");
                }
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // A19: EMFILE and kin. The connection waits in the backlog meanwhile.
                    if !std::mem::replace(&mut complained, true) {
                        tracing::error!(%error, "cannot accept connections, waiting; raise LimitNOFILE?");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(&self) -> std::io::Result<()> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are single writes; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                self.receive(stream, Some(peer.ip().to_canonical()));
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                self.receive(stream, None);
            }
        }
        Ok(())
    }

    fn receive<S: Connection>(&self, mut stream: S, peer: Option<IpAddr>) {
        let rules = self.rules.load_full();
        let stop = self.stop_sessions.clone();
        self.sessions.spawn(async move {
            // Boxed, so that an idle session does not carry its room.
            let admission = Box::pin(admit(&mut stream, peer, &rules)).await;
            let Rules { shared, crowd } = &*rules;
            let (shared, crowd) = (shared.clone(), crowd.clone());
            drop(rules);
            match admission {
                Ok((client, place)) => {
                    drop(crowd);
                    session::serve(stream, client, shared, stop).await;
                    drop(place);
                }
                Err(Turned::Away { client, why }) => {
                    if let Some(untold) = crowd.tell(std::time::Instant::now()) {
                        let peer = client.map(|client| client.to_string()).unwrap_or_default();
                        tracing::warn!(%peer, ?why, untold, "connection refused");
                    }
                    session::refuse(stream, &shared, why).await;
                }
                Err(Turned::Dropped(error)) => {
                    tracing::warn!(peer = ?peer, %error, "connection of a balancer dropped");
                }
            }
        });
    }
}

/// Why a connection gets no session.
enum Turned {
    /// It is told why.
    Away { client: Option<IpAddr>, why: Refusal },
    /// It did not say what it must; nothing can be told to whom we do not understand.
    Dropped(Unnamed),
}

/// Whose connection it is, counted; or why not. No address: a Unix socket, guarded by its mode.
async fn admit<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: Option<IpAddr>,
    rules: &Rules,
) -> Result<(Option<IpAddr>, Place), Turned> {
    let listener = &rules.shared.listener;
    let away = |client, why| Turned::Away { client, why };
    let Some(peer) = peer else {
        let place = rules.crowd.enter(listener.max_connections);
        return Ok((None, place.ok_or(away(None, Refusal::TooMany))?));
    };
    let is_balancer = is_in(&listener.proxy_protocol, peer);
    if !is_balancer && !is_in(&listener.clients, peer) {
        return Err(away(Some(peer), Refusal::NotAllowed));
    }
    let place = rules.crowd.enter(listener.max_connections);
    let mut place = place.ok_or(away(Some(peer), Refusal::TooMany))?;
    let client = match is_balancer {
        true => header(stream).await.map_err(Turned::Dropped)?.unwrap_or(peer),
        false => peer,
    };
    if !is_in(&listener.clients, client) {
        return Err(away(Some(client), Refusal::NotAllowed));
    }
    // On loopback all programs of the machine share one address.
    if !client.is_loopback() && !place.belongs_to(client, listener.max_connections_per_client) {
        return Err(away(Some(client), Refusal::TooManyOfClient));
    }
    Ok((Some(client), place))
}

/// A balancer did not name its client.
#[derive(Debug, thiserror::Error)]
enum Unnamed {
    #[error(transparent)]
    Header(#[from] ProxyError),
    #[error("{0} before the PROXY header was whole")]
    Broken(#[from] std::io::Error),
    #[error("no PROXY header within {} s", HEADER_TIMEOUT.as_secs())]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// Reads a PROXY header, and nothing of what follows it.
async fn header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, Unnamed> {
    let read = async {
        let mut octets = Vec::new();
        loop {
            match proxy::parse(&octets)? {
                Progress::Whole(client) => return Ok(client),
                Progress::More(count) => {
                    let begin = octets.len();
                    octets.resize(begin + count, 0);
                    // Not `read_exact`: what is shorter than a header must not have to wait for more.
                    let read = stream.read(&mut octets[begin..]).await?;
                    octets.truncate(begin + read);
                    if read == 0 {
                        return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
                    }
                }
            }
        }
    };
    tokio::time::timeout(HEADER_TIMEOUT, read).await?
}

fn is_in(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}
