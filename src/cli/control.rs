//! The client of the admin socket.
//!
//! It promises to find the daemon of the configuration without reading a secret, so that members of the
//! socket's group need no other right, and to tell a daemon that is down from one that refuses. It must not
//! show a peer's words raw: what it gives is `admin::wire`, to be shown by the commands.

use super::exit;
use crate::admin::wire::Refused;
use crate::config::{Glance, USUAL_FILE};
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the daemon may take to say the next word.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where it reads the whole store first.
const LONG_PATIENCE: Duration = Duration::from_secs(3_600);

/// Why the daemon did not do or show it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("the daemon is not running: nobody listens on {}", .0.display())]
    Absent(PathBuf),
    /// The socket is switched off.
    #[error("[admin] socket is \"off\": the daemon cannot be watched or steered")]
    Off,
    /// This user may not.
    #[error("{0}")]
    NotPermitted(String),
    /// The daemon says no.
    #[error("{words}")]
    Refused {
        /// The status of HTTP: 404 not there, 409 not now.
        status: StatusCode,
        /// Why.
        words: String,
    },
    /// It broke off, or what it said was not understood.
    #[error("the daemon's answer: {0}")]
    Answer(String),
    /// The file that was named is not there.
    #[error("{}: configuration: does not exist; write it, or name another", .0.display())]
    NoFile(PathBuf),
}

impl ControlError {
    /// The exit code of a command that could not go on.
    pub fn code(&self) -> u8 {
        match self {
            Self::Absent(_) | Self::Off => exit::UNAVAILABLE,
            Self::NotPermitted(_) => exit::NO_PERMISSION,
            Self::NoFile(_) => exit::CONFIG,
            Self::Refused { .. } | Self::Answer(_) => exit::FAILED,
        }
    }
}

/// Where the daemon is, and how it is asked.
#[derive(Debug)]
pub struct Control {
    client: Client,
    socket: PathBuf,
}

/// What of the configuration says where the daemon is.
///
/// # Errors
/// [`ControlError::NoFile`].
pub fn surroundings(file: Option<&Path>) -> Result<Glance, ControlError> {
    // One that is there and may not be read says nothing: what it would have said is the usual, mostly.
    if let Some(file) = file.filter(|file| matches!(file.try_exists(), Ok(false))) {
        return Err(ControlError::NoFile(file.to_owned()));
    }
    let variables = || {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    };
    if file.is_none() && !Path::new(USUAL_FILE).exists() {
        // One that an ordinary user runs for himself.
        let own = Glance::take(Some(Path::new(USUAL_FILE)), variables());
        if own.state_dir.is_dir() {
            return Ok(own);
        }
    }
    Ok(Glance::take(file, variables()))
}

impl Control {
    /// Finds the daemon.
    ///
    /// # Errors
    /// [`ControlError`] where it is not there or this user may not speak to it.
    pub async fn reach(glance: &Glance) -> Result<Self, ControlError> {
        let Some(usual) = &glance.admin.socket else { return Err(ControlError::Off) };
        let mut why = ControlError::Absent(usual.clone());
        for socket in std::iter::once(usual).chain(&glance.admin.others) {
            // Tried before it is used: reqwest does not tell why it could not connect.
            match tokio::net::UnixStream::connect(socket).await {
                Ok(_) => return Self::over(socket, PATIENCE),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    why = ControlError::NotPermitted(format!(
                        "{}: only root, the daemon's own user and the group of [admin] may use it",
                        socket.display()
                    ));
                }
                Err(_) => {}
            }
        }
        Err(why)
    }

    fn over(socket: &Path, patience: Duration) -> Result<Self, ControlError> {
        let client = Client::builder()
            .unix_socket(socket)
            .no_proxy()
            // Nothing here is https; without this the system's certificates would be read for nothing.
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .read_timeout(patience)
            .build()
            .map_err(|error| ControlError::Answer(error.to_string()))?;
        Ok(Self { client, socket: socket.to_owned() })
    }

    /// The same daemon, for a question whose answer may take an hour.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn patient(&self) -> Result<Self, ControlError> {
        Self::over(&self.socket, LONG_PATIENCE)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// Orders something.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ControlError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ControlError> {
        let mut answer = self.open(method, path, body).await?;
        let mut octets = Vec::new();
        while let Some(chunk) = chunk(&mut answer).await? {
            octets.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&octets).map_err(|error| ControlError::Answer(error.to_string()))
    }

    /// Asks, and gives the answer's body as it comes.
    ///
    /// # Errors
    /// [`ControlError`], also for an answer that is a refusal.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<reqwest::Response, ControlError> {
        let mut request = self.client.request(method, format!("http://submitd{path}"));
        if let Some(body) = body {
            let text = serde_json::to_string(body);
            let text = text.map_err(|error| ControlError::Answer(error.to_string()))?;
            request = request.header("content-type", "application/json").body(text);
        }
        let answer = request.send().await.map_err(broken)?;
        if answer.status().is_success() { Ok(answer) } else { Err(refused(answer).await) }
    }
}

/// The next piece of an answer; none at its end.
///
/// # Errors
/// [`ControlError::Answer`] where it broke off.
pub async fn chunk(answer: &mut reqwest::Response) -> Result<Option<bytes::Bytes>, ControlError> {
    answer.chunk().await.map_err(broken)
}

async fn refused(answer: reqwest::Response) -> ControlError {
    let status = answer.status();
    let octets = answer.bytes().await.unwrap_or_default();
    let words = match serde_json::from_slice::<Refused>(&octets) {
        Ok(refused) => refused.error,
        // Axum's own refusals of a question are plain text.
        Err(_) => format!("{status}: {}", String::from_utf8_lossy(&octets)),
    };
    match status {
        StatusCode::FORBIDDEN => ControlError::NotPermitted(words),
        _ => ControlError::Refused { status, words },
    }
}

fn broken(error: reqwest::Error) -> ControlError {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        words = cause.to_string();
        source = cause.source();
    }
    ControlError::Answer(words)
}
