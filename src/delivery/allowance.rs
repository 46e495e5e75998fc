//! Recipients in any 24 hours, as Exchange counts a mailbox's day: a window that slides. Pure.
//!
//! It promises that no 24 hours see more recipients than the limit, as far as they were counted here, and
//! that a clock which is set back frees nothing early and holds nothing longer than a day.
//!
//! It counts by the minute, and a minute is freed when its last moment is a day old.

use crate::config::Limit;
use crate::queue::Charge;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// What a mailbox may send, and what it has sent.
#[derive(Clone, Debug)]
pub struct Allowance {
    limit: Limit,
    /// Minutes since 1970 and the recipients of each, the oldest first.
    spent: VecDeque<(u64, u64)>,
}

impl Allowance {
    /// With what was counted before; charges of other lanes must not be among it.
    pub fn new(limit: Limit, charges: &[Charge], now: SystemTime) -> Self {
        let mut allowance = Self { limit, spent: VecDeque::new() };
        for charge in charges {
            allowance.add(minute(charge.at), u64::from(charge.recipients));
        }
        allowance.slide(now);
        allowance
    }

    /// Another limit: what was used stays used.
    pub fn set(&mut self, limit: Limit) {
        self.limit = limit;
    }

    /// The limit, where there is one.
    pub fn limit(&self) -> Option<u32> {
        match self.limit {
            Limit::AtMost(limit) => Some(limit),
            Limit::Unlimited => None,
        }
    }

    /// Recipients of the last 24 hours.
    pub fn used(&mut self, now: SystemTime) -> u64 {
        self.slide(now);
        self.spent.iter().map(|(_, recipients)| recipients).sum()
    }

    /// When so many more may be sent; none where they may now. More than the limit never may.
    pub fn when(&mut self, recipients: u32, now: SystemTime) -> Option<SystemTime> {
        let limit = u64::from(self.limit()?);
        let mut surplus = (self.used(now) + u64::from(recipients)).checked_sub(limit)?;
        let mut until = None;
        for (minute, freed) in &self.spent {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(*freed);
            until = UNIX_EPOCH.checked_add(Duration::from_secs((minute + 1) * MINUTE + DAY));
        }
        until
    }

    /// Counts recipients that are being sent now.
    pub fn take(&mut self, recipients: u32, now: SystemTime) {
        if self.limit().is_some() {
            self.slide(now);
            self.add(minute(now), u64::from(recipients));
        }
    }

    /// Takes back what was counted `at` a time and not sent.
    pub fn give_back(&mut self, recipients: u32, at: SystemTime) {
        let at = minute(at);
        // After the clock was set back the count stands at another minute; it stays, which errs on the
        // safe side.
        if let Some((_, spent)) = self.spent.iter_mut().find(|(minute, _)| *minute == at) {
            *spent = spent.saturating_sub(u64::from(recipients));
        }
    }

    fn add(&mut self, at: u64, recipients: u64) {
        match self.spent.back_mut() {
            Some((minute, spent)) if *minute >= at => *spent += recipients,
            _ => self.spent.push_back((at, recipients)),
        }
    }

    /// Lets go what is older than a day. What stands in the future was sent while the clock was wrong, so
    /// it was sent now at the latest.
    fn slide(&mut self, now: SystemTime) {
        let seconds = seconds(now);
        let this = seconds / MINUTE;
        let mut early = 0;
        while let Some((_, recipients)) = self.spent.pop_back_if(|(minute, _)| *minute > this) {
            early += recipients;
        }
        if early > 0 {
            self.add(this, early);
        }
        let is_over = |(minute, spent): &mut (u64, u64)| {
            *spent == 0 || (*minute + 1) * MINUTE + DAY <= seconds
        };
        while self.spent.pop_front_if(is_over).is_some() {}
    }
}

fn seconds(time: SystemTime) -> u64 {
    // Far beyond any date, and far from an overflow of the sums above.
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(1 << 50)
}

