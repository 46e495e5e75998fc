//! Where the body of a mail goes while it comes in: to the disk, or to the upstream.
//!
//! It promises that what decides by the parts of a mail sees each of its octets.

use super::replies;
use crate::accounts::{Inspection, Permit};
use crate::delivery::direct::Passage;
use crate::mail::Id;
use crate::queue::body;
use crate::smtp::Reply;

/// Where the body goes.
#[derive(Debug)]
pub(super) enum Outlet {
    /// To the disk.
    Spool(Spool),
    /// On its way through.
    Passage(Passage),
}

/// A body on its way to the disk, looked at where its parts decide.
#[derive(Debug)]
pub(super) struct Spool {
    writer: body::Writer,
    inspection: Option<Box<Inspection>>,
}

impl Outlet {
    /// To the disk; `by_graph`: it may go there from the disk.
    pub fn spool(writer: body::Writer, permit: &Permit, by_graph: bool) -> Self {
        let inspection = if by_graph { permit.inspection() } else { None };
        Self::Spool(Spool { writer, inspection: inspection.map(Box::new) })
    }

    /// The next octets, our own of the header first.
    ///
    /// # Errors
    /// The reply to refuse the mail with.
    pub async fn write(&mut self, id: Id, octets: &[u8]) -> Result<(), Reply> {
        match self {
            Self::Spool(Spool { writer, inspection }) => {
                if let Some(inspection) = inspection {
                    inspection.feed(octets);
                }
                writer.write(octets).await.map_err(|error| {
                    tracing::error!(%id, %error, "mail refused: body could not be stored");
                    replies::STORE_FAILED
                })
            }
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

impl Spool {
    /// The body has ended, and was of so many octets when it came.
    ///
    /// # Errors
    /// The reply to refuse the mail with.
    pub fn end(self, id: Id, size: u64) -> Result<body::Writer, Reply> {
        if let Some(Err(why)) = self.inspection.map(|inspection| inspection.finish(size)) {
            tracing::warn!(%id, %why, "mail refused");
            return Err(replies::unsendable(&why));
        }
        Ok(self.writer)
    }
}
