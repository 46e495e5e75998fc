//! The state of one credential: is there a token, must one be asked for, how long is the pause. Pure.
//!
//! It promises that a token is not handed out after its end by either clock, that one request at a
//! time is under way, that a late answer of an abandoned request changes nothing, and that failures
//! are followed by growing pauses. It knows neither network nor clock: time and chance are arguments.
//!
//! Two clocks, because each lies in its way: the monotonic one stands still while the machine is
//! suspended, the wall clock jumps when somebody sets it. A token has ended when either says so.

use super::AccessToken;
use super::response::Fault;
use crate::diagnosis::Class;
use crate::secret::Secret;
use std::time::{Duration, Instant, SystemTime};

/// Now, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Never goes back; stands still in suspend.
    pub monotonic: Instant,
    /// Goes on in suspend; may be set.
    pub wall: SystemTime,
}

impl Moment {
    /// Later by so much on both clocks. Durations here are bounded by [`LONGEST`].
    pub fn plus(self, duration: Duration) -> Self {
        Self { monotonic: self.monotonic + duration, wall: self.wall + duration }
    }

    /// What is left until this moment: the lesser of what the clocks say.
    pub fn left(self, now: Moment) -> Duration {
        let monotonic = self.monotonic.saturating_duration_since(now.monotonic);
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        monotonic.min(wall)
    }
}

/// No lifetime is held to be longer: a token of a year is a mistake of the provider.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// When to renew. The defaults are right for every provider known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Renewal begins this long before the end, or a quarter of the lifetime if that is less.
    pub lead: Duration,
    /// The lead is taken whole, and in it the token is not used: Exchange's high-volume endpoint
    /// refuses tokens with less than ten minutes to live (`501 5.5.127`).
    pub strict: bool,
    /// Renewals nobody waits for are never closer together than this.
    pub least: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { lead: Duration::from_secs(600), strict: false, least: Duration::from_secs(30) }
    }
}

impl Pace {
    fn lead_of(&self, lifetime: Duration) -> Duration {
        if self.strict { self.lead } else { self.lead.min(lifetime / 4) }
    }

    /// How long before its end a token is no longer used: the way to the upstream takes time.
    fn margin_of(&self, lifetime: Duration) -> Duration {
        if self.strict && lifetime > self.lead {
            self.lead
        } else {
            Duration::from_secs(10).min(lifetime / 10)
        }
    }
}

/// A token as it came.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The token.
    pub secret: Secret,
    /// How long it lives, counted from `asked`.
    pub lifetime: Duration,
    /// When the request began: the provider counts from somewhere after that.
    pub asked: Moment,
}

#[derive(Clone, Debug)]
struct Held {
    secret: Secret,
    version: u64,
    /// No longer used from then on.
    end: Moment,
    renew: Moment,
}

#[derive(Clone, Debug)]
enum State {
    /// None was had yet, or the last one has ended.
    Absent,
    /// A token is held.
    Active(Held),
    /// The upstream refused what was held: only another one will do.
    Refused,
}

/// Why there is no newer token.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What went wrong last.
    pub fault: Fault,
    /// How often in a row.
    pub failures: u32,
    /// No request before.
    pub not_before: Instant,
}

/// Leave to make one request. Only the answer that brings it back counts.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave(u64);

/// What a caller gets now.
#[derive(Clone, Debug)]
pub enum Demand {
    /// A token that may be used.
    Ready(AccessToken),
    /// A request is under way: wait for it.
    Wait,
    /// Nobody asks yet: begin.
    Ask,
    /// The last request failed; no other one for so long.
    Failed(Fault, Duration),
}

/// What `status` shows of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// No token was asked for yet, or it has ended.
    Absent,
    /// A usable token is held.
    Active,
    /// The upstream refused the token; another one is being had.
    Refused,
    /// No token, and the last request failed.
    Failed,
}

/// One credential.
#[derive(Clone, Debug)]
pub struct Credential {
    pace: Pace,
    state: State,
    version: u64,
    /// Counts requests and whatever makes an outstanding one void.
    epoch: u64,
    under_way: bool,
    trouble: Option<Trouble>,
}

impl Credential {
    /// Nothing held.
    pub fn new(pace: Pace) -> Self {
        let state = State::Absent;
        Self { pace, state, version: 0, epoch: 0, under_way: false, trouble: None }
    }

    /// What a caller gets. A token that is due for renewal is still handed out.
    pub fn demand(&self, now: Moment) -> Demand {
        if let Some(held) = self.usable(now) {
            return Demand::Ready(AccessToken {
                secret: held.secret.clone(),
                usable_until: now.monotonic + held.end.left(now),
                version: held.version,
            });
        }
        if self.under_way {
            return Demand::Wait;
        }
        match &self.trouble {
            Some(trouble) if trouble.not_before > now.monotonic => {
                Demand::Failed(trouble.fault.clone(), trouble.not_before - now.monotonic)
            }
            _ => Demand::Ask,
        }
    }

    /// How long until a request should be made that nobody waits for; zero = now, `None` = not
    /// until something changes.
    pub fn renewal(&self, now: Moment) -> Option<Duration> {
        if self.under_way {
            return None;
        }
        let pause = self.trouble.as_ref().map(|trouble| {
            // Never back to back, however small the pause came out.
            trouble.not_before.saturating_duration_since(now.monotonic)
        });
        match (&self.state, pause) {
            (State::Active(held), pause) => {
                Some(held.renew.left(now).max(pause.unwrap_or_default()))
            }
            (State::Absent | State::Refused, pause) => pause,
        }
    }

