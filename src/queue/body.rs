//! The bodies of queued mail: small ones in memory and in the store, large ones streamed to files.
//!
//! It promises that memory stays flat however large a body is, and that a body dropped unfinished or
//! unaccepted leaves nothing. It does not know what a message is.

pub use super::reader::Reader;

use super::room::{self, Room};
use super::{AcceptError, StoreError, reader, row};
use crate::durable::Draft;
use crate::mail::Id;
use bytes::Bytes;
use ring::digest;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::spawn_blocking;

/// Bodies up to here lie in the store itself, larger ones in files.
pub const INLINE: usize = room::INLINE;
/// What goes to and comes from a file at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// The directory of body files.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    next: AtomicU64,
}

impl Spool {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, next: AtomicU64::new(0) }
    }

    /// Where the body of a mail lies that is not in the store itself.
    pub(super) fn path(&self, id: Id) -> PathBuf {
        self.dir.join(id.as_str())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A name nobody else has: one process holds the store, and it counts.
    fn draft_path(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{}-{number}.part", std::process::id()))
    }
}

/// Takes a body as it comes; beyond 256 KB it goes to a file. Dropped unfinished, nothing stays.
///
/// A full disk is no error here: what follows is let go and `Queue::accept` answers
/// `AcceptError::Full`, since the client has to be heard to its final dot in any case.
#[derive(Debug)]
pub struct Writer {
    spool: Arc<Spool>,
    /// Asked before the file grows; none for what settling needs, which the reserve is kept for.
    room: Option<Arc<Room>>,
    buffer: Vec<u8>,
    size: u64,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Memory,
    File(Box<Open>),
    Full(String),
    /// A write failed or was given up half way.
    Broken,
}

struct Open {
    draft: Draft,
    context: digest::Context,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.draft.fmt(f)
    }
}

impl Open {
    fn take(&mut self, octets: &[u8]) -> io::Result<()> {
        self.context.update(octets);
        self.draft.write(octets)
    }
}

impl Writer {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self { spool, room: None, buffer: Vec::new(), size: 0, sink: Sink::Memory }
    }

    /// One that leaves the disk's reserve alone.
    pub(super) fn within(spool: Arc<Spool>, room: Arc<Room>) -> Self {
        Self { room: Some(room), ..Self::new(spool) }
    }

    /// Octets taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes more octets.
    ///
    /// # Errors
    /// [`StoreError`] where the disk says no.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), StoreError> {
        self.size += octets.len() as u64;
        // Before it grows beyond its bound: a buffer that is full doubles.
        if !self.buffer.is_empty() && self.buffer.len() + octets.len() > self.most() {
            self.flush(false).await?;
        }
        match self.sink {
            Sink::Full(_) => return Ok(()),
            Sink::Broken => return Err(broken()),
            Sink::Memory | Sink::File(_) => self.buffer.extend_from_slice(octets),
        }
        if self.buffer.len() > self.most() { self.flush(false).await } else { Ok(()) }
    }

    /// Octets that the buffer holds at most.
    fn most(&self) -> usize {
        if let Sink::Memory = self.sink { INLINE } else { CHUNK }
    }

    /// Writes the buffer to the file, which is made where there is none; `end` syncs it too.
    async fn flush(&mut self, end: bool) -> Result<(), StoreError> {
        let buffer = std::mem::take(&mut self.buffer);
        let fits = self.room.as_ref().map_or(Ok(()), |room| room.grow(buffer.len() as u64));
        if let Err(what) = fits {
            self.sink = Sink::Full(what);
            return Ok(());
        }
        let open = match std::mem::replace(&mut self.sink, Sink::Broken) {
            Sink::Memory => Err(self.spool.draft_path()),
            Sink::File(open) => Ok(open),
            Sink::Full(_) | Sink::Broken => return Err(broken()),
        };
        let work = move || -> io::Result<(Box<Open>, Vec<u8>)> {
            let mut open = match open {
                Ok(open) => open,
                Err(path) => Box::new(Open {
                    draft: Draft::create(path)?,
                    context: digest::Context::new(&digest::SHA256),
                }),
            };
            open.take(&buffer)?;
            if end {
                open.draft.sync()?;
            }
            Ok((open, emptied(buffer)))
        };
        match spawn_blocking(work).await.map_err(|_| broken())? {
            Ok((open, buffer)) => {
                self.buffer = buffer;
                self.sink = Sink::File(open);
            }
            Err(error) if is_full(&error) => self.sink = Sink::Full(error.to_string()),
            Err(error) => return Err(StoreError(format!("body file: {error}"))),
        }
        Ok(())
    }

    /// Ends the body; a file is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`] where the disk says no.
    pub async fn finish(self) -> Result<Written, StoreError> {
        self.close(true).await
    }

    /// Ends a body that is only read again and then let go: nothing is made durable.
    ///
    /// # Errors
    /// [`AcceptError`] where there was no room for it, or the disk says no.
    pub async fn lay_aside(self) -> Result<Aside, AcceptError> {
        let written = self.close(false).await?;
        match written.content {
            Content::Full(what) => Err(AcceptError::Full(what)),
            _ => Ok(Aside(written)),
        }
    }

    async fn close(mut self, durable: bool) -> Result<Written, StoreError> {
        if let Sink::File(_) = self.sink {
            self.flush(durable).await?;
        }
        let (content, digest) = match self.sink {
            Sink::Memory => {
                let digest = row::digest(&self.buffer);
                (Content::Inline(Bytes::from(self.buffer)), digest)
            }
            Sink::File(open) => {
                let Open { draft, context } = *open;
                (Content::Draft(draft), row::finished(context))
            }
            Sink::Full(what) => (Content::Full(what), [0; 32]),
            Sink::Broken => return Err(broken()),
        };
        Ok(Written { content, size: self.size, digest })
    }
}

