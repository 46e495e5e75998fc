//! From the outcome of a try to what is noted about the mail. Pure.
//!
//! It promises that every recipient is settled on its own, that a delivered one is never tried again,
//! that no mail is failed and no sender told because an account is broken, and that a report never
//! begets a report.
//!
//! It decides nothing about codes and texts: that is [`verdict`](super::verdict).

mod end;

use self::end::{give_up, when};
use super::notice::{Notice, Told, notice};
use super::verdict::{Pause, Reach, Verdict, judge};
use super::words::{clean, diagnostic, explanation, success_status, temporary_status};
use crate::config::OnUncertain;
use crate::diagnosis::exchange::Known;
use crate::mail::Address;
use crate::mail::bounce::Kind;
use crate::queue::retry::Schedule;
use crate::queue::{Entry, Next, RecipientState};
use crate::smtp::{Enhanced, Reply};
use crate::upstream::Failure;
use std::time::{Duration, SystemTime};

/// What was heard of one recipient: its place in the envelope and the result.
pub type Heard = (usize, Result<Reply, Failure>);

/// What was heard of the recipients that were tried.
#[derive(Clone, Debug)]
pub struct Answers {
    /// One a recipient.
    pub heard: Vec<Heard>,
    /// Whether the upstream was told who wants which report.
    pub dsn: bool,
}

/// What the configuration says about one mail.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Pauses and expiry.
    pub schedule: &'a Schedule,
    /// The sender is told of a delay after this.
    pub delay_notice: Duration,
    /// So long a mail of unknown fate waits before it is sent again.
    pub uncertain_pause: Duration,
    /// So long a mail waits after the upstream was crowded.
    pub busy_pause: Duration,
    /// What happens to a mail of unknown fate.
    pub on_uncertain: OnUncertain,
    /// Reports go through another account, so that this one's trouble does not hold them up.
    pub reports_elsewhere: bool,
    /// The account's name.
    pub account: &'a str,
    /// The sending mailbox.
    pub mailbox: &'a Address,
}

/// What is noted, and what the lane learns from it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// New states, in the envelope's order.
    pub recipients: Vec<RecipientState>,
    /// What happens with the mail.
    pub next: Next,
    /// Whether this try ended without a known fate.
    pub uncertain: bool,
    /// Whether it counts as a try.
    pub counts: bool,
    /// What the sender is told.
    pub notice: Option<Notice>,
    /// The last thing that went wrong.
    pub error: Option<String>,
    /// What the lane does.
    pub lesson: Lesson,
}

