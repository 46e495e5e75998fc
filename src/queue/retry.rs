//! When next, when to give up. Pure.
//!
//! It promises that no try is set behind the expiry and that a clock which jumps makes neither a storm
//! nor an overflow.

use std::time::{Duration, SystemTime};

/// Taken where a schedule has no pauses at all.
const PAUSE: Duration = Duration::from_secs(15 * 60);

/// The pauses between tries and how long a mail is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// After the first failed try the first, and so on; the last one repeats.
    pub pauses: Vec<Duration>,
    /// From acceptance until it is given up.
    pub expire: Duration,
}

impl Schedule {
    /// When to try again after `attempts` failed tries; none when it is to be given up.
    ///
    /// `jitter` lies in 0..1 and spreads the pause by ±20 %, so that mails that failed together do not
    /// come back together. The last try falls on the expiry itself.
    pub fn next(
        &self,
        attempts: u32,
        accepted: SystemTime,
        now: SystemTime,
        jitter: f64,
    ) -> Option<SystemTime> {
        let end = accepted.checked_add(self.expire);
        if end.is_some_and(|end| now >= end) {
            return None;
        }
        let next = now.checked_add(spread(self.pause(attempts), jitter));
        match (next, end) {
            (Some(next), Some(end)) => Some(next.min(end)),
            (next, end) => next.or(end),
        }
    }

    /// No try is set further ahead than this.
    pub fn longest(&self) -> Duration {
        self.pauses.iter().max().map_or(PAUSE, |pause| spread(*pause, 1.0))
    }

    /// The pause after `attempts` tries, before it is spread.
    fn pause(&self, attempts: u32) -> Duration {
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        self.pauses.get(index).or(self.pauses.last()).copied().unwrap_or(PAUSE)
    }
}

fn spread(pause: Duration, jitter: f64) -> Duration {
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    Duration::try_from_secs_f64(pause.as_secs_f64() * (0.8 + 0.4 * jitter)).unwrap_or(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(n * 60)
    }

    fn schedule() -> Schedule {
        Schedule { pauses: vec![minutes(1), minutes(5), minutes(30)], expire: minutes(24 * 60) }
    }

    #[test]
    fn pauses_grow_and_the_last_repeats() {
        let start = UNIX_EPOCH + minutes(1_000_000);
        for (attempts, pause) in [(0, 1), (1, 1), (2, 5), (3, 30), (4, 30), (u32::MAX, 30)] {
            let next = schedule().next(attempts, start, start, 0.5).unwrap();
            assert_eq!(next, start + minutes(pause), "{attempts}");
        }
    }

    #[test]
    fn jitter_spreads_by_a_fifth_and_no_more() {
        let start = UNIX_EPOCH + minutes(1_000_000);
        for (jitter, seconds) in [
            (0.0, 240.0),
            (0.5, 300.0),
            (1.0, 360.0),
            (-7.0, 240.0),
            (7.0, 360.0),
            (f64::NAN, 300.0),
        ] {
            let next = schedule().next(2, start, start, jitter).unwrap();
            let pause = next.duration_since(start).unwrap().as_secs_f64();
            assert!((pause - seconds).abs() < 1e-6, "{jitter}: {pause}");
        }
    }

    #[test]
    fn never_past_the_expiry_and_none_behind_it() {
        let start = UNIX_EPOCH + minutes(1_000_000);
        let end = start + minutes(24 * 60);
        for (now, next) in [
            (end - minutes(60), Some(end - minutes(30))),
            (end - minutes(10), Some(end)),
            (end - Duration::from_nanos(1), Some(end)),
            (end, None),
            (end + minutes(9), None),
            // The clock was set back before the mail was taken.
            (start - minutes(600), Some(start - minutes(570))),
        ] {
            assert_eq!(schedule().next(9, start, now, 0.5), next, "{now:?}");
        }
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let start = UNIX_EPOCH + minutes(1_000_000);
        for attempts in 0..9 {
            let next = schedule().next(attempts, start, start, 1.0).unwrap();
            assert!(next <= start + schedule().longest(), "{attempts}");
        }
        assert_eq!(schedule().longest(), minutes(36));
        assert!(Schedule { pauses: Vec::new(), expire: minutes(1) }.longest() >= PAUSE);
    }

    #[test]
    fn absurd_schedules_do_not_panic() {
        let start = UNIX_EPOCH + minutes(1_000_000);
        let endless = Schedule { pauses: vec![Duration::MAX], expire: Duration::MAX };
        assert_eq!(endless.next(1, start, start, 0.9), None);
        let endless = Schedule { pauses: vec![Duration::MAX], expire: minutes(5) };
        assert_eq!(endless.next(1, start, start, 0.9), Some(start + minutes(5)));
        let empty = Schedule { pauses: Vec::new(), expire: minutes(60) };
        assert_eq!(empty.next(1, start, start, 0.5), Some(start + PAUSE));
        let zero = Schedule { pauses: vec![minutes(1)], expire: Duration::ZERO };
        assert_eq!(zero.next(1, start, start, 0.5), None);
    }
}
