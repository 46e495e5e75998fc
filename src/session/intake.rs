//! The last step of a mail for the queue: its body is closed, the whole made durable, the client told.
//!
//! It promises that the 250 is said with a receipt in hand and never without.

use super::{Shared, replies};
use crate::mail::{Envelope, Id};
use crate::queue::{Coming, Submission, body};
use crate::smtp::Reply;
use std::time::SystemTime;

/// All of a mail but its body.
pub(super) struct Intake {
    pub id: Id,
    pub account: String,
    pub envelope: Envelope,
    pub accepted: SystemTime,
}

impl Intake {
    /// The 250, or why not. The queue awaits it until it is handed over.
    pub async fn queue(
        self,
        writer: body::Writer,
        coming: Option<Coming>,
        shared: &Shared,
    ) -> Reply {
        let id = self.id;
        let recipients = self.envelope.recipients.len();
        let account = self.account.clone();
        let sender = self.envelope.sender.clone();
        let accepted = match writer.finish().await {
            Ok(body) => {
                let submission = Submission {
                    id,
                    account: self.account,
                    envelope: self.envelope,
                    body,
                    accepted: self.accepted,
                    is_bounce: false,
                };
                drop(coming);
                shared.queue.accept(submission).await
            }
            Err(error) => Err(error.into()),
        };
        match accepted {
            Ok(receipt) => {
                let sender = sender.as_ref().map_or("<>", |sender| sender.as_str());
                tracing::info!(%id, %account, sender, recipients, "accepted and queued");
                replies::queued(&receipt)
            }
            Err(error) => {
                tracing::error!(%id, %account, %error, "mail not accepted, the client may try again");
                replies::not_accepted(&error)
            }
        }
    }
}
