//! Mail that was taken and is not yet settled.
//!
//! It promises that a [`Receipt`] exists only when the mail is durable, and only a receipt can make a
//! 250; that an entry is durably marked `attempting` before its final dot; that nothing is deleted
//! because it is damaged. It knows nothing of SMTP sessions, tokens or upstreams.

pub mod body;
mod check;
mod coming;
mod desk;
mod detour;
mod due;
pub mod entry;
mod fault;
mod list;
mod pulse;
mod reader;
pub mod retry;
mod room;
mod row;
mod schema;
mod scribe;
mod settings;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod turn;
mod view;
mod wake;
mod work;

pub use check::{Findings, Problem};
pub use coming::Coming;
pub use detour::Detour;
pub use entry::{Entry, Next, RecipientState, Settled, Settlement, State, Submission};
pub use fault::{AcceptError, OpenError, SteerError, StoreError};
pub use list::{Filter, Page, Sender};
pub use settings::{Recovery, Settings};
pub use tally::Charge;
pub use view::{Count, View};

use crate::mail::Id;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Shared, Store};
use view::Found;
use work::{Refusal, Work};

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

/// The queue: cheap to clone, one store behind all clones. The last clone dropped closes it.
#[derive(Clone, Debug)]
pub struct Queue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    /// What delivery reads through, so that a long list does not stop it.
    lanes: Arc<View>,
    /// What people read through.
    desk: Arc<View>,
    recovery: Recovery,
    detours: Vec<Detour>,
}

