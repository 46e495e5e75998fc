//! The upstream's limits per mailbox: messages a minute and connections at once. Pure.
//!
//! It promises that no more than `connections` run at once and that a minute sees at most the burst
//! plus what was refilled. It knows no mail: whoever asks counts for himself what is under way.

use crate::config::Limit;
use std::time::{Duration, Instant};

/// So long without a complaint of the upstream, and one connection more is dared.
const QUIET: Duration = Duration::from_secs(5 * 60);
/// What `unlimited` means in practice: each connection costs memory and a descriptor.
const UNLIMITED_CONNECTIONS: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);

/// Messages a minute: a bucket that holds as many as the number says and is refilled evenly.
///
/// Kept as one moment (the time at which the bucket would be full again), so nothing drifts.
#[derive(Clone, Debug)]
pub struct Pace {
    limit: Option<Refill>,
}

#[derive(Clone, Debug)]
struct Refill {
    burst: u32,
    interval: Duration,
    full_at: Instant,
}

impl Pace {
    /// A full bucket.
    pub fn new(limit: Limit, now: Instant) -> Self {
        let limit = match limit {
            Limit::Unlimited => None,
            Limit::AtMost(number) => {
                let burst = number.max(1);
                Some(Refill { burst, interval: MINUTE / burst, full_at: now })
            }
        };
        Self { limit }
    }

    /// The same bucket under another limit: what was used stays used.
    pub fn set(&mut self, limit: Limit, now: Instant) {
        let mut fresh = Self::new(limit, now);
        if let (Some(new), Some(old)) = (&mut fresh.limit, &self.limit) {
            if new.burst == old.burst {
                return;
            }
            new.full_at = old.full_at.max(now);
        }
        *self = fresh;
    }

    /// How many may go in a minute; none where there is no limit.
    pub fn most(&self) -> Option<u32> {
        self.limit.as_ref().map(|refill| refill.burst)
    }

    /// How many may go now.
    pub fn ready(&self, now: Instant) -> usize {
        let Some(refill) = &self.limit else { return usize::MAX };
        let missing = refill.full_at.saturating_duration_since(now);
        let used = missing.as_nanos().div_ceil(refill.interval.as_nanos());
        usize::try_from(u128::from(refill.burst).saturating_sub(used)).unwrap_or(usize::MAX)
    }

    /// Takes one out; only after [`Pace::ready`] said that there is one.
    pub fn take(&mut self, now: Instant) {
        if let Some(refill) = &mut self.limit {
            refill.full_at = refill.full_at.max(now) + refill.interval;
        }
    }

    /// Puts one back that was taken for nothing (no token, no body): it never reached the upstream.
    pub fn give_back(&mut self) {
        if let Some(refill) = &mut self.limit
            && let Some(earlier) = refill.full_at.checked_sub(refill.interval)
        {
            refill.full_at = earlier;
        }
    }

    /// When the next one is ready; none where one is ready now.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let refill = self.limit.as_ref()?;
        if self.ready(now) > 0 {
            return None;
        }
        refill.full_at.checked_sub(refill.interval * (refill.burst - 1))
    }
}

/// Connections at once: fewer after a complaint of the upstream, one more after each quiet time.
#[derive(Clone, Debug)]
pub struct Slots {
    most: usize,
    now: usize,
    changed: Option<Instant>,
}

impl Slots {
    /// All that the configuration allows.
    pub fn new(limit: Limit) -> Self {
        let most = most(limit);
        Self { most, now: most, changed: None }
    }

    /// Another limit: lowered ones stay lowered.
    pub fn set(&mut self, limit: Limit) {
        let was_full = self.now == self.most;
        self.most = most(limit);
        self.now = if was_full { self.most } else { self.now.min(self.most) };
    }

    /// How many the configuration allows.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The upstream complained: one fewer, never none.
    pub fn lower(&mut self, now: Instant) {
        self.now = (self.now - 1).max(1);
        self.changed = Some(now);
    }

    /// How many may be under way now.
    pub fn allowed(&mut self, now: Instant) -> usize {
        while let Some(changed) = self.changed
            && self.now < self.most
            && now.saturating_duration_since(changed) >= QUIET
        {
            self.now += 1;
            self.changed = Some(changed + QUIET);
        }
        self.now
    }
}

fn most(limit: Limit) -> usize {
    match limit {
        Limit::AtMost(number) => usize::try_from(number).unwrap_or(UNLIMITED_CONNECTIONS).max(1),
        Limit::Unlimited => UNLIMITED_CONNECTIONS,
    }
}

/// The stricter of two limits: accounts of one mailbox share it.
pub fn stricter(a: Limit, b: Limit) -> Limit {
    match (a, b) {
        (Limit::AtMost(a), Limit::AtMost(b)) => Limit::AtMost(a.min(b)),
        (Limit::Unlimited, other) | (other, Limit::Unlimited) => other,
    }
}

