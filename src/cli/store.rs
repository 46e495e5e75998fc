//! The queue's store as commands read it, beside a daemon or without one.

use super::exit;
use crate::queue::{OpenError, View};
use std::io::ErrorKind;
use std::path::Path;

/// Why the store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// This user may not.
    #[error("{0}: only root and the daemon's user may read the queue")]
    NotPermitted(String),
    /// There is none.
    #[error("{0}: there is no queue; has the daemon run, and is this its state_dir?")]
    Absent(String),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk.
    #[error("{0}: {1}")]
    Disk(String, std::io::Error),
}

impl AccessError {
    /// The exit code of a command that could not go on.
    pub fn code(&self) -> u8 {
        match self {
            Self::NotPermitted(_) => exit::NO_PERMISSION,
            Self::Absent(_) => exit::UNAVAILABLE,
            Self::Open(_) => exit::TEMPORARY,
            Self::Disk(..) => exit::IO,
        }
    }
}

/// Opens the store below `state_dir` to read.
///
/// # Errors
/// [`AccessError`].
pub fn open(state_dir: &Path) -> Result<View, AccessError> {
    let dir = state_dir.join("queue");
    // SQLite's own words do not tell a store that is not there from one this user may not see.
    if let Err(error) = std::fs::File::open(dir.join("queue.db")) {
        let place = dir.display().to_string();
        return Err(match error.kind() {
            ErrorKind::NotFound => AccessError::Absent(place),
            ErrorKind::PermissionDenied => AccessError::NotPermitted(place),
            _ => AccessError::Disk(place, error),
        });
    }
    Ok(View::open(&dir)?)
}
