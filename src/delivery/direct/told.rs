//! The lines in the log of a mail that passes through, the same whichever way it goes.

use super::judged;
use crate::delivery::verdict::{Verdict, judge};
use crate::delivery::words::clean;
use crate::mail::{Address, Id};
use crate::smtp::Reply;
use crate::upstream::Failure;
use tracing::{info, warn};

/// One line a recipient of a mail that was taken.
pub(super) fn delivered<'a>(
    id: Id,
    account: &str,
    recipients: impl Iterator<Item = &'a Address>,
    reply: &Reply,
) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let reply = clean(&reply.to_string());
    for recipient in recipients {
        let recipient = clean(recipient.as_str());
        info!(%id, account, recipient, attempts = 1, reply, "delivered");
    }
}

/// One line for what was not; gives what the client hears.
pub(super) fn refused(
    id: Id,
    account: &str,
    failure: &Failure,
    recipient: Option<&Address>,
) -> Reply {
    let reply = judged::reply(failure);
    let recipient = recipient.map(|recipient| clean(recipient.as_str()));
    let reason = clean(&failure.to_string());
    if matches!(judge(failure), Verdict::Uncertain) {
        warn!(%id, account, recipient, reason, %reply,
            "possibly delivered: no answer came; nothing is kept, the client was told");
    } else if reply.is_permanent() {
        warn!(%id, account, recipient, reason, %reply, "refused by the upstream, the client was told");
    } else {
        info!(%id, account, recipient, reason, %reply, "put off by the upstream, the client was told");
    }
    reply
}
