//! Reading the body of a queued mail.
//!
//! It promises that a damaged body is never read to its end: the checksum is compared before the last
//! octets are handed out. Memory stays flat: a chunk is with the caller, the next one on its way.

use super::body::CHUNK;
use super::{StoreError, row};
use bytes::Bytes;
use ring::digest;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use tokio::task::{JoinHandle, spawn_blocking};

/// Told when a body turns out damaged while it is read.
pub(super) type Alarm = Box<dyn Fn(&str) + Send + Sync>;

/// Reads a body in chunks.
pub struct Reader {
    source: Source,
    size: u64,
    alarm: Option<Alarm>,
}

enum Source {
    Memory(Option<Bytes>),
    /// The next chunk is read while the last one is sent.
    File(JoinHandle<io::Result<Stretch>>),
    Ended,
}

/// A body file read up to some point.
struct Stretch {
    file: File,
    left: u64,
    context: digest::Context,
    expected: [u8; 32],
    chunk: Vec<u8>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Reader {
    /// Octets that were verified or are in the memory they were hashed from.
    pub(super) fn of_octets(octets: Bytes) -> Self {
        let size = octets.len() as u64;
        let source = Source::Memory(Some(octets).filter(|octets| !octets.is_empty()));
        Self { source, size, alarm: None }
    }

    /// A file whose length was compared; must be called within the runtime.
    pub(super) fn of_file(file: File, size: u64, expected: [u8; 32], alarm: Alarm) -> Self {
        let context = digest::Context::new(&digest::SHA256);
        let stretch = Stretch { file, left: size, context, expected, chunk: Vec::new() };
        let source = Source::File(spawn_blocking(|| stretch.read_on()));
        Self { source, size, alarm: Some(alarm) }
    }

    /// Octets of the whole body.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next octets; none at the end. The last ones come only after the checksum was compared, so
    /// a damaged body is never handed out as a whole; the mail becomes [`super::State::Damaged`].
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be read or the checksum is wrong.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        match &mut self.source {
            Source::Memory(octets) => Ok(octets.take()),
            Source::Ended => Ok(None),
            Source::File(read) => {
                let read = read.await;
                self.source = Source::Ended;
                let stretch =
                    read.map_err(|_| StoreError("reading the body was stopped".into()))?;
                self.advance(stretch)
            }
        }
    }

    fn advance(&mut self, stretch: io::Result<Stretch>) -> Result<Option<Bytes>, StoreError> {
        match stretch {
            Ok(mut stretch) => {
                let chunk = std::mem::take(&mut stretch.chunk);
                if stretch.left > 0 {
                    self.source = Source::File(spawn_blocking(|| stretch.read_on()));
                }
                Ok(Some(Bytes::from(chunk)).filter(|chunk| !chunk.is_empty()))
            }
            Err(error) => {
                if let Some(alarm) = self.alarm.take().filter(|_| is_damage(&error)) {
                    alarm(&error.to_string());
                }
                // Asked again, it must not look like the end.
                self.source = Source::File(spawn_blocking(|| Err(io::ErrorKind::Other.into())));
                Err(StoreError(format!("body file: {error}")))
            }
        }
    }
}

impl Stretch {
    fn read_on(mut self) -> io::Result<Self> {
        let most = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        self.chunk = vec![0; most];
        self.file.read_exact(&mut self.chunk)?;
        self.context.update(&self.chunk);
        self.left -= most as u64;
        if self.left == 0 && row::finished(self.context.clone()) != self.expected {
            let what = "the body does not match its checksum";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(self)
    }
}

/// Compares a body file with what the row says of it, all of it; for the check.
pub(super) fn verify(path: &Path, size: u64, expected: [u8; 32]) -> io::Result<()> {
    let file = open(path, size)?;
    let context = digest::Context::new(&digest::SHA256);
    let mut stretch = Stretch { file, left: size, context, expected, chunk: Vec::new() };
    while stretch.left > 0 {
        stretch = stretch.read_on()?;
    }
    Ok(())
}

/// Whether an error says that the body is lost for good, rather than that reading failed this time.
pub(super) fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
}

/// Opens a body file and compares its length.
pub(super) fn open(path: &Path, size: u64) -> io::Result<File> {
    let file = File::open(path)?;
    let found = file.metadata()?.len();
    if found != size {
        let what = format!("the body has {found} octets, {size} were accepted");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(file)
}
