//! The doors: binds addresses (or takes systemd's sockets), accepts, counts, hands over to `session`.
//!
//! It promises that a new set of listeners is bound whole before the old one changes, that an open
//! session outlives every reload, and that running out of file descriptors ends nothing (it waits).

use crate::config::{Listener, Network};
use crate::session::{self, Refusal, Shared};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections the kernel holds for us while we are busy or restarting.
const BACKLOG: i32 = 1024;
/// Pause after accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {address}: {}", explain(.error))]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// Why.
    pub error: std::io::Error,
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "the port is taken; another submitd or mail server may run: see `ss -ltnp`".into()
        }
        ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE or socket activation".into()
        }
        _ => error.to_string(),
    }
}

/// All doors of the daemon.
#[derive(Debug)]
pub struct Listeners {
    open: HashMap<SocketAddr, Door>,
    inherited: Vec<std::net::TcpListener>,
    sessions: TaskTracker,
    stop_sessions: CancellationToken,
}

/// One bound address.
#[derive(Debug)]
struct Door {
    bound: SocketAddr,
    shared: Arc<ArcSwap<Shared>>,
    stop: CancellationToken,
}

/// Sockets that are bound and not yet in use.
#[derive(Debug)]
pub struct Prepared {
    wanted: Vec<(SocketAddr, Arc<Shared>)>,
    fresh: HashMap<SocketAddr, TcpListener>,
}

impl Listeners {
    /// No doors yet; `inherited` are systemd's sockets (sd_listen_fds(3)).
    pub fn new(inherited: Vec<std::net::TcpListener>) -> Self {
        Self {
            open: HashMap::new(),
            inherited,
            sessions: TaskTracker::new(),
            stop_sessions: CancellationToken::new(),
        }
    }

    /// Binds what `wanted` names and is not open yet; nothing else changes.
    ///
    /// # Errors
    /// [`BindError`]; what was bound for it is closed again.
    pub fn prepare(&mut self, wanted: Vec<Arc<Shared>>) -> Result<Prepared, BindError> {
        let wanted: Vec<_> = wanted
            .into_iter()
            .flat_map(|shared| {
                let addresses = shared.listener.addresses.clone();
                addresses.into_iter().map(move |address| (address, shared.clone()))
            })
            .collect();
        let mut fresh = HashMap::new();
        for (address, shared) in &wanted {
            if self.open.contains_key(address) {
                continue;
            }
            match self.bind(*address) {
                Ok(listener) => {
                    fresh.insert(*address, listener);
                }
                Err(error) if is_missing_ipv6(*address, &shared.listener, &error) => {
                    tracing::info!(%address, "this machine has no IPv6 loopback, going without");
                }
                Err(error) => return Err(BindError { address: *address, error }),
            }
        }
        Ok(Prepared { wanted, fresh })
    }

    /// Opens what was prepared, gives open doors their new settings, closes the rest. Cannot fail.
    pub fn apply(&mut self, mut prepared: Prepared) {
        let mut kept = HashMap::new();
        for (address, shared) in prepared.wanted {
            if let Some(door) = self.open.remove(&address) {
                door.shared.store(shared);
                kept.insert(address, door);
            } else if let Some(listener) = prepared.fresh.remove(&address) {
                kept.insert(address, self.open_door(address, listener, shared));
            }
        }
        for (address, door) in self.open.drain() {
            tracing::info!(%address, "no longer listening");
            door.stop.cancel();
        }
        self.open = kept;
    }

    /// Where we listen, ports filled in, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.open.values().map(|door| door.bound).collect();
        addresses.sort();
        addresses
    }

    /// Takes no new connection, lets mail that has begun finish, at most for `bound`. True: all ended.
    pub async fn drain(&mut self, bound: Duration) -> bool {
        for door in self.open.values() {
            door.stop.cancel();
        }
        self.stop_sessions.cancel();
        self.sessions.close();
        tokio::time::timeout(bound, self.sessions.wait()).await.is_ok()
    }

    fn bind(&mut self, address: SocketAddr) -> std::io::Result<TcpListener> {
        let given = self
            .inherited
            .iter()
            .position(|socket| socket.local_addr().is_ok_and(|bound| bound == address));
        if let Some(given) = given {
            let socket = self.inherited.swap_remove(given);
            socket.set_nonblocking(true)?;
            return TcpListener::from_std(socket);
        }
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }

    fn open_door(&self, address: SocketAddr, listener: TcpListener, shared: Arc<Shared>) -> Door {
        let bound = listener.local_addr().unwrap_or(address);
        tracing::info!(address = %bound, "listening");
        let shared = Arc::new(ArcSwap::new(shared));
        let stop = CancellationToken::new();
        let entrance = Entrance {
            listener,
            shared: shared.clone(),
            connections: Arc::default(),
            sessions: self.sessions.clone(),
            stop_sessions: self.stop_sessions.clone(),
        };
        tokio::spawn(entrance.accept_until(stop.clone()));
        Door { bound, shared, stop }
    }
}

/// `localhost` stands for both loopbacks; a machine without IPv6 has only one.
fn is_missing_ipv6(address: SocketAddr, listener: &Listener, error: &std::io::Error) -> bool {
    address.is_ipv6()
        && address.ip().is_loopback()
        && listener.addresses.iter().any(SocketAddr::is_ipv4)
        && (error.kind() == ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(EAFNOSUPPORT))
}

/// Linux: address family not supported by protocol.
const EAFNOSUPPORT: i32 = 97;

/// One accepting socket.
struct Entrance {
    listener: TcpListener,
    shared: Arc<ArcSwap<Shared>>,
    connections: Arc<AtomicUsize>,
    sessions: TaskTracker,
    stop_sessions: CancellationToken,
}

impl Entrance {
    async fn accept_until(self, stop: CancellationToken) {
        let mut complained = false;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    complained = false;
                    self.admit(stream, peer);
                }
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

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let shared = self.shared.load_full();
        // Replies are single writes; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let address = peer.ip().to_canonical();
        let slot = Slot::take(&self.connections);
        let refusal = if !is_client(&shared.listener.clients, address) {
            Some(Refusal::NotAllowed)
        } else if slot.number > shared.listener.max_connections {
            Some(Refusal::TooMany)
        } else {
            None
        };
        let stop = self.stop_sessions.clone();
        self.sessions.spawn(async move {
            match refusal {
                None => session::serve(stream, Some(address), shared, stop).await,
                Some(why) => {
                    tracing::warn!(peer = %address, ?why, "connection refused");
                    session::refuse(stream, &shared, why).await;
                }
            }
            drop(slot);
        });
    }
}

/// A connection that counts until it is dropped.
struct Slot {
    connections: Arc<AtomicUsize>,
    number: usize,
}

impl Slot {
    fn take(connections: &Arc<AtomicUsize>) -> Self {
        let number = connections.fetch_add(1, Ordering::Relaxed) + 1;
        Self { connections: connections.clone(), number }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn is_client(clients: &[Network], address: IpAddr) -> bool {
    clients.iter().any(|network| network.contains(address))
}
