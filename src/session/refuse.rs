//! Turning a connection away before it begins.

use super::wire::Wire;
use super::{Shared, replies};
use crate::smtp::server::Dialogue;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Where TLS comes first, so many at once are told by a handshake; whoever comes beyond them is not told.
pub(super) const TOLD_AT_ONCE: usize = 8;
/// How long such a handshake may take.
const PATIENCE: Duration = Duration::from_secs(3);

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

/// Turns a connection away with one line, where it can be said.
pub async fn refuse<S>(stream: S, shared: &Shared, why: Refusal)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reply = match why {
        Refusal::TooMany => replies::TOO_MANY_CONNECTIONS,
        Refusal::TooManyOfClient => replies::TOO_MANY_OF_CLIENT,
        Refusal::NotAllowed => replies::NOT_ALLOWED,
    };
    let mut wire = Wire::Clear(stream);
    // Held to the end.
    let mut _turn = None;
    if let Some(tls) = shared.tls.as_ref().filter(|tls| tls.is_implicit()) {
        // A line in the clear would only be taken for broken TLS. A handshake costs: strangers get none.
        if why == Refusal::NotAllowed {
            return;
        }
        let Ok(turn) = shared.told.try_acquire() else { return };
        _turn = Some(turn);
        if wire.secure(tls, PATIENCE).await.is_err() {
            return;
        }
    }
    let mut dialogue = Dialogue::refused(shared.terms.clone(), &reply);
    // One short line always fits the socket's buffer; a peer that is gone does not matter.
    let _ = wire.write_all(dialogue.output()).await;
    let _ = wire.shutdown().await;
}