impl Queue {
    /// Opens or makes the store, recovers what a crash left (`attempting` becomes `uncertain`).
    ///
    /// # Errors
    /// [`OpenError`]; a store that cannot be opened is left as it is.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let Settings { dir, max_size, reserve, history, hold } = settings;
        let failed =
            |error: std::io::Error| OpenError::Failed { dir: dir.clone(), what: error.to_string() };
        let spool = Arc::new(body::Spool::new(schema::bodies(&dir)));
        let mut opened = schema::open(&dir, &spool, reserve, &hold)?;
        let recovery = std::mem::take(&mut opened.recovery);
        let detours = std::mem::take(&mut opened.detours);
        let room = room::Room::new(&schema::database(&dir), max_size, reserve).map_err(failed)?;
        let shared = Arc::new(Shared {
            room: Arc::new(room),
            recent: wake::Recent::default(),
            bells: wake::Bells::default(),
            awaited: Arc::default(),
            spool,
            commits: 0.into(),
            pulse: Arc::default(),
            history: AtomicU64::new(history.as_secs()),
        });
        let lanes = Arc::new(View::open(&dir)?);
        let desk = Arc::new(View::open(&dir)?);
        let store = Store::start(opened, shared).map_err(failed)?;
        Ok(Self { inner: Arc::new(Inner { store, lanes, desk, recovery, detours }) })
    }

    /// Other bounds from now on; what is in the queue stays, however much it is.
    pub fn set_bounds(&self, max_size: u64, reserve: u64, history: Duration) {
        self.shared().room.set_bounds(max_size, reserve);
        self.shared().history.store(history.as_secs(), Ordering::Relaxed);
    }

    /// What opening had to mend.
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// Writes what was asked for so far and ends the writer; everything later fails.
    pub async fn close(&self) {
        let inner = self.inner.clone();
        // Fails only where the writer's end panicked, which was told then.
        let _ = tokio::task::spawn_blocking(move || inner.store.close()).await;
    }

    /// When the writer last showed that it lives: now where it waits for work, else when what it does began.
    pub fn alive(&self) -> std::time::Instant {
        self.shared().pulse.last()
    }

    /// Returns when the writer has ended: after [`Queue::close`], or because it broke. Nothing can be taken
    /// or settled then, and only a new process helps.
    pub async fn ended(&self) {
        self.shared().pulse.ended().await;
    }

    /// A client was asked for its mail: what else is to be written may wait a moment for it.
    pub fn expect(&self) -> Coming {
        self.shared().awaited.expect()
    }

    /// A place for a body that is about to come. It ends where the disk's reserve begins.
    pub fn spool(&self) -> body::Writer {
        body::Writer::within(self.shared().spool.clone(), self.shared().room.clone())
    }

    /// A place for the body of a report, which is part of settling: it may use the reserve.
    pub fn spool_report(&self) -> body::Writer {
        body::Writer::new(self.shared().spool.clone())
    }

    /// Whether there is room for `size` more octets; cheap, asked at MAIL.
    ///
    /// # Errors
    /// [`AcceptError::Full`].
    pub fn has_room(&self, size: u64) -> Result<(), AcceptError> {
        self.shared().room.fits(self.used(), size).map_err(AcceptError::Full)
    }

    /// Octets of bodies in the queue.
    pub fn used(&self) -> u64 {
        self.shared().room.used()
    }

    /// Commits so far; with many at work each holds the work of many.
    pub fn commits(&self) -> u64 {
        self.shared().commits.load(Ordering::Relaxed)
    }

    /// Makes the mail durable. Dropped while it waits, the mail may be kept or not.
    ///
    /// # Errors
    /// [`AcceptError`]; nothing of the mail is kept then.
    pub async fn accept(&self, submission: Submission) -> Result<Receipt, AcceptError> {
        self.inner.store.accept(submission).await
    }

    /// Waits until something of `account` was accepted, steered or settled; returns at once where that
    /// happened since the last return. Many changes may end one wait. It is for one waiter an account:
    /// two would share the wake-ups. A wait that is dropped loses none.
    pub async fn changed(&self, account: &str) {
        self.shared().bells.bell(account).notified().await;
    }

    /// Opens the body. What is in the store itself is verified here, a file as it is read. A body that
    /// is gone or damaged turns the mail into [`State::Damaged`], which no settlement but
    /// [`Next::Done`] undoes.
    ///
    /// # Errors
    /// [`StoreError`] where it is gone or damaged.
    pub async fn body(&self, entry: &Entry) -> Result<body::Reader, StoreError> {
        let id = entry.id;
        if let Some(octets) = self.shared().recent.get(id) {
            return Ok(reader::Reader::of_octets(octets));
        }
        match read(&self.inner.lanes, move |view| view.body(id)).await? {
            None => Err(Refusal::Unknown.into_error(id)),
            Some(Found::Octets(octets)) => Ok(reader::Reader::of_octets(octets)),
            Some(Found::File { file, size, digest }) => {
                let notes = self.inner.store.notes();
                let alarm = move |fault: &str| notes.damage(id.to_string(), fault.to_owned());
                Ok(reader::Reader::of_file(file, size, digest, Box::new(alarm)))
            }
            Some(Found::Damaged(fault)) => {
                self.inner.store.notes().damage(id.to_string(), fault.clone());
                Err(StoreError(format!("{id}: {fault}")))
            }
        }
    }

    /// Durably marks that the final dot is about to be sent.
    ///
    /// # Errors
    /// [`StoreError`]: then the dot must not be sent. The store failed, or a person held or removed
    /// the mail meanwhile.
    pub async fn attempting(&self, id: Id) -> Result<(), StoreError> {
        self.attempting_charged(id, None).await
    }

    /// As [`Queue::attempting`], and the recipients count against a lane's day from that commit on, also
    /// where a crash hides their fate. What was not taken comes back by [`Settlement::refund`].
    ///
    /// # Errors
    /// As [`Queue::attempting`]; nothing was counted then.
    pub async fn attempting_charged(
        &self,
        id: Id,
        charge: Option<Charge>,
    ) -> Result<(), StoreError> {
        let done = self.inner.store.perform(Work::Attempting(id, charge)).await;
        done.map_err(|refusal| refusal.into_error(id))
    }

    /// Durably notes what became of a try; a bounce in it is queued in the same transaction. A mail
    /// held or found damaged meanwhile stays so; one that was removed needs no settling and is no error.
    ///
    /// # Errors
    /// [`StoreError`]: the lane must stop until it can settle.
    pub async fn settle(&self, id: Id, settlement: Settlement) -> Result<(), StoreError> {
        self.inner.store.settle(id, settlement).await
    }

    fn shared(&self) -> &Shared {
        &self.inner.store.shared
    }
}

/// Reads off the async threads.
async fn read<T: Send + 'static>(
    view: &Arc<View>,
    look: impl FnOnce(&View) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let view = view.clone();
    let read = tokio::task::spawn_blocking(move || look(&view)).await;
    read.unwrap_or_else(|_| Err(StoreError("reading the store was stopped".into())))
}

/// Who holds the store in `dir`: the number of the process, as far as it is known; none where nobody does.
pub fn holder(dir: &std::path::Path) -> Option<String> {
    schema::holder(dir)
}

/// Looks into a store without holding it: while a daemon runs, or while none does.
///
/// # Errors
/// [`OpenError`] where there is none, or one this program does not know.
pub fn open_read_only(dir: &std::path::Path) -> Result<View, OpenError> {
    View::open(dir)
}