/// The first pause doubled so often, at most the longest.
pub fn grown((first, longest): (Duration, Duration), times: u32) -> Duration {
    (first * 2_u32.saturating_pow(times.min(10))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn b21_a_burst_flows_at_once_and_then_one_each_two_seconds() {
        let start = Instant::now();
        let mut pace = Pace::new(Limit::AtMost(30), start);
        for left in (0..30).rev() {
            assert_eq!(pace.next(start), None);
            pace.take(start);
            assert_eq!(pace.ready(start), left);
        }
        assert_eq!(pace.next(start), Some(start + 2 * SECOND));
        assert_eq!(pace.ready(start + 2 * SECOND - Duration::from_nanos(1)), 0);
        assert_eq!(pace.ready(start + 2 * SECOND), 1);
        assert_eq!(pace.ready(start + 59 * SECOND), 29);
        assert_eq!(pace.ready(start + 3600 * SECOND), 30, "never more than the burst");
    }

    #[test]
    fn b21_an_hour_sees_no_more_than_the_burst_and_the_refill() {
        let start = Instant::now();
        let mut pace = Pace::new(Limit::AtMost(30), start);
        let mut sent = 0;
        for second in 0..3600 {
            let now = start + second * SECOND;
            while pace.ready(now) > 0 {
                pace.take(now);
                sent += 1;
            }
        }
        assert_eq!(sent, 30 + 1799);
    }

    #[test]
    fn what_was_taken_for_nothing_comes_back() {
        let start = Instant::now();
        let mut pace = Pace::new(Limit::AtMost(1), start);
        pace.take(start);
        assert_eq!(pace.next(start), Some(start + MINUTE));
        pace.give_back();
        assert_eq!(pace.ready(start), 1);
        pace.give_back();
        assert_eq!(pace.ready(start), 1, "a full bucket does not overflow");
    }

    #[test]
    fn unlimited_is_never_waited_for() {
        let start = Instant::now();
        let mut pace = Pace::new(Limit::Unlimited, start);
        for _ in 0..10_000 {
            pace.take(start);
        }
        assert_eq!((pace.ready(start), pace.next(start)), (usize::MAX, None));
    }

    #[test]
    fn a_new_limit_forgets_nothing_that_was_used() {
        let start = Instant::now();
        let mut pace = Pace::new(Limit::AtMost(30), start);
        for _ in 0..30 {
            pace.take(start);
        }
        pace.set(Limit::AtMost(30), start);
        assert_eq!(pace.ready(start), 0);
        pace.set(Limit::AtMost(60), start);
        assert_eq!(pace.ready(start), 0);
        assert_eq!(pace.ready(start + MINUTE), 60);
        pace.set(Limit::Unlimited, start);
        assert_eq!(pace.ready(start), usize::MAX);
    }

    #[test]
    fn b21_complaints_lower_the_connections_and_quiet_raises_them() {
        let start = Instant::now();
        let mut slots = Slots::new(Limit::AtMost(3));
        assert_eq!(slots.allowed(start), 3);
        slots.lower(start);
        assert_eq!(slots.allowed(start), 2);
        slots.lower(start);
        slots.lower(start);
        assert_eq!(slots.allowed(start), 1, "never none");
        assert_eq!(slots.allowed(start + QUIET - SECOND), 1);
        assert_eq!(slots.allowed(start + QUIET), 2);
        assert_eq!(slots.allowed(start + 2 * QUIET), 3);
        assert_eq!(slots.allowed(start + 20 * QUIET), 3, "never more than configured");
    }

    #[test]
    fn a_complaint_begins_the_quiet_time_anew() {
        let start = Instant::now();
        let mut slots = Slots::new(Limit::AtMost(3));
        slots.lower(start);
        slots.lower(start + 4 * MINUTE);
        assert_eq!(slots.allowed(start + 6 * MINUTE), 1);
        assert_eq!(slots.allowed(start + 9 * MINUTE), 2);
    }

    #[test]
    fn another_limit_keeps_what_was_lowered() {
        let start = Instant::now();
        let mut slots = Slots::new(Limit::AtMost(3));
        slots.set(Limit::AtMost(5));
        assert_eq!(slots.allowed(start), 5);
        slots.lower(start);
        slots.set(Limit::AtMost(2));
        assert_eq!(slots.allowed(start), 2);
        assert_eq!(stricter(Limit::Unlimited, Limit::AtMost(2)), Limit::AtMost(2));
        assert_eq!(stricter(Limit::AtMost(3), Limit::AtMost(2)), Limit::AtMost(2));
    }
}