/// The buffer without its octets and, after the first 256 KB, without their room.
fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    if buffer.capacity() > 2 * CHUNK { Vec::new() } else { buffer }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn broken() -> StoreError {
    StoreError("the body could not be written".into())
}

/// A whole body, ready to be accepted. Dropped without that, nothing stays.
#[derive(Debug)]
pub struct Written {
    content: Content,
    size: u64,
    digest: [u8; 32],
}

#[derive(Debug)]
enum Content {
    Inline(Bytes),
    Draft(Draft),
    Placed(Placed),
    Full(String),
}

/// A body file under its final name; removed on drop unless its row was committed.
#[derive(Debug)]
struct Placed {
    path: PathBuf,
    keep: bool,
}

impl Drop for Placed {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Written {
    /// Octets of the body.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The octets, where they lie in the store itself.
    pub(super) fn inline(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Inline(octets) => Some(octets),
            _ => None,
        }
    }

    /// The row of this body is committed, or may be: its file stays.
    pub(super) fn keep(&mut self) {
        if let Content::Placed(placed) = &mut self.content {
            placed.keep = true;
        }
    }

    /// Gives a body file its final name, durably. What is full is said as [`Placing::Full`].
    pub(super) async fn place(&mut self, spool: &Spool, id: Id) -> Result<(), Placing> {
        let placeholder = Content::Full(String::new());
        match std::mem::replace(&mut self.content, placeholder) {
            Content::Full(what) => Err(Placing::Full(what)),
            Content::Draft(draft) => {
                let path = spool.path(id);
                let placed = spawn_blocking(move || place(draft, path));
                match placed.await.unwrap_or_else(|_| Err(io::Error::other("writing was stopped")))
                {
                    Ok(placed) => self.content = Content::Placed(placed),
                    Err(error) if is_full(&error) => return Err(Placing::Full(error.to_string())),
                    Err(error) => return Err(Placing::Failed(format!("body file: {error}"))),
                }
                Ok(())
            }
            content => {
                self.content = content;
                Ok(())
            }
        }
    }
}

/// A body that never enters the queue. Dropped, nothing stays.
#[derive(Debug)]
pub struct Aside(Written);

impl Aside {
    /// Octets of the body.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Reads it, from its beginning, as often as that is asked for.
    ///
    /// # Errors
    /// [`StoreError`] where the disk says no.
    pub async fn reader(&self) -> Result<Reader, StoreError> {
        let draft = match &self.0.content {
            Content::Inline(octets) => return Ok(Reader::of_octets(octets.clone())),
            Content::Draft(draft) => draft,
            Content::Placed(_) | Content::Full(_) => return Err(broken()),
        };
        let (path, size) = (draft.path().to_owned(), self.0.size);
        let file = spawn_blocking(move || reader::open(&path, size)).await.map_err(|_| broken())?;
        let file = file.map_err(|error| StoreError(format!("body file: {error}")))?;
        // Nobody else has it, so nobody is told that it is damaged.
        Ok(Reader::of_file(file, size, self.0.digest, Box::new(|_| ())))
    }
}

/// Why a body did not get its name.
pub(super) enum Placing {
    Full(String),
    Failed(String),
}

fn place(draft: Draft, path: PathBuf) -> io::Result<Placed> {
    // A second mail of the same id must not take the first one's body away.
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // From here on the name is ours, and is removed where the directory cannot be synced.
    let placed = Placed { path, keep: false };
    draft.place(&placed.path)?;
    Ok(placed)
}
