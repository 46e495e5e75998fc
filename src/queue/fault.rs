//! What the queue cannot do, by what was asked of it: take, steer, read and write, open.

use super::State;
use crate::mail::Id;
use std::path::PathBuf;

/// Why a mail was not taken. The sender may try again in every case.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The queue's own bound or the disk's reserve is reached: 452 4.3.1.
    #[error("queue is full: {0}")]
    Full(String),
    /// The disk said no: 451 4.3.0.
    #[error("store failed: {0}")]
    Store(#[from] StoreError),
}

/// The store could not do what it was asked. Trying again later may help; the operator must look.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Why a person's order was not obeyed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SteerError {
    /// No such mail in the queue; it may have been settled.
    #[error("{0} is not in the queue")]
    Unknown(Id),
    /// Not in this state. `attempting` passes by itself: ask again.
    #[error("{id} is {state}; that cannot be done now")]
    State {
        /// The mail.
        id: Id,
        /// What holds for it.
        state: State,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("{}: in use by process {holder}; a second submitd needs a state_dir of its own", dir.display())]
    InUse {
        /// The store.
        dir: PathBuf,
        /// Its process id, or `unknown`.
        holder: String,
    },
    /// A newer submitd wrote it; it is left untouched.
    #[error("{}: written by a newer version (schema {found}, this one knows {known}); use that version", dir.display())]
    Newer {
        /// The store.
        dir: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file system said no.
    #[error("{}: {what}", dir.display())]
    Failed {
        /// The store.
        dir: PathBuf,
        /// What went wrong and what to do.
        what: String,
    },
}
