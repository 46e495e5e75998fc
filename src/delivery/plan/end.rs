//! When a mail that is not settled is tried again, and what is told when its days are over. Pure.

use super::{Found, Rules};
use crate::config::OnUncertain;
use crate::delivery::notice::Told;
use crate::delivery::words::clean;
use crate::mail::bounce::Kind;
use crate::queue::{Entry, Next, RecipientState};
use crate::smtp::Enhanced;
use std::time::{Duration, SystemTime};

/// So long the store is left alone after it could not give a body.
const LOCAL_PAUSE: Duration = Duration::from_secs(60);

/// When it is tried again, and whether this try counted; no time when it is given up.
pub(super) fn when(
    entry: &Entry,
    found: &Found,
    rules: &Rules<'_>,
    now: SystemTime,
    jitter: f64,
) -> (Option<Next>, bool) {
    if found.uncertain && rules.on_uncertain == OnUncertain::Hold {
        return (Some(Next::Hold), true);
    }
    if found.rest && found.is_heard() && !found.uncertain {
        return (Some(Next::Retry(now)), false);
    }
    let attempts = entry.attempts.saturating_add(1);
    let Some(scheduled) = rules.schedule.next(attempts, entry.accepted, now, jitter) else {
        return (None, true);
    };
    let (time, counts) = if found.uncertain {
        (scheduled.max(now + rules.uncertain_pause), true)
    } else if found.pause.is_some() {
        // The account's own pause holds it back; it is due as soon as that ends.
        (now, false)
    } else if found.local.is_some() {
        (now + LOCAL_PAUSE, false)
    } else if found.retry || found.surplus || found.earlier {
        (scheduled, true)
    } else {
        let wished = found.busy.and_then(|(_, retry_after)| retry_after);
        (now + rules.busy_pause.max(wished.unwrap_or_default()), false)
    };
    (Some(Next::Retry(time)), counts)
}

/// The end of its days has come: whoever still waits is failed.
pub(super) fn give_up(
    entry: &Entry,
    recipients: &mut [RecipientState],
    found: &mut Found,
    rules: &Rules<'_>,
    now: SystemTime,
) {
    let age = now.duration_since(entry.accepted).unwrap_or_default();
    let hours = age.as_secs() / 3600;
    let why = found.error.clone().unwrap_or_else(|| "no try succeeded".into());
    for (index, state) in recipients.iter_mut().enumerate().filter(|(_, state)| !state.is_settled())
    {
        let reason = match state {
            RecipientState::Deferred { reason } => reason.clone(),
            _ => why.clone(),
        };
        let mut told =
            found.waiting.iter().find(|told| told.index == index).cloned().unwrap_or_else(|| {
                Told {
                    index,
                    kind: Kind::Failed,
                    status: Enhanced(5, 4, 7),
                    diagnostic: None,
                    explanation: format!("The last thing that went wrong: {reason}."),
                }
            });
        told.kind = Kind::Failed;
        told.status = Enhanced(5, 4, 7);
        let fate = if found.uncertain || entry.uncertain {
            " It may have been delivered all the same: an answer of the server was lost."
        } else {
            ""
        };
        told.explanation =
            format!("Given up after {hours} hours of trying.{fate} {}", told.explanation);
        found.failed.push(told);
        *state = RecipientState::Failed {
            reason: clean(&format!("given up after {hours} hours: {reason}")),
        };
    }
    let words = clean(&format!("given up after {hours} hours ({}): {why}", rules.account));
    found.error = Some(words);
}
