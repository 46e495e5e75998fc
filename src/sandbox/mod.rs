//! A small Exchange Online, Microsoft Graph and Entra ID on loopback: to try a program without a tenant, and under our tests.
//!
//! It promises the dialogues, texts and limits that the real services were seen to have, and faults on
//! demand ([`Faults`]). Tokens and mails stay in memory; a directory can be named for the mails. It must
//! never be reached by strangers: the secrets of its default set-up are printed in the documentation.

mod aadsts;
mod certificate;
mod claims;
mod consent;
mod control;
mod cord;
mod delay;
mod entra;
mod exchange;
mod fault_value;
pub mod faults;
mod google;
mod graph;
mod hosts;
mod identities;
mod mailbox;
mod messages;
mod options;
mod page;
mod phrases;
mod proof;
mod random;
mod seen;
mod session;
mod sign_in;
mod submission;
mod texts;
mod token;
mod web;
mod world;

pub use certificate::CertificateError;
pub use consent::SignIns;
pub use faults::Faults;
pub use identities::Identities;
pub use messages::{Door, Message};
pub use options::{Excess, Limits, Mailbox, Options};
pub use world::Statistics;

use crate::secret::Secret;
use certificate::Certificates;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use world::World;

/// A running sandbox. It ends when this is dropped; [`Sandbox::stop`] waits for the end.
#[derive(Debug)]
pub struct Sandbox {
    world: Arc<World>,
    smtp: SocketAddr,
    web: SocketAddr,
    ca_file: CaFile,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken or not ours; another port helps.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The directory for mails, or the place of the authority's certificate.
    #[error("cannot write {}: {error}", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The certificates.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Sandbox {
    /// Starts a sandbox. It runs on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] where an address or the directory cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (smtp_listener, smtp) = listen(options.smtp).await?;
        let (web_listener, web) = listen(options.web).await?;
        let certificates = Certificates::make(&options.host_name)?;
        let ca_file = CaFile::write(options.dir.as_deref(), &certificates.authority)?;
        let world = Arc::new(World::new(options, certificates));
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(session::serve(Arc::clone(&world), smtp_listener, stop.clone())),
            tokio::spawn(web::serve(Arc::clone(&world), web_listener, stop.clone())),
        ];
        Ok(Self { world, smtp, web, ca_file, stop, tasks })
    }

    /// Where the mail server listens.
    pub fn smtp_addr(&self) -> SocketAddr {
        self.smtp
    }

    /// Base of the web port, `http://127.0.0.1:8587`; the page is at `/sandbox`.
    pub fn web_url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// The token endpoint of the tenant.
    pub fn token_url(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.web_url(), self.world.options.tenant)
    }

    /// The root of Microsoft Graph: `url` of `[account.graph]`.
    pub fn graph_url(&self) -> String {
        format!("{}/v1.0", self.web_url())
    }

    /// A token of the other provider that the application trusts, good for so long.
    pub fn federated_token(&self, life: std::time::Duration) -> crate::secret::Secret {
        let now = std::time::SystemTime::now();
        let token = self.world.tokens().give_federated(&self.world.options.identities, now, life);
        self.world.seen().add(token.expose());
        token
    }

    /// The authority's certificate: what a client has to trust.
    pub fn ca_pem(&self) -> &str {
        &self.world.certificates.authority
    }

    /// The file that holds [`Sandbox::ca_pem`], in the directory of the mails or a temporary one.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file.path
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.world.options
    }

    /// The mails that were taken and are still kept, oldest first.
    pub fn messages(&self) -> Vec<Arc<Message>> {
        self.world.messages.all()
    }

    /// Forgets the mails; counters go on.
    pub fn clear_messages(&self) {
        self.world.messages.clear();
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics {
        self.world.statistics()
    }

    /// What goes wrong now; counted faults show what is left of them.
    pub fn faults(&self) -> Faults {
        self.world.faults()
    }

    /// Says what goes wrong from now on; what was said before is forgotten.
    pub fn set_faults(&self, faults: Faults) {
        self.world.set_faults(faults);
    }

    /// Says how far one may go from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.world.set_limits(limits);
    }

    /// The tokens that are known, access and refresh: what nobody else may ever show.
    pub fn tokens(&self) -> Vec<Secret> {
        self.world.tokens().all()
    }

    /// Everything secret that was given out or came in so far, worth something still or not: tokens, codes,
    /// proofs, passwords, the right ones and the wrong ones. The newest ten thousand.
    pub fn secrets(&self) -> Vec<Secret> {
        self.world.seen().all()
    }

    /// Takes all access tokens back: the mail server refuses them from now on.
    pub fn revoke_access_tokens(&self) {
        self.world.tokens().revoke_access();
    }

    /// Takes all refresh tokens back (AADSTS50173).
    pub fn revoke_refresh_tokens(&self) {
        self.world.tokens().revoke_refresh();
    }

    /// Waits until so many mails were taken since the start, and gives those that are kept.
    pub async fn wait_for_messages(&self, count: u64) -> Vec<Arc<Message>> {
        self.wait_until(|statistics| statistics.messages >= count).await;
        self.messages()
    }

    /// Waits until the counters are so; woken by each change.
    pub async fn wait_until(&self, so: impl FnMut(&Statistics) -> bool) {
        self.world.wait_until(so).await;
    }

    /// The configuration that makes submitd send through this sandbox.
    pub fn account_toml(&self) -> String {
        let options = &self.world.options;
        let mailbox = options.mailboxes.first().map_or("erp@contoso.com", |first| &first.address);
        let quote = |text: &str| toml::Value::from(text).to_string();
        format!(
            "[[account]]\nname = \"sandbox\"\nmailbox = {}\ngrant = \"client_credentials\"\ntenant = {}\n\
             client_id = {}\nclient_secret = {}\n\n\
             [account.upstream]\nhost = \"localhost\"\nport = {}\nca_file = {}\n\n\
             [account.oauth]\ntoken_url = {}\n",
            quote(mailbox),
            quote(&options.tenant),
            quote(&options.client_id),
            quote(options.client_secret.expose()),
            self.smtp.port(),
            quote(&self.ca_file.path.to_string_lossy()),
            quote(&self.token_url()),
        )
    }

    /// Ends it: ports are free and connections cut when this returns.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The file with the authority; a directory made for it is removed at the end.
#[derive(Debug)]
struct CaFile {
    path: PathBuf,
    own: Option<PathBuf>,
}

impl CaFile {
    fn write(dir: Option<&Path>, pem: &str) -> Result<Self, StartError> {
        let failed = |path: &Path, error| StartError::Directory { path: path.to_owned(), error };
        let (dir, own) = match dir {
            Some(dir) => {
                std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
                (dir.to_owned(), None)
            }
            None => {
                // `create_dir` refuses what is already there: nobody can have laid a trap under the name.
                let dir =
                    std::env::temp_dir().join(format!("submitd-sandbox-{}", random::hex::<8>()));
                std::fs::create_dir(&dir).map_err(|error| failed(&dir, error))?;
                (dir.clone(), Some(dir))
            }
        };
        let path = dir.join("ca.pem");
        std::fs::write(&path, pem).map_err(|error| failed(&path, error))?;
        Ok(Self { path, own })
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        if let Some(own) = &self.own {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_dir(own);
        }
    }
}

#[cfg(test)]
mod tests;
