//! Reading the body of a queued mail.
//!
//! It promises that a damaged body is never read to its end: the checksum is compared before the last
//! octets are handed out, wherever reading began. Memory stays flat: a chunk is with the caller, the next one
//! on its way.

use super::body::CHUNK;
use super::{StoreError, row};
use bytes::Bytes;
use ring::digest;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Told when a body turns out damaged while it is read.
pub(super) type Alarm = Box<dyn Fn(&str) + Send + Sync>;

/// Reads a body in chunks.
pub struct Reader {
    source: Source,
    now: Now,
    size: u64,
    alarm: Option<Alarm>,
}

/// Where the octets lie.
enum Source {
    Memory(Bytes),
    File {
        file: Arc<File>,
        expected: [u8; 32],
        /// The checksum was compared: what is read again need not be.
        is_verified: bool,
    },
}

/// What comes next.
enum Now {
    Memory(Bytes),
    /// The next chunk is read while the last one is sent.
    File(JoinHandle<io::Result<Stretch>>),
    Ended,
}

/// A body file read up to some point.
struct Stretch {
    file: Arc<File>,
    at: u64,
    size: u64,
    /// What came so far, and what all of it must come to; none where that is known.
    check: Option<(digest::Context, [u8; 32])>,
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
        Self { now: Now::Memory(octets.clone()), source: Source::Memory(octets), size, alarm: None }
    }

    /// A file whose length was compared; must be called within the runtime.
    pub(super) fn of_file(file: File, size: u64, expected: [u8; 32], alarm: Alarm) -> Self {
        let source = Source::File { file: Arc::new(file), expected, is_verified: false };
        let mut reader = Self { source, now: Now::Ended, size, alarm: Some(alarm) };
        reader.again(0);
        reader
    }

    /// Begins again: the next chunk starts with this octet. Must be called within the runtime.
    pub fn again(&mut self, from: u64) {
        let from = from.min(self.size);
        self.now = match &self.source {
            Source::Memory(octets) => {
                Now::Memory(octets.slice(usize::try_from(from).unwrap_or(octets.len())..))
            }
            Source::File { file, expected, is_verified } => {
                let (file, size) = (Arc::clone(file), self.size);
                let check = digest::Context::new(&digest::SHA256);
                let check = (!is_verified).then_some((check, *expected));
                Now::File(spawn_blocking(move || {
                    Stretch::begin(file, size, check, from)?.read_on()
                }))
            }
        };
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
        match &mut self.now {
            Now::Memory(octets) => {
                Ok(Some(std::mem::take(octets)).filter(|octets| !octets.is_empty()))
            }
            Now::Ended => Ok(None),
            Now::File(read) => {
                let read = read.await;
                self.now = Now::Ended;
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
                if stretch.at < stretch.size {
                    self.now = Now::File(spawn_blocking(|| stretch.read_on()));
                } else if let Source::File { is_verified, .. } = &mut self.source {
                    *is_verified = true;
                }
                Ok(Some(Bytes::from(chunk)).filter(|chunk| !chunk.is_empty()))
            }
            Err(error) => {
                if let Some(alarm) = self.alarm.take().filter(|_| is_damage(&error)) {
                    alarm(&error.to_string());
                }
                // Asked again, it must not look like the end.
                self.now = Now::File(spawn_blocking(|| Err(io::ErrorKind::Other.into())));
                Err(StoreError(format!("body file: {error}")))
            }
        }
    }
}

impl Stretch {
    /// From this octet on; what is before it is read for the checksum only.
    fn begin(
        file: Arc<File>,
        size: u64,
        check: Option<(digest::Context, [u8; 32])>,
        from: u64,
    ) -> io::Result<Self> {
        let at = if check.is_some() { 0 } else { from };
        let mut stretch = Self { file, at, size, check, chunk: Vec::new() };
        while stretch.at < from {
            let most = stretch.most().min(usize::try_from(from - stretch.at).unwrap_or(CHUNK));
            stretch.read(most)?;
        }
        Ok(stretch)
    }

    fn most(&self) -> usize {
        usize::try_from(self.size - self.at).unwrap_or(CHUNK).min(CHUNK)
    }

    fn read_on(mut self) -> io::Result<Self> {
        self.read(self.most())?;
        Ok(self)
    }

    fn read(&mut self, octets: usize) -> io::Result<()> {
        self.chunk = vec![0; octets];
        self.file.read_exact_at(&mut self.chunk, self.at)?;
        self.at += octets as u64;
        let Some((context, expected)) = &mut self.check else { return Ok(()) };
        context.update(&self.chunk);
        if self.at == self.size && row::finished(context.clone()) != *expected {
            let what = "the body does not match its checksum";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(())
    }
}

/// Compares a body file with what the row says of it, all of it; for the check.
pub(super) fn verify(path: &Path, size: u64, expected: [u8; 32]) -> io::Result<()> {
    let check = Some((digest::Context::new(&digest::SHA256), expected));
    Stretch::begin(Arc::new(open(path, size)?), size, check, size).map(drop)
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