/// What a try says about account and upstream.
#[derive(Clone, Debug)]
pub enum Lesson {
    /// Both work: the upstream took or judged the mail.
    Well,
    /// The upstream is crowded, and how long it wants to be left alone.
    Busy(&'static Known, Option<Duration>),
    /// The upstream was not reached or broke off.
    Server(String),
    /// The account must wait.
    Account(Pause, String),
    /// Our own store failed: nothing is known about the upstream.
    Local(String),
}

/// What an outcome means for the mail.
pub fn plan(
    entry: &Entry,
    answers: &Answers,
    rules: &Rules<'_>,
    now: SystemTime,
    jitter: f64,
) -> Plan {
    let mut found = Found::default();
    let mut states = entry.recipients.clone();
    let mut surplus = Vec::new();
    for (index, result) in &answers.heard {
        if let Some(state) = states.get_mut(*index) {
            *state = match result {
                Ok(reply) => {
                    found.progress = true;
                    let words = clean(&reply.to_string());
                    // Who offered DSN reports success itself: two reports would be one too many.
                    if !answers.dsn {
                        found.relayed.push(relayed(*index, reply, &words));
                    }
                    RecipientState::Delivered { reply: words }
                }
                Err(failure) => found.note(*index, failure, rules),
            };
        }
        if result.as_ref().is_err_and(|failure| matches!(judge(failure), Verdict::Surplus)) {
            surplus.push(*index);
        }
    }
    if found.progress {
        // They were too many for one transaction: the others made room.
        surplus.iter().for_each(|index| states[*index] = RecipientState::Waiting);
    }
    found.note_others(entry, &answers.heard, &mut states);
    finish(entry, states, found, rules, now, jitter)
}

/// It is out of our hands, in those of a server that reports nothing.
fn relayed(index: usize, reply: &Reply, words: &str) -> Told {
    Told {
        index,
        kind: Kind::Relayed,
        status: success_status(reply),
        diagnostic: Some(words.to_owned()),
        explanation:
            "The next server took it. Whether it reached the mailbox is not reported from \
                      there; only a failure would be."
                .into(),
    }
}

/// What it means that no token was to be had: nothing was tried.
pub fn plan_without_token(
    entry: &Entry,
    pause: Pause,
    words: &str,
    rules: &Rules<'_>,
    now: SystemTime,
) -> Plan {
    let words = clean(words);
    let found =
        Found { pause: Some((pause, words.clone())), error: Some(words), ..Found::default() };
    finish(entry, entry.recipients.clone(), found, rules, now, 0.5)
}

/// Its days are over while account or upstream are in trouble: given up without another try. With a
/// `pause` the account is to blame, so the mail is kept; without, the upstream was not reached.
pub fn plan_expired(
    entry: &Entry,
    pause: Option<Pause>,
    words: &str,
    rules: &Rules<'_>,
    now: SystemTime,
) -> Plan {
    let found = Found {
        retry: pause.is_none(),
        pause: pause.map(|pause| (pause, words.to_owned())),
        error: Some(words.to_owned()),
        ..Found::default()
    };
    let plan = finish(entry, entry.recipients.clone(), found, rules, now, 0.5);
    Plan { counts: false, lesson: Lesson::Local(words.to_owned()), ..plan }
}

/// What came together over all recipients of a try.
#[derive(Default)]
pub(super) struct Found {
    progress: bool,
    retry: bool,
    surplus: bool,
    /// Recipients are left for a transaction that follows at once.
    pub rest: bool,
    /// Recipients were put off in an earlier transaction of this round.
    earlier: bool,
    uncertain: bool,
    /// The upstream is crowded, and how long it wants to be left alone.
    busy: Option<(&'static Known, Option<Duration>)>,
    server: Option<String>,
    pub pause: Option<(Pause, String)>,
    local: Option<String>,
    pub failed: Vec<Told>,
    pub waiting: Vec<Told>,
    pub relayed: Vec<Told>,
    error: Option<String>,
}

impl Found {
    fn note(&mut self, index: usize, failure: &Failure, rules: &Rules<'_>) -> RecipientState {
        let words = clean(&failure.to_string());
        self.error = Some(words.clone());
        let verdict = judge(failure);
        let known = match &verdict {
            Verdict::Bounce { known, .. } | Verdict::Retry { known, .. } => *known,
            Verdict::Busy { known, .. } => Some(*known),
            _ => None,
        };
        let told = |status| Told {
            index,
            kind: Kind::Delayed,
            status,
            diagnostic: diagnostic(failure),
            explanation: explanation(failure, known, rules),
        };
        match verdict {
            Verdict::Bounce { status, .. } => {
                self.progress = true;
                self.failed.push(Told { kind: Kind::Failed, ..told(status) });
                return RecipientState::Failed { reason: words };
            }
            Verdict::Retry { reach, .. } => {
                self.retry = true;
                if reach == Reach::Server {
                    self.server = Some(words.clone());
                }
            }
            Verdict::Surplus => self.surplus = true,
            Verdict::Busy { known, retry_after } => self.busy = Some((known, retry_after)),
            Verdict::RenewToken { pause } | Verdict::PauseAccount(pause) => {
                self.pause = Some((pause, words));
                return RecipientState::Waiting;
            }
            Verdict::Uncertain => self.uncertain = true,
            Verdict::Local => {
                self.local = Some(words);
                return RecipientState::Waiting;
            }
        }
        self.waiting.push(told(temporary_status(failure)));
        RecipientState::Deferred { reason: words }
    }

