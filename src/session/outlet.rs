//! Where the body of a mail goes, chunk by chunk: to the disk, or on its way.

use super::replies;
use crate::delivery::direct::Passage;
use crate::mail::Id;
use crate::queue::body;
use crate::smtp::Reply;

/// Where the body goes.
#[derive(Debug)]
pub(super) enum Outlet {
    /// To the disk.
    Spool(body::Writer),
    /// On its way through.
    Passage(Passage),
}

impl Outlet {
    /// Takes more of it.
    ///
    /// # Errors
    /// The reply to refuse the mail with.
    pub async fn write(&mut self, id: Id, octets: &[u8]) -> Result<(), Reply> {
        match self {
            Self::Spool(writer) => writer.write(octets).await.map_err(|error| {
                tracing::error!(%id, %error, "mail refused: body could not be stored");
                replies::STORE_FAILED
            }),
            Self::Passage(passage) => passage.write(octets).await,
        }
    }

    /// Whether others wait for the turn that it holds.
    pub fn holds_turn(&self) -> bool {
        match self {
            Self::Spool(_) => false,
            Self::Passage(passage) => passage.holds_turn(),
        }
    }
}
