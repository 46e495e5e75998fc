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
    /// A refusal is final until a person changes something: with a password every try counts towards
    /// a lockout.
    pub once: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lead: Duration::from_secs(600),
            strict: false,
            least: Duration::from_secs(30),
            once: false,
        }
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
    /// As the provider said.
    dies: Moment,
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
    /// No request at all, until somebody wakes the credential.
    pub is_final: bool,
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
            Some(trouble) if trouble.is_final => {
                let left = trouble.not_before.saturating_duration_since(now.monotonic);
                Demand::Failed(trouble.fault.clone(), left.max(LOOK_AGAIN))
            }
            Some(trouble) if trouble.not_before > now.monotonic => {
                Demand::Failed(trouble.fault.clone(), trouble.not_before - now.monotonic)
            }
            _ => Demand::Ask,
        }
    }

    /// How long until a request should be made that nobody waits for; zero = now, `None` = not
    /// until something changes.
    pub fn renewal(&self, now: Moment) -> Option<Duration> {
        if self.under_way || self.trouble.as_ref().is_some_and(|trouble| trouble.is_final) {
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
        let paused =
            self.trouble.as_ref().is_some_and(|t| t.is_final || t.not_before > now.monotonic);
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
                let is_final =
                    self.pace.once && !fault.allows_another_try() || fault.waits_for_sign_in();
                self.trouble = Some(Trouble { fault, failures, not_before, is_final });
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
        if self.trouble.as_ref().is_some_and(|t| t.is_final || t.fault.class() != Class::Transient)
        {
            self.trouble = None;
        }
    }

    /// What is held comes from a place that now holds something else: it is asked for at the next
    /// demand.
    pub fn forget(&mut self) {
        self.state = State::Absent;
        self.trouble = None;
    }

    /// Whether a request is under way.
    pub fn is_asking(&self) -> bool {
        self.under_way
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
        let dies = fresh.asked.plus(lifetime);
        if let Some(held) = self.usable(now)
            && dies.left(now) <= held.dies.left(now) + Duration::from_secs(1)
        {
            // The provider answers from a cache of its own (managed identities do): asking again
            // at once would only bring the same.
            let renew = now.plus((held.end.left(now) / 2).max(self.pace.least));
            self.state = State::Active(Held { renew, ..held.clone() });
            return Ok(());
        }
        let least = now.plus(self.pace.least);
        let due = fresh.asked.plus(lifetime.saturating_sub(self.pace.lead_of(lifetime)));
        let renew = if due.monotonic > least.monotonic { due } else { least };
        self.version += 1;
        self.state =
            State::Active(Held { secret: fresh.secret, version: self.version, dies, end, renew });
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

/// Whoever hears of a final refusal may ask again after this; nobody else is asked.
const LOOK_AGAIN: Duration = Duration::from_secs(900);

/// The longest pause after what passes by itself.
const MOST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_nobody_asks_for_is_renewed_every_hour_for_a_year() {
        let start = Moment { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH };
        let (mut now, mut last, mut widest) = (start, start, Duration::ZERO);
        let mut credential = Credential::new(Pace::default());
        for round in 0_u32.. {
            let leave = credential.begin(now).expect("leave");
            // Every tenth hour the provider is away.
            let answer = match round % 10 {
                9 => Err(Fault::GivenUp),
                _ => Ok(Fresh {
                    secret: Secret::new("token"),
                    lifetime: Duration::from_secs(3600),
                    asked: now,
                }),
            };
            if answer.is_ok() {
                widest = widest.max(now.wall.duration_since(last.wall).unwrap_or_default());
                last = now;
            }
            assert!(credential.settle(leave, answer, now, 128));
            now = now.plus(credential.renewal(now).expect("a next one"));
            if now.wall > start.wall + Duration::from_secs(365 * 86_400) {
                break;
            }
        }
        assert!(widest < Duration::from_secs(2 * 3600), "{widest:?}");
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Moment {
        Moment { monotonic: Instant::now(), wall: SystemTime::UNIX_EPOCH + HOUR * 400_000 }
    }

    fn fresh(text: &str, seconds: u64, asked: Moment) -> Result<Fresh, Fault> {
        Ok(Fresh { secret: Secret::new(text), lifetime: Duration::from_secs(seconds), asked })
    }

    fn fault(error: &str, codes: &[u32], retry_after: Option<Duration>) -> Fault {
        let diagnosis = crate::diagnosis::entra::classify(error, codes, 400);
        Fault::Refused { diagnosis, text: String::new(), retry_after }
    }

    /// A credential that got this token at `at`.
    fn holding(pace: Pace, seconds: u64, at: Moment) -> Credential {
        let mut credential = Credential::new(pace);
        let leave = credential.begin(at).unwrap();
        assert!(credential.settle(leave, fresh("one", seconds, at), at, 0));
        credential
    }

    fn ready(credential: &Credential, now: Moment) -> Option<AccessToken> {
        match credential.demand(now) {
            Demand::Ready(token) => Some(token),
            _ => None,
        }
    }

    #[test]
    fn renewal_begins_at_the_lesser_of_ten_minutes_and_a_quarter_before_the_end() {
        let strict = Pace { strict: true, ..Pace::default() };
        // lifetime, pace, renewal after, usable for: seconds
        for (lifetime, pace, renewal, usable) in [
            (3600, Pace::default(), 3000, 3590),
            (4800, Pace::default(), 4200, 4790),
            (86_400, Pace::default(), 85_800, 86_390),
            (1200, Pace::default(), 900, 1190),
            (100, Pace::default(), 75, 90),
            // No renewal that nobody waits for within 30 s, so no storm.
            (20, Pace::default(), 30, 18),
            (3600, strict, 3000, 3000),
            (1200, strict, 600, 600),
            (300, strict, 30, 290),
        ] {
            let at = start();
            let credential = holding(pace, lifetime, at);
            assert_eq!(credential.renewal(at), Some(Duration::from_secs(renewal)), "{lifetime}");
            assert_eq!(credential.usable_for(at), Some(Duration::from_secs(usable)), "{lifetime}");
            let last = at.plus(Duration::from_secs(usable) - Duration::from_millis(1));
            assert!(ready(&credential, last).is_some());
            assert!(matches!(credential.demand(at.plus(Duration::from_secs(usable))), Demand::Ask));
        }
    }

    #[test]
    fn a_lifetime_counts_from_the_question_and_a_monstrous_one_is_cut() {
        let at = start();
        let mut credential = Credential::new(Pace::default());
        let leave = credential.begin(at).unwrap();
        credential.settle(leave, fresh("one", 3600, at), at.plus(MINUTE), 0);
        assert_eq!(credential.usable_for(at.plus(MINUTE)), Some(Duration::from_secs(3530)));
        let credential = holding(Pace::default(), 1_000_000_000_000, at);
        assert_eq!(credential.usable_for(at), Some(LONGEST - Duration::from_secs(10)));
    }

    #[test]
    fn a_token_that_ended_on_its_way_is_a_failure_with_a_pause() {
        let at = start();
        let mut credential = Credential::new(Pace::default());
        let leave = credential.begin(at).unwrap();
        let late = at.plus(Duration::from_secs(3));
        credential.settle(leave, fresh("one", 2, at), late, 255);
        assert!(matches!(credential.demand(late), Demand::Failed(Fault::Stale, _)));
    }

    #[test]
    fn b14_only_one_request_is_under_way() {
        let at = start();
        let mut credential = Credential::new(Pace::default());
        assert!(matches!(credential.demand(at), Demand::Ask));
        let leave = credential.begin(at).unwrap();
        assert!(credential.begin(at).is_none());
        assert!(matches!(credential.demand(at), Demand::Wait));
        assert_eq!(credential.renewal(at), None);
        credential.settle(leave, fresh("one", 3600, at), at, 0);
        assert_eq!(ready(&credential, at).unwrap().secret.expose(), "one");
    }

    #[test]
    fn a_late_answer_of_an_abandoned_request_changes_nothing() {
        let at = start();
        let mut credential = Credential::new(Pace::default());
        let late = credential.begin(at).unwrap();
        credential.retire();
        let leave = credential.begin(at).unwrap();
        assert!(credential.settle(leave, fresh("new", 3600, at), at, 0));
        assert!(!credential.settle(late, fresh("old", 3600, at), at, 0));
        assert_eq!(ready(&credential, at).unwrap().secret.expose(), "new");
        let late = credential.begin(at).unwrap();
        credential.retire();
        assert!(!credential.settle(late, Err(fault("invalid_grant", &[], None)), at, 0));
        assert!(credential.trouble().is_none());
    }

    #[test]
    fn b13_refuse_forces_another_one_unless_the_held_one_is_newer() {
        let at = start();
        let mut credential = holding(Pace::default(), 3600, at);
        let first = ready(&credential, at).unwrap();
        assert!(credential.refuse(first.version));
        assert!(!credential.refuse(first.version), "refused twice by two connections");
        assert_eq!(credential.condition(at), Condition::Refused);
        let leave = credential.begin(at).unwrap();
        // The very same text may come back from a provider's cache: it is another version.
        credential.settle(leave, fresh("one", 3600, at), at, 0);
        let second = ready(&credential, at).unwrap();
        assert!(second.version > first.version);
        assert!(!credential.refuse(first.version), "the held one is newer");
        assert!(ready(&credential, at).is_some());
    }

    #[test]
    fn b11_the_last_good_token_is_used_while_valid_when_renewals_fail() {
        let at = start();
        let mut credential = holding(Pace::default(), 7200, at);
        let mut now = at.plus(Duration::from_secs(3000));
        for error in ["server_error", "invalid_grant", "invalid_client"] {
            let leave = credential.begin(now).unwrap();
            credential.settle(leave, Err(fault(error, &[], None)), now, 0);
            assert_eq!(ready(&credential, now).unwrap().secret.expose(), "one", "{error}");
            assert_eq!(credential.condition(now), Condition::Active);
            now = Moment { monotonic: credential.trouble().unwrap().not_before, wall: now.wall };
        }
        let over = at.plus(Duration::from_secs(7190));
        assert!(matches!(credential.demand(over), Demand::Failed(..) | Demand::Ask));
        // Refused by the upstream it is of no use even while valid.
        let mut credential = holding(Pace::default(), 3600, at);
        credential.refuse(1);
        let leave = credential.begin(at).unwrap();
        credential.settle(leave, Err(fault("server_error", &[], None)), at, 0);
        assert!(matches!(credential.demand(at), Demand::Failed(..)));
    }

    #[test]
    fn an_answer_no_fresher_waits_half_the_remaining_life_at_least_half_a_minute() {
        for (held_for, wait) in [(3000, 295), (3560, 30)] {
            let at = start();
            let mut credential = holding(Pace::default(), 3600, at);
            let now = at.plus(Duration::from_secs(held_for));
            let leave = credential.begin(now).unwrap();
            credential.settle(leave, fresh("one", 3600 - held_for, now), now, 0);
            assert_eq!(credential.version(), 1);
            let margin = credential.renewal(now).unwrap();
            assert_eq!(margin, Duration::from_secs(wait), "{held_for}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_in_their_bounds() {
        // class, failures, least, most: seconds
        for (error, failures, least, most) in [
            ("server_error", 1, 0.5, 1.0),
            ("server_error", 2, 1.0, 2.0),
            ("server_error", 5, 8.0, 16.0),
            ("server_error", 9, 128.0, 256.0),
            ("server_error", 10, 150.0, 300.0),
            ("server_error", u32::MAX, 150.0, 300.0),
            ("invalid_grant", 1, 300.0, 330.0),
            ("invalid_grant", 2, 600.0, 660.0),
            ("invalid_client", 3, 900.0, 900.0),
            ("invalid_client", 1000, 900.0, 900.0),
        ] {
            let fault = fault(error, &[], None);
            assert_eq!(pause(&fault, failures, 0).as_secs_f64(), least, "{error} {failures}");
            assert_eq!(pause(&fault, failures, 255).as_secs_f64(), most, "{error} {failures}");
        }
    }

    #[test]
    fn b11_retry_after_and_b12_the_pause_of_a_diagnosis_are_kept() {
        let long = Some(Duration::from_secs(1800));
        for (fault, least) in [
            (fault("temporarily_unavailable", &[], Some(MINUTE)), 60),
            (fault("invalid_grant", &[50196], None), 60),
            (fault("invalid_grant", &[50053], None), 900),
            (fault("invalid_client", &[], long), 1800),
            (Fault::Unclear { status: 429, what: String::new(), retry_after: long }, 1800),
        ] {
            for chance in [0, 255] {
                let pause = pause(&fault, 1, chance);
                assert!(pause >= Duration::from_secs(least), "{fault:?} {pause:?}");
                assert!(pause <= Duration::from_secs(least + 1), "{fault:?} {pause:?}");
            }
        }
        let at = start();
        let mut credential = Credential::new(Pace::default());
        let leave = credential.begin(at).unwrap();
        credential.settle(leave, Err(fault("x", &[], long)), at, 0);
        let before = at.plus(Duration::from_secs(1799));
        assert!(credential.begin(before).is_none());
        assert!(matches!(credential.demand(before), Demand::Failed(_, left) if !left.is_zero()));
        assert!(credential.begin(at.plus(Duration::from_secs(1800))).is_some());
    }

    #[test]
    fn b16_by_either_clock_an_ended_token_is_not_used_and_a_jump_asks_once() {
        let at = start();
        // Suspended for two hours: only the wall clock went on.
        let suspended = Moment { monotonic: at.monotonic + MINUTE, wall: at.wall + HOUR * 2 };
        // Set forward and back by an hour.
        let forward = Moment { monotonic: at.monotonic + MINUTE, wall: at.wall + HOUR };
        let back = Moment { monotonic: at.monotonic + MINUTE, wall: at.wall - HOUR };
        for (name, jumped, usable) in
            [("suspend", suspended, false), ("forward", forward, false), ("back", back, true)]
        {
            let mut credential = holding(Pace::default(), 3600, at);
            assert_eq!(ready(&credential, jumped).is_some(), usable, "{name}");
            if usable {
                // The monotonic clock alone rules: not used beyond the end, not renewed at once.
                let token = ready(&credential, jumped).unwrap();
                assert_eq!(token.usable_until, at.monotonic + Duration::from_secs(3590));
                assert_eq!(credential.renewal(jumped), Some(Duration::from_secs(2940)));
                continue;
            }
            assert_eq!(credential.renewal(jumped), Some(Duration::ZERO), "{name}");
            let leave = credential.begin(jumped).unwrap();
            credential.settle(leave, fresh("two", 3600, jumped), jumped, 0);
            // One request and all is well again: no storm.
            assert_eq!(ready(&credential, jumped).unwrap().secret.expose(), "two");
            assert_eq!(credential.renewal(jumped), Some(Duration::from_secs(3000)), "{name}");
            // And back again, by somebody who noticed the mistake.
            let mended = Moment { monotonic: jumped.monotonic + MINUTE, wall: at.wall };
            assert!(ready(&credential, mended).is_some());
            assert_eq!(credential.renewal(mended), Some(Duration::from_secs(2940)));
        }
    }

    #[test]
    fn a_change_by_a_person_ends_their_pause_but_not_the_providers() {
        let at = start();
        for (error, ended) in
            [("invalid_grant", true), ("invalid_client", true), ("server_error", false)]
        {
            let mut credential = Credential::new(Pace::default());
            let leave = credential.begin(at).unwrap();
            credential.settle(leave, Err(fault(error, &[], Some(MINUTE))), at, 0);
            assert_eq!(credential.condition(at), Condition::Failed);
            credential.wake();
            assert_eq!(credential.begin(at).is_some(), ended, "{error}");
        }
    }

    #[test]
    fn nobody_renews_what_nobody_wanted_and_failures_are_tried_again() {
        let at = start();
        let mut credential = Credential::new(Pace::default());
        assert_eq!(credential.renewal(at), None);
        let leave = credential.begin(at).unwrap();
        credential.settle(leave, Err(fault("invalid_grant", &[], None)), at, 0);
        assert_eq!(credential.renewal(at), Some(Duration::from_secs(300)));
    }

    #[test]
    fn a_refused_password_is_final_until_a_person_and_trouble_on_the_way_is_not() {
        let now = Moment { monotonic: Instant::now(), wall: SystemTime::now() };
        let refused = |code, error, status| Fault::Refused {
            diagnosis: crate::diagnosis::entra::classify(error, &[code], status),
            text: String::new(),
            retry_after: None,
        };
        let away = Fault::Unreachable("x".to_owned());
        for (fault, is_final) in [
            (refused(50126, "invalid_grant", 400), true),
            (refused(50076, "invalid_grant", 400), true),
            (refused(50053, "invalid_grant", 400), true),
            (refused(7_000_218, "invalid_client", 401), true),
            (refused(90033, "temporarily_unavailable", 503), false),
            (refused(90055, "x", 429), false),
            (away, false),
        ] {
            let mut credential = Credential::new(Pace { once: true, ..Pace::default() });
            let leave = credential.begin(now).unwrap();
            credential.settle(leave, Err(fault.clone()), now, 0);
            let later = now.plus(LONGEST);
            assert_eq!(credential.begin(later).is_none(), is_final, "{fault:?}");
            if is_final {
                assert_eq!(credential.renewal(later), None);
                assert!(matches!(credential.demand(later), Demand::Failed(..)));
                credential.wake();
                assert!(credential.begin(later).is_some());
            }
        }
    }
}