    /// Those who had no part in this transaction. A mail with many recipients goes round in several: who
    /// is `Waiting` still has its turn in this round, who is `Deferred` had it. When all had theirs, the
    /// next round begins, and who finds no place in its first transaction waits for the next.
    fn note_others(&mut self, entry: &Entry, heard: &[Heard], states: &mut [RecipientState]) {
        let began = |(index, _): &Heard| {
            matches!(entry.recipients.get(*index), Some(RecipientState::Deferred { .. }))
        };
        let begins_round = heard.iter().all(began);
        let had_part = |index| heard.iter().any(|(other, _)| *other == index);
        let mut others = states.iter().enumerate().filter(|(_, state)| !state.is_settled());
        if !self.is_heard() && others.any(|(index, _)| !had_part(index)) {
            // It was not about these recipients, so they keep their turn.
            let open =
                states.iter_mut().zip(&entry.recipients).filter(|(new, _)| !new.is_settled());
            open.for_each(|(new, old)| new.clone_from(old));
            return;
        }
        for (index, state) in states.iter_mut().enumerate() {
            let had_part = had_part(index);
            match state {
                RecipientState::Deferred { .. } if !had_part && begins_round => {
                    *state = RecipientState::Waiting;
                    self.rest = true;
                }
                RecipientState::Deferred { reason } if !had_part => {
                    self.earlier = true;
                    self.waiting.push(Told {
                        index,
                        kind: Kind::Delayed,
                        status: Enhanced(4, 0, 0),
                        diagnostic: None,
                        explanation: format!("The last thing that went wrong: {reason}."),
                    });
                }
                RecipientState::Waiting if !had_part || self.progress => self.rest = true,
                _ => {}
            }
        }
    }

    /// Whether the upstream spoke about recipients, rather than about us, or not at all.
    fn is_heard(&self) -> bool {
        self.pause.is_none() && self.local.is_none() && self.server.is_none() && self.busy.is_none()
    }

    fn lesson(&mut self) -> Lesson {
        if let Some((pause, words)) = self.pause.take() {
            Lesson::Account(pause, words)
        } else if let Some((known, retry_after)) = self.busy {
            Lesson::Busy(known, retry_after)
        } else if let Some(words) = self.server.take() {
            Lesson::Server(words)
        } else if let Some(words) = self.local.take() {
            Lesson::Local(words)
        } else {
            Lesson::Well
        }
    }
}

fn finish(
    entry: &Entry,
    mut recipients: Vec<RecipientState>,
    mut found: Found,
    rules: &Rules<'_>,
    now: SystemTime,
    jitter: f64,
) -> Plan {
    let open = recipients.iter().any(|state| !state.is_settled());
    let (mut next, counts) =
        if open { when(entry, &found, rules, now, jitter) } else { (None, true) };
    let mut kept = false;
    if open && next.is_none() {
        kept = found.pause.is_some() || found.local.is_some();
        give_up(entry, &mut recipients, &mut found, rules, now);
    }
    // Nobody may be told, so the mail itself stays to be seen: a report never begets a report.
    let mute = entry.is_bounce || entry.envelope.sender.is_none();
    let failed = recipients.iter().any(|state| matches!(state, RecipientState::Failed { .. }));
    let end = if kept || (mute && failed) { Next::Failed } else { Next::Done };
    let next = next.take().unwrap_or(end);
    if kept {
        // The account's trouble is ours, not the sender's: somebody puts it right and sends it again.
        // Who hears of it through another account still hears.
        if !rules.reports_elsewhere || found.pause.is_none() {
            found.failed.clear();
        }
    }
    let notice = if mute { None } else { notice(entry, &found, &next, rules, now) };
    Plan {
        recipients,
        next,
        uncertain: found.uncertain,
        counts,
        notice,
        error: found.error.clone(),
        lesson: found.lesson(),
    }
}
