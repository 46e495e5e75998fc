//! Turning a connection away before it begins.

use super::{Shared, replies};
use crate::smtp::server::Dialogue;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Why a connection is turned away before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More connections than the listener allows.
    TooMany,
    /// More connections than one address may have.
    TooManyOfClient,
    /// The address is not among the listener's `clients`.
    NotAllowed,
}

/// Turns a connection away with one line.
pub async fn refuse<S: AsyncWrite + Unpin>(mut stream: S, shared: &Shared, why: Refusal) {
    let reply = match why {
        Refusal::TooMany => replies::TOO_MANY_CONNECTIONS,
        Refusal::TooManyOfClient => replies::TOO_MANY_OF_CLIENT,
        Refusal::NotAllowed => replies::NOT_ALLOWED,
    };
    if shared.tls.as_ref().is_some_and(|tls| tls.is_implicit()) {
        // A line in the clear would only be taken for broken TLS, and a handshake is what it must not cost.
        return;
    }
    let mut dialogue = Dialogue::refused(shared.terms.clone(), &reply);
    // One short line always fits the socket's buffer; a peer that is gone does not matter.
    let _ = stream.write_all(dialogue.output()).await;
    let _ = stream.shutdown().await;
}
