//! The bodies of queued mail: small ones in memory and in the row, large ones streamed to files.

use super::StoreError;

/// Takes a body as it comes; beyond 256 KB it goes to a file. Dropped unfinished, nothing stays.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// Takes more octets.
    ///
    /// # Errors
    /// [`StoreError`] where the disk says no.
    pub async fn write(&mut self, _octets: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    /// Ends the body; a file is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`] where the disk says no.
    pub async fn finish(self) -> Result<Written, StoreError> {
        todo!()
    }
}

/// A whole body, ready to be accepted.
#[derive(Debug)]
pub struct Written {}

/// Reads a body in chunks.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The next octets; none at the end. The checksum is compared before the end is told.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be read or the checksum is wrong.
    pub async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, StoreError> {
        todo!()
    }
}
