//! TLS towards clients: the certificate of a listener, read anew when its files change.
//!
//! It promises that a handshake always finds a certificate that was good once: where new files are no good
//! the old one stays and the log says why, once for each change. Tickets and sessions of an old certificate
//! do not outlive it.

use crate::config::{Identity, IdentityError, ListenerTls, TlsStart, TlsVersion};
use arc_swap::ArcSwap;
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_rustls::TlsAcceptor;

/// The files are looked at no more often than this.
const LOOK: Duration = Duration::from_secs(1);

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Its files.
    #[error("listener: {0}")]
    Identity(#[from] IdentityError),
    /// rustls refused what it was given.
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// TLS of one listener under one configuration.
#[derive(Debug)]
pub struct DoorTls {
    identity: Identity,
    min_version: TlsVersion,
    start: TlsStart,
    current: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// When the files were looked at, and how they were.
#[derive(Debug)]
struct Seen {
    at: Instant,
    stamps: [Option<Stamp>; 2],
}

/// What of a file changes with its content: device, inode, length, time of change to the nanosecond.
type Stamp = (u64, u64, u64, i64, i64);

impl DoorTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] where they are no good.
    pub fn open(wanted: &ListenerTls) -> Result<Self, TlsError> {
        let ListenerTls { identity, min_version, start } = wanted.clone();
        let stamps = stamps(&identity);
        let current = ArcSwap::new(server_config(&identity, min_version)?);
        let seen = Mutex::new(Seen { at: Instant::now(), stamps });
        Ok(Self { identity, min_version, start, current, seen })
    }

    /// Whether it begins with the first octet.
    pub fn is_implicit(&self) -> bool {
        self.start == TlsStart::Implicit
    }

    /// For one handshake: with the files as they are now, give or take a second.
    pub async fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        if self.is_due() {
            let tls = self.clone();
            // Where it fails, the old certificate is as good as before.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
        }
        TlsAcceptor::from(self.current.load_full())
    }

    /// True for one caller a second.
    fn is_due(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = seen.at.elapsed() >= LOOK;
        if is_due {
            seen.at = Instant::now();
        }
        is_due
    }

    /// Reads the files anew where they changed.
    fn look(&self) {
        // Taken before reading: what changes meanwhile is seen the next time.
        let stamps = stamps(&self.identity);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamps == stamps {
            return;
        }
        seen.stamps = stamps;
        drop(seen);
        let file = self.identity.files()[0].display().to_string();
        match server_config(&self.identity, self.min_version) {
            Ok(config) => {
                self.current.store(config);
                tracing::info!(certificate = %file, "certificate changed, new connections get it");
            }
            Err(error) => {
                tracing::error!(certificate = %file, %error, "new certificate refused, the old one stays");
            }
        }
    }
}

fn server_config(
    identity: &Identity,
    min_version: TlsVersion,
) -> Result<Arc<ServerConfig>, TlsError> {
    const ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    let versions = match min_version {
        TlsVersion::Tls12 => &ALL[..],
        TlsVersion::Tls13 => &ALL[..1],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver = Arc::new(SingleCertAndKey::from(identity.read()?));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    Ok(Arc::new(config))
}

fn stamps(identity: &Identity) -> [Option<Stamp>; 2] {
    identity.files().map(stamp)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
}