    /// Leave to make a request, unless one is under way or the pause lasts.
    pub fn begin(&mut self, now: Moment) -> Option<Leave> {
        let paused = self.trouble.as_ref().is_some_and(|t| t.not_before > now.monotonic);
        if self.under_way || paused {
            return None;
        }
        self.under_way = true;
        self.epoch += 1;
        Some(Leave(self.epoch))
    }

    /// The answer to the request of `leave`; chance is 0 to 255. Whether it counted.
    pub fn settle(
        &mut self,
        leave: Leave,
        answer: Result<Fresh, Fault>,
        now: Moment,
        chance: u8,
    ) -> bool {
        if leave.0 != self.epoch || !self.under_way {
            return false;
        }
        self.under_way = false;
        match answer.and_then(|fresh| self.take(fresh, now)) {
            Ok(()) => self.trouble = None,
            Err(fault) => {
                let failures = self.trouble.as_ref().map_or(0, |t| t.failures).saturating_add(1);
                let not_before = now.monotonic + pause(&fault, failures, chance);
                self.trouble = Some(Trouble { fault, failures, not_before });
            }
        }
        true
    }

    /// The upstream refused this version. Whether another one is needed now: no, if the one held is
    /// already newer.
    pub fn refuse(&mut self, version: u64) -> bool {
        let State::Active(held) = &self.state else { return false };
        if held.version > version {
            return false;
        }
        self.state = State::Refused;
        true
    }

    /// Somebody changed the configuration or signed in: a pause that waits for a person is over. A
    /// pause the provider asked for stays.
    pub fn wake(&mut self) {
        if self.trouble.as_ref().is_some_and(|t| t.fault.class() != Class::Transient) {
            self.trouble = None;
        }
    }

    /// Whatever request is under way, its answer no longer counts.
    pub fn retire(&mut self) {
        self.epoch += 1;
        self.under_way = false;
    }

    /// What `status` shows.
    pub fn condition(&self, now: Moment) -> Condition {
        match (&self.state, &self.trouble) {
            _ if self.usable(now).is_some() => Condition::Active,
            (_, Some(_)) => Condition::Failed,
            (State::Refused, None) => Condition::Refused,
            (State::Absent | State::Active(_), None) => Condition::Absent,
        }
    }

    /// How long the token held may still be used.
    pub fn usable_for(&self, now: Moment) -> Option<Duration> {
        self.usable(now).map(|held| held.end.left(now))
    }

    /// What went wrong last, if nothing went right since.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Tokens had so far.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn usable(&self, now: Moment) -> Option<&Held> {
        match &self.state {
            State::Active(held) if !held.end.left(now).is_zero() => Some(held),
            _ => None,
        }
    }

    fn take(&mut self, fresh: Fresh, now: Moment) -> Result<(), Fault> {
        let lifetime = fresh.lifetime.min(LONGEST);
        let end = fresh.asked.plus(lifetime.saturating_sub(self.pace.margin_of(lifetime)));
        if end.left(now).is_zero() {
            // As a success this would make everyone who waits ask again at once, for ever.
            return Err(Fault::Stale);
        }
        let least = now.plus(self.pace.least);
        if let Some(left) = self.usable(now).map(|held| held.end.left(now))
            && end.left(now) <= left + Duration::from_secs(1)
            && let State::Active(held) = &mut self.state
        {
            // The provider answers from a cache of its own (managed identities do): asking again
            // at once would only bring the same.
            held.renew = now.plus((left / 2).max(self.pace.least));
            return Ok(());
        }
        let due = fresh.asked.plus(lifetime.saturating_sub(self.pace.lead_of(lifetime)));
        let renew = if due.monotonic > least.monotonic { due } else { least };
        self.version += 1;
        self.state =
            State::Active(Held { secret: fresh.secret, version: self.version, end, renew });
        Ok(())
    }
}

/// The pause after the n-th failure in a row.
///
/// What passes by itself: 1 s, doubling to 5 minutes, half of it by chance so that many hosts do not
/// come back together. What waits for a person: 5 minutes growing to 15, because asking more often
/// brings lockouts and `AADSTS50196`. Never less than the provider or the diagnosis asks for.
fn pause(fault: &Fault, failures: u32, chance: u8) -> Duration {
    let part = |whole: Duration| whole * u32::from(chance) / 255;
    let own = match fault.class() {
        Class::Transient => {
            let whole = Duration::from_secs(1 << failures.saturating_sub(1).min(9)).min(MOST);
            whole / 2 + part(whole / 2)
        }
        Class::SignIn | Class::Administrator => {
            let whole = Duration::from_secs(300) * failures.clamp(1, 3);
            (whole + part(whole / 10)).min(Duration::from_secs(900))
        }
    };
    let asked = fault.retry_after().unwrap_or_default().max(fault.pause());
    if asked.is_zero() { own } else { own.max(asked + part(Duration::from_secs(1))) }
}

/// The longest pause after what passes by itself.
const MOST: Duration = Duration::from_secs(300);
