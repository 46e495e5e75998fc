//! Mail that was taken and is not yet settled.
//!
//! It promises that a [`Receipt`] exists only when the mail is durable, and only a receipt can make a
//! 250; that an entry is durably marked `attempting` before its final dot; that nothing is deleted
//! because it is damaged. It knows nothing of SMTP sessions, tokens or upstreams.

pub mod body;
pub mod entry;
pub mod retry;
mod store;

pub use entry::{Entry, Next, RecipientState, Settlement, State, Submission};

use crate::mail::Id;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Proof that a mail is durable. Nothing but the store's commit makes one.
#[derive(Debug)]
pub struct Receipt {
    id: Id,
}

impl Receipt {
    /// The queue id of the mail that is safe now.
    pub fn id(&self) -> Id {
        self.id
    }
}

/// Where the store lies and how far it may grow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory; made with 0700 where it is missing.
    pub dir: PathBuf,
    /// Octets of bodies at most.
    pub max_size: u64,
    /// Octets that stay free on the disk for settlements.
    pub reserve: u64,
    /// How long settled mail is listed.
    pub history: Duration,
}

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

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("{}: in use by process {holder}", dir.display())]
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

/// The queue: cheap to clone, one store behind all clones.
#[derive(Clone, Debug)]
pub struct Queue {}

impl Queue {
    /// Opens or makes the store, recovers what a crash left (`attempting` becomes `uncertain`).
    ///
    /// # Errors
    /// [`OpenError`]; a store that cannot be opened is left as it is.
    pub fn open(_settings: Settings) -> Result<Self, OpenError> {
        todo!()
    }

    /// A place for a body that is about to come.
    pub fn spool(&self) -> body::Writer {
        todo!()
    }

    /// Whether there is room for `size` more octets; cheap, asked at MAIL.
    ///
    /// # Errors
    /// [`AcceptError::Full`].
    pub fn has_room(&self, _size: u64) -> Result<(), AcceptError> {
        todo!()
    }

    /// Makes the mail durable.
    ///
    /// # Errors
    /// [`AcceptError`]; nothing of the mail is kept then.
    pub async fn accept(&self, _submission: Submission) -> Result<Receipt, AcceptError> {
        todo!()
    }

    /// At most `most` entries of `account` that are due at `now`, in order of due time; `skip` are in hand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due(
        &self,
        _account: &str,
        _now: SystemTime,
        _most: usize,
        _skip: &[Id],
    ) -> Result<Vec<Entry>, StoreError> {
        todo!()
    }

    /// When the next entry of `account` is due; none where it has none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next_due(&self, _account: &str) -> Result<Option<SystemTime>, StoreError> {
        todo!()
    }

    /// Waits until something of `account` was accepted, released or settled since the last call.
    pub async fn changed(&self, _account: &str) {
        todo!()
    }

    /// Opens the body, checks its length and checksum as it is read.
    ///
    /// # Errors
    /// [`StoreError`] where it is gone or damaged.
    pub async fn body(&self, _entry: &Entry) -> Result<body::Reader, StoreError> {
        todo!()
    }

    /// Durably marks that the final dot is about to be sent.
    ///
    /// # Errors
    /// [`StoreError`]: then the dot must not be sent.
    pub async fn attempting(&self, _id: Id) -> Result<(), StoreError> {
        todo!()
    }

    /// Durably notes what became of a try; a bounce in it is queued in the same transaction.
    ///
    /// # Errors
    /// [`StoreError`]: the lane must stop until it can settle.
    pub async fn settle(&self, _id: Id, _settlement: Settlement) -> Result<(), StoreError> {
        todo!()
    }
}
