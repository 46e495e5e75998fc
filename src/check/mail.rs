//! The last step: one mail straight through the upstream, past the queue.

use crate::config::Upstream;
use crate::mail::{Envelope, Id};
use crate::smtp::Reply;
use crate::upstream::smtp::Pool;
use crate::upstream::{Body, Credential, Failure, Fault, Outgoing, Stage};
use bytes::Bytes;
use rustls::ClientConfig;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::SystemTime;

/// A message that is at hand.
struct Whole(Option<Bytes>);

impl Body for Whole {
    fn chunk(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, String>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.0.take())))
    }
}

/// Sends it and gives the reply to the final dot. It is sent once: what is lost here is not kept.
pub(super) async fn send(
    (settings, hostname, tls): (Upstream, String, Arc<ClientConfig>),
    credential: &Credential,
    envelope: &Envelope,
    message: &Bytes,
) -> Result<Reply, Failure> {
    let pool = Pool::new(settings, hostname, tls);
    let mail = Outgoing {
        id: Id::new(SystemTime::now(), 0),
        envelope,
        everybody: &envelope.recipients,
        size: message.len() as u64,
        body: &mut Whole(Some(message.clone())),
        // Nothing is noted anywhere: whoever sits before the screen sees what became of it.
        commit: pin!(std::future::ready(Ok(()))),
    };
    let outcome = pool.deliver(mail, credential).await;
    pool.close_idle().await;
    let lost = Failure { stage: Stage::Mail, fault: Fault::Closed };
    outcome.recipients.into_iter().next().unwrap_or(Err(lost))
}
