//! The admin socket: where the daemon is watched and steered, HTTP and JSON over a Unix socket.
//!
//! It promises that nobody but root, our own user and the group of the configuration gets an answer, that
//! the socket is replaced only where nobody listens on it, that who asks and does not read the answer holds up
//! nothing, and that mail flows whether or not it is open.
//! It steers `queue`, `oauth` and `delivery`; no mail goes through it. What is said over it is `wire`.

mod accounts;
mod answer;
mod desk;
mod mails;
mod peer;
mod sign_in;
mod status;
pub mod wire;

pub use accounts::describe;
pub use desk::{Desk, Scene};
pub use sign_in::lacks_graph;

use crate::config;
use crate::unix_socket::{self, SocketFile};
use axum::Router;
use axum::routing::{get, post};
use peer::{Door, Peer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Opens, changes and closes the socket.
#[derive(Debug)]
pub struct Gate {
    desk: Arc<Desk>,
    settings: config::Admin,
    open: Option<Open>,
}

/// Answers that are under way when we stop may take so long; a pager that nobody pages reads for ever.
const FAREWELL: Duration = Duration::from_secs(5);

/// A socket that is open.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: SocketFile,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Why the socket is not open.
#[derive(Debug, thiserror::Error)]
enum GateError {
    #[error("{}", explain(.0))]
    Bind(std::io::Error),
    #[error("there is no group {0:?} in /etc/group; name another, or write its number")]
    Group(String),
}

impl Gate {
    /// Nothing is open yet.
    pub fn new(desk: Arc<Desk>) -> Self {
        let settings = config::Admin { socket: None, group: None, others: Vec::new() };
        Self { desk, settings, open: None }
    }

    /// Opens the socket as the configuration says, in place of another one. A socket that cannot be had is
    /// told in the log and tried again with the next reload: mail does not need it.
    pub async fn change(&mut self, settings: &config::Admin) {
        if self.settings == *settings && (self.open.is_some() || settings.socket.is_none()) {
            return;
        }
        // What is under way goes on to its end; nobody waits for it.
        self.shut();
        self.settings = settings.clone();
        let Some(path) = &settings.socket else { return };
        match open(path, settings.group.as_ref(), &self.desk) {
            Ok(open) => {
                tracing::info!(socket = %path.display(), "the admin socket is open");
                self.open = Some(open);
            }
            Err(error) => tracing::error!(
                socket = %path.display(), %error,
                "no admin socket: submitd cannot be watched and steered, mail goes on"
            ),
        }
    }

    /// Where it is open.
    pub fn socket(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| open.path.as_path())
    }

    /// Closes it. Answers under way are given to their end, within bounds.
    pub async fn close(&mut self) {
        if let Some(serving) = self.shut() {
            // Fails where time is over, or where serving panicked, which was told then.
            let _ = tokio::time::timeout(FAREWELL, serving).await;
        }
    }

    /// Lets nobody in any more; the file is gone on return. Gives what ends with the last answer.
    fn shut(&mut self) -> Option<JoinHandle<()>> {
        let Open { file, stop, serving, .. } = self.open.take()?;
        drop(file);
        stop.cancel();
        Some(serving)
    }
}

fn open(path: &Path, group: Option<&config::Group>, desk: &Arc<Desk>) -> Result<Open, GateError> {
    let group = group.map(peer::number).transpose()?;
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    let (listener, file) = unix_socket::bind(path, mode, group).map_err(GateError::Bind)?;
    let door = Door::new(path, group.is_some()).map_err(GateError::Bind)?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, door, desk.clone(), stop.clone()));
    Ok(Open { path: path.to_owned(), file, stop, serving })
}

async fn serve(listener: UnixListener, door: Door, desk: Arc<Desk>, stop: CancellationToken) {
    let routes = routes()
        .layer(axum::middleware::from_fn_with_state(door, peer::admit))
        .with_state(desk)
        .into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the admin socket failed");
    }
}

/// What can be asked and ordered; one file a subject.
fn routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/accounts", get(accounts::list))
        .route("/v1/accounts/{name}", get(accounts::show))
        .route("/v1/queue", get(mails::list))
        .route("/v1/queue/check", get(mails::check))
        .route("/v1/queue/orders/{order}", post(mails::order))
        .route("/v1/queue/{id}", get(mails::show))
        .route("/v1/queue/{id}/message", get(mails::message))
        .route("/v1/accounts/{name}/sign-in", post(sign_in::sign_in))
        .route("/v1/accounts/{name}/revoke", post(sign_in::revoke))
        .fallback(answer::unknown)
        .method_not_allowed_fallback(answer::wrong_method)
}

fn explain(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{AddrInUse, AlreadyExists, NotFound, PermissionDenied};
    let words = match error.kind() {
        AddrInUse => {
            "the socket is taken; another submitd may run: give each an [admin] socket of its own"
        }
        AlreadyExists => {
            "there is a file of this name that is no socket; name another in [admin] socket"
        }
        NotFound => "its directory does not exist; systemd makes one with RuntimeDirectory=",
        PermissionDenied => "we may not write its directory, or not give the socket to this group",
        _ => return error.to_string(),
    };
    words.to_owned()
}
