//! Where mails are read: over the daemon's socket, or straight from the store where no daemon runs.

use crate::admin::wire::{Findings, Mail, MailPage, Query};
use crate::cli::control::{self, Control, ControlError, surroundings};
use crate::cli::exit;
use crate::cli::store::{self, AccessError};
use crate::mail::Id;
use crate::queue::{StoreError, View};
use reqwest::{Method, StatusCode};
use std::io;
use std::path::Path;

/// Why a command of `queue` could not be done.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The command line.
    #[error("{0}")]
    Usage(&'static str),
    /// What was asked for cannot be understood.
    #[error("{0}")]
    Question(String),
    /// The daemon.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The store.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What is in the store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A file, or standard output.
    #[error("{0}: {1}")]
    Output(String, io::Error),
    /// No daemon is there to obey.
    #[error("{0}; only a running daemon holds, releases, retries or removes mail: start it first")]
    NobodyObeys(ControlError),
}

impl SourceError {
    /// The exit code of a command that could not go on.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Question(_) => exit::USAGE,
            Self::Control(ControlError::Refused { status: StatusCode::BAD_REQUEST, .. }) => {
                exit::USAGE
            }
            Self::Control(error) | Self::NobodyObeys(error) => error.code(),
            Self::Access(error) => error.code(),
            Self::Store(_) => exit::FAILED,
            Self::Output(..) => exit::IO,
        }
    }
}

/// Where mails are read.
#[derive(Debug)]
pub enum Source {
    /// A daemon.
    Daemon(Control),
    /// The store alone.
    Store(Box<View>),
}

impl Source {
    /// The daemon; where none runs, its store, which is said on standard error.
    ///
    /// # Errors
    /// [`SourceError`] where neither can be had.
    pub async fn open(file: Option<&Path>) -> Result<Self, SourceError> {
        let glance = surroundings(file)?;
        match Control::reach(&glance).await {
            Ok(control) => Ok(Self::Daemon(control)),
            Err(error @ (ControlError::Absent(_) | ControlError::Off)) => {
                let view = store::open(&glance.state_dir)?;
                eprintln!("submitd: {error}; this is what its store says");
                Ok(Self::Store(Box::new(view)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One page of a list.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn page(&self, query: &Query) -> Result<MailPage, SourceError> {
        let view = match self {
            Self::Daemon(control) => {
                return Ok(control.get(&format!("/v1/queue?{}", query.encoded())).await?);
            }
            Self::Store(view) => view,
        };
        let filter = query.filter().map_err(SourceError::Question)?;
        if query.delivered {
            let page = view.past(&filter)?;
            return Ok(MailPage {
                mails: page.mails.iter().map(Mail::from).collect(),
                next: page.next,
            });
        }
        let page = view.page(&filter)?;
        let mails = page.mails.iter().map(|entry| Mail::queued(entry, false));
        Ok(MailPage { mails: mails.collect(), next: page.next })
    }

    /// One mail, also one that has left; none where nobody knows it.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn mail(&self, id: Id) -> Result<Option<Mail>, SourceError> {
        match self {
            Self::Daemon(control) => match control.get(&format!("/v1/queue/{id}")).await {
                Ok(mail) => Ok(Some(mail)),
                Err(ControlError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Self::Store(view) => Ok(match view.show(id)? {
                Some(entry) => Some(Mail::queued(&entry, false)),
                None => view.settled(id)?.as_ref().map(Mail::from),
            }),
        }
    }

    /// Hands over the message piece by piece.
    ///
    /// # Errors
    /// [`SourceError`] where it is not there, or damaged: what was handed over so far is not all of it.
    pub async fn message(
        &self,
        id: Id,
        mut take: impl FnMut(&[u8]) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        match self {
            Self::Daemon(control) => {
                let path = format!("/v1/queue/{id}/message");
                let mut answer = control.open(Method::GET, &path, None::<&()>).await?;
                while let Some(chunk) = control::chunk(&mut answer).await? {
                    take(&chunk)?;
                }
                Ok(())
            }
            Self::Store(view) => take(&view.whole_body(id)?),
        }
    }

    /// Checks the whole store.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn check(&self) -> Result<Findings, SourceError> {
        match self {
            Self::Daemon(control) => Ok(control.patient()?.get("/v1/queue/check").await?),
            Self::Store(view) => Ok(view.check()?.into()),
        }
    }
}
