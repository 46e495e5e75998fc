//! The doors: binds addresses (or takes systemd's sockets) and opens them all together.
//!
//! It promises that a new set of listeners is bound whole before the old one changes, and that an open
//! session outlives every reload.

mod bind;
mod crowd;
mod entrance;
pub mod proxy;

pub use bind::{BindError, Inherited};

use crate::config::{ListenAddress, Mode};
use crate::session::Shared;
use arc_swap::ArcSwap;
use bind::Socket;
use entrance::{Entrance, Rules};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// All doors of the daemon.
#[derive(Debug)]
pub struct Listeners {
    open: HashMap<ListenAddress, Door>,
    inherited: Vec<Inherited>,
    sessions: TaskTracker,
    stop_sessions: CancellationToken,
}

/// One bound address.
#[derive(Debug)]
struct Door {
    bound: ListenAddress,
    rules: Arc<ArcSwap<Rules>>,
    stop: CancellationToken,
    accepting: tokio::task::JoinHandle<()>,
    has_own_file: bool,
}

/// Sockets that are bound and not yet in use.
#[derive(Debug)]
pub struct Prepared {
    wanted: Vec<Arc<Shared>>,
    fresh: HashMap<ListenAddress, Socket>,
}

impl Listeners {
    /// No doors yet; `inherited` are systemd's sockets.
    pub fn new(inherited: Vec<Inherited>) -> Self {
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
        let mut fresh = HashMap::new();
        for shared in &wanted {
            let listener = &shared.listener;
            for address in listener.doors() {
                if self.open.contains_key(&address) {
                    continue;
                }
                match Socket::open(&address, listener.unix_mode, &mut self.inherited) {
                    Ok(socket) => {
                        fresh.insert(address, socket);
                    }
                    Err(error) if bind::is_missing_ipv6(&address, &listener.addresses, &error) => {
                        tracing::info!(%address, "this machine has no IPv6 loopback, going without");
                    }
                    Err(error) => return Err(BindError { address, error }),
                }
            }
        }
        Ok(Prepared { wanted, fresh })
    }

    /// Opens what was prepared, gives open doors their new settings, closes the rest. Cannot fail.
    pub fn apply(&mut self, mut prepared: Prepared) {
        let mut kept = HashMap::new();
        for shared in prepared.wanted {
            // Doors of one listener count together, also with those that were open before.
            let before = shared.listener.doors().find_map(|address| self.open.get(&address));
            let crowd = before.map(|door| door.rules.load().crowd.clone()).unwrap_or_default();
            for address in shared.listener.doors() {
                let rules = Rules { shared: shared.clone(), crowd: crowd.clone() };
                if let Some(door) = self.open.remove(&address) {
                    let mode = shared.listener.unix_mode;
                    if door.has_own_file && door.rules.load().shared.listener.unix_mode != mode {
                        bind::change_mode(&address, mode);
                    }
                    door.rules.store(Arc::new(rules));
                    kept.insert(address, door);
                } else if let Some(socket) = prepared.fresh.remove(&address) {
                    let door = self.open_door(&address, socket, rules);
                    kept.insert(address, door);
                }
            }
        }
        for (address, door) in self.open.drain() {
            tracing::info!(%address, "no longer listening");
            door.stop.cancel();
        }
        self.open = kept;
        for socket in self.inherited.iter().filter_map(Inherited::address) {
            tracing::warn!(address = %socket, "systemd holds a socket that no [[listener]] names");
        }
    }

    /// Where we listen on TCP, ports filled in, in order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let tcp = |address| match address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        };
        self.doors().into_iter().filter_map(tcp).collect()
    }

    /// Where we listen, ports filled in, in order, TCP first.
    pub fn doors(&self) -> Vec<ListenAddress> {
        let mut doors: Vec<_> = self.open.values().map(|door| door.bound.clone()).collect();
        doors.sort();
        doors
    }

    /// Takes no new connection, lets mail that has begun finish, at most for `bound`. True: all ended.
    pub async fn drain(&mut self, bound: Duration) -> bool {
        for door in self.open.values() {
            door.stop.cancel();
        }
        for (_, door) in self.open.drain() {
            // The socket's file is gone when this returns.
            let _ = door.accepting.await;
        }
        self.stop_sessions.cancel();
        self.sessions.close();
        tokio::time::timeout(bound, self.sessions.wait()).await.is_ok()
    }

    fn open_door(&self, address: &ListenAddress, socket: Socket, rules: Rules) -> Door {
        let bound = socket.bound(address);
        let mode = match rules.shared.listener.mode {
            Mode::Queue => "queue",
            Mode::Direct(_) => "direct",
        };
        tracing::info!(address = %bound, mode, "listening");
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let stop = CancellationToken::new();
        let has_own_file = socket.has_own_file();
        let entrance = Entrance {
            socket,
            rules: rules.clone(),
            sessions: self.sessions.clone(),
            stop_sessions: self.stop_sessions.clone(),
        };
        let accepting = tokio::spawn(entrance.accept_until(stop.clone()));
        Door { bound, rules, stop, accepting, has_own_file }
    }
}
