//! The last step: one mail straight through the upstream, past the queue.

use crate::mail::{Envelope, Id};
use crate::smtp::Reply;
use crate::upstream::{Body, Courier, Credential, Failure, Fault, Outgoing, Stage};
use bytes::Bytes;
use std::pin::{Pin, pin};
use std::time::SystemTime;

/// A message that is at hand.
struct Whole {
    message: Bytes,
    left: Bytes,
}

impl Body for Whole {
    fn chunk(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, String>> + Send + '_>> {
        let left = std::mem::take(&mut self.left);
        Box::pin(std::future::ready(Ok(Some(left).filter(|left| !left.is_empty()))))
    }

    fn again(&mut self, from: u64) -> Result<(), String> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.message.len());
        self.left = self.message.slice(from..);
        Ok(())
    }
}

/// Sends it and gives the reply to its end. It is sent once: what is lost here is not kept.
pub(super) async fn send(
    courier: &impl Courier,
    credential: &Credential,
    envelope: &Envelope,
    message: &Bytes,
) -> Result<Reply, Failure> {
    let mail = Outgoing {
        id: Id::new(SystemTime::now(), 0),
        envelope,
        everybody: &envelope.recipients,
        size: message.len() as u64,
        body: &mut Whole { message: message.clone(), left: message.clone() },
        // Nothing is noted anywhere: whoever sits before the screen sees what became of it.
        commit: pin!(std::future::ready(Ok(()))),
    };
    let outcome = courier.deliver(mail, credential).await;
    courier.close_idle().await;
    let lost = Failure { stage: Stage::Mail, fault: Fault::Closed };
    outcome.recipients.into_iter().next().unwrap_or(Err(lost))
}