fn minute(time: SystemTime) -> u64 {
    seconds(time) / MINUTE
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAYS: Duration = Duration::from_secs(DAY);

    fn start() -> SystemTime {
        // Begins with a minute.
        UNIX_EPOCH + Duration::from_secs(28_000_000 * MINUTE)
    }

    fn ten() -> Allowance {
        Allowance::new(Limit::AtMost(10), &[], start())
    }

    #[test]
    fn b21_a_day_that_is_full_waits_until_enough_of_it_is_a_day_old() {
        let mut day = ten();
        day.take(4, start());
        day.take(6, start() + HOUR);
        let now = start() + 2 * HOUR;
        assert_eq!(day.used(now), 10);
        let first = start() + DAYS + 60 * SECOND;
        for (recipients, until) in [
            (0, None),
            (1, Some(first)),
            (4, Some(first)),
            (5, Some(first + HOUR)),
            (10, Some(first + HOUR)),
        ] {
            assert_eq!(day.when(recipients, now), until, "{recipients}");
        }
        assert_eq!(day.when(1, first - SECOND), Some(first));
        assert_eq!(day.when(4, first), None);
        assert_eq!(day.when(5, first), Some(first + HOUR));
        assert_eq!(day.when(10, first + HOUR), None);
        assert_eq!(day.used(first + HOUR), 0);
    }

    #[test]
    fn b21_no_day_sees_more_than_the_limit() {
        let (mut day, mut sent) = (ten(), Vec::new());
        for second in (0..3 * DAY).step_by(700) {
            let now = start() + Duration::from_secs(second);
            while day.when(3, now).is_none() {
                day.take(3, now);
                sent.push(second);
            }
        }
        for from in &sent {
            let in_a_day = sent.iter().filter(|at| (*from..from + DAY).contains(at)).count();
            assert!(in_a_day * 3 <= 10, "{from}: {sent:?}");
        }
        assert!(sent.len() >= 9, "{sent:?}");
    }

    #[test]
    fn what_was_not_taken_comes_back() {
        let mut day = ten();
        day.take(10, start());
        day.give_back(3, start() + 59 * SECOND);
        assert_eq!(day.used(start()), 7);
        day.give_back(3, start() + HOUR);
        assert_eq!(day.used(start()), 7, "that minute holds nothing");
        day.give_back(100, start());
        assert_eq!(day.used(start()), 0);
    }

    #[test]
    fn b16_a_clock_that_jumps_neither_frees_early_nor_holds_for_long() {
        // Ahead by a year for an hour, then back.
        let mut day = ten();
        let year = 365 * DAYS;
        day.take(10, start() + year);
        let now = start() + HOUR;
        assert_eq!(day.when(1, now), Some(now + DAYS + 60 * SECOND), "as if sent now");
        assert_eq!(day.when(1, now + DAYS + 60 * SECOND), None);
        // Back by a year: what was sent before that jump counts for a day from it.
        let mut day = ten();
        day.take(10, start());
        let now = start() - year;
        assert_eq!(day.used(now), 10);
        assert_eq!(day.when(1, now), Some(now + DAYS + 60 * SECOND));
        // The epoch and the end of time.
        for now in [UNIX_EPOCH - HOUR, UNIX_EPOCH + Duration::from_secs(1 << 55)] {
            let mut day = ten();
            day.take(10, now);
            assert_eq!(day.used(now), 10);
            assert!(day.when(1, now).is_some());
        }
    }

    #[test]
    fn b01_what_was_counted_before_the_start_counts_on() {
        let charge = |recipients, at| Charge { lane: "l".into(), recipients, at };
        let charges =
            [charge(5, start() - 2 * DAYS), charge(4, start() - HOUR), charge(3, start() + HOUR)];
        let mut day = Allowance::new(Limit::AtMost(10), &charges, start());
        assert_eq!(day.used(start()), 7);
        assert_eq!(day.when(4, start()), Some(start() - HOUR + DAYS + 60 * SECOND));
    }

    #[test]
    fn unlimited_counts_nothing_and_a_new_limit_keeps_what_was_used() {
        let mut day = Allowance::new(Limit::Unlimited, &[], start());
        day.take(1_000_000, start());
        assert_eq!((day.used(start()), day.when(u32::MAX, start())), (0, None));
        let mut day = ten();
        day.take(10, start());
        day.set(Limit::AtMost(12));
        assert_eq!(day.when(2, start()), None);
        day.set(Limit::AtMost(5));
        assert!(day.when(1, start()).is_some());
    }
}
