//! Whether a mail that is too large for one request of Graph can go there as a draft with files: its parts say so,
//! which are looked at while they come. Pure.

use super::{Permit, Unsendable};
use crate::config::{Transport, Upload};
use crate::mail::apart::take_apart;
use crate::mail::outline::Outline;

/// A look at a mail that passes by.
#[derive(Debug)]
pub struct Inspection {
    outline: Outline,
    /// Octets of a message that goes in one request.
    most: u64,
}

impl Permit {
    /// To be shown the mail from its first octet, where its parts decide; none where they do not.
    pub fn inspection(&self) -> Option<Inspection> {
        match &self.account.transport {
            Transport::Graph(graph) if graph.upload == Upload::On => {
                Some(Inspection { outline: Outline::default(), most: graph.max_size })
            }
            _ => None,
        }
    }
}

impl Inspection {
    /// The next octets of the mail.
    pub fn feed(&mut self, octets: &[u8]) {
        self.outline.feed(octets);
    }

    /// The mail has ended; it was of so many octets when it came.
    ///
    /// # Errors
    /// [`Unsendable::Size`].
    pub fn finish(self, size: u64) -> Result<(), Unsendable> {
        let Self { outline, most } = self;
        if size <= most {
            return Ok(());
        }
        match take_apart(outline.finish(), most) {
            Ok(_) => Ok(()),
            Err(why) => Err(Unsendable::Size { most, why }),
        }
    }
}
