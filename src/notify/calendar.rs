//! When the end of something is announced: 60, 30, 14, 7, 3 and 1 days ahead, and when it is over. Pure.
//!
//! It promises that the same end is never announced twice at the same distance, nor at a greater one after
//! a lesser: a clock that is set back says nothing again.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Days ahead; 0 = it is over.
const MARKS: [u64; 7] = [0, 1, 3, 7, 14, 30, 60];
const DAY: u64 = 86_400;

/// What was announced of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The end, in seconds since 1970: another one begins anew.
    pub ends: u64,
    /// Days ahead.
    pub mark: u64,
}

/// What is to be announced now, if anything.
pub fn due(ends: SystemTime, before: Option<Announced>, now: SystemTime) -> Option<Announced> {
    let mark = mark(ends, now)?;
    let ends = seconds(ends);
    let is_new = before.is_none_or(|before| before.ends != ends || mark < before.mark);
    is_new.then_some(Announced { ends, mark })
}

/// The nearest mark that was passed.
fn mark(ends: SystemTime, now: SystemTime) -> Option<u64> {
    let left = ends.duration_since(now).unwrap_or_default();
    MARKS.into_iter().find(|mark| left <= Duration::from_secs(mark * DAY))
}

/// `in 12 days`, `tomorrow`, `today`, `is over since 2027-05-31`.
pub fn in_words(ends: SystemTime, now: SystemTime) -> String {
    let day = super::event::written(ends);
    let day = day.split('T').next().unwrap_or_default();
    match ends.duration_since(now).map(|left| left.as_secs() / DAY) {
        Err(_) => format!("is over since {day}"),
        Ok(0) => format!("ends within a day, on {day}"),
        Ok(1) => format!("ends in 1 day, on {day}"),
        Ok(days) => format!("ends in {days} days, on {day}"),
    }
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339_weak(text).expect("a time")
    }

    const END: &str = "2027-05-31 00:00:00";

    #[test]
    fn each_distance_is_announced_once_and_then_its_end() {
        let mut before = None;
        let mut announced = Vec::new();
        // Looked at every hour for a hundred days.
        let mut now = at("2027-03-01 00:00:00");
        while now < at("2027-06-09 00:00:00") {
            if let Some(told) = due(at(END), before, now) {
                announced.push((told.mark, super::super::event::written(now)));
                before = Some(told);
            }
            now += Duration::from_secs(3600);
        }
        let expected = [
            (60, "2027-04-01T00:00:00Z"),
            (30, "2027-05-01T00:00:00Z"),
            (14, "2027-05-17T00:00:00Z"),
            (7, "2027-05-24T00:00:00Z"),
            (3, "2027-05-28T00:00:00Z"),
            (1, "2027-05-30T00:00:00Z"),
            (0, "2027-05-31T00:00:00Z"),
        ];
        assert_eq!(announced, expected.map(|(mark, time)| (mark, time.to_owned())));
    }

    #[test]
    fn what_is_seen_first_late_is_announced_once_at_its_distance() {
        for (now, mark) in [
            ("2027-03-31 23:59:59", None),
            ("2027-04-01 00:00:00", Some(60)),
            ("2027-05-20 10:00:00", Some(14)),
            ("2027-05-30 23:59:59", Some(1)),
            ("2027-05-31 00:00:00", Some(0)),
            ("2031-01-01 00:00:00", Some(0)),
            ("1970-01-01 00:00:00", None),
        ] {
            let told = due(at(END), None, at(now));
            assert_eq!(told.map(|told| told.mark), mark, "{now}");
            if told.is_some() {
                assert_eq!(due(at(END), told, at(now)), None, "{now}: again");
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_says_nothing_twice_and_another_end_begins_anew() {
        let told = due(at(END), None, at("2027-05-20 10:00:00"));
        for now in ["1970-01-01 00:00:00", "2027-04-20 00:00:00", "2027-05-23 00:00:00"] {
            assert_eq!(due(at(END), told, at(now)), None, "{now}");
        }
        let over = due(at(END), told, at("2030-01-01 00:00:00"));
        assert_eq!(over.map(|told| told.mark), Some(0));
        for now in ["2027-05-20 10:00:00", "2027-05-29 00:00:00", "2030-01-01 00:00:00"] {
            assert_eq!(due(at(END), over, at(now)), None, "{now}");
        }
        let renewed = at("2029-05-31 00:00:00");
        assert_eq!(due(renewed, over, at("2027-06-01 00:00:00")), None);
        assert_eq!(due(renewed, over, at("2029-05-30 12:00:00")).map(|told| told.mark), Some(1));
    }

    #[test]
    fn words() {
        for (now, expected) in [
            ("2027-05-19 00:00:00", "ends in 12 days, on 2027-05-31"),
            ("2027-05-29 00:00:01", "ends in 1 day, on 2027-05-31"),
            ("2027-05-30 12:00:00", "ends within a day, on 2027-05-31"),
            ("2027-05-31 00:00:01", "is over since 2027-05-31"),
        ] {
            assert_eq!(in_words(at(END), at(now)), expected);
        }
    }
}
