//! Wrong logins, counted. Pure: the time is an argument.
//!
//! On loopback all programs share one address, so there each user name counts and nobody is turned
//! away. It promises a bounded table, and that those who are turned away add nothing to their count:
//! what is left is ten tries in ten minutes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failures older than this are forgotten.
const WINDOW: Duration = Duration::from_secs(600);
/// Failures in the window until an address is turned away.
const MOST: usize = 10;
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Entries at most.
const LARGEST: usize = 10_000;
/// Characters of a user name that count.
const NAME: usize = 64;

/// Whose failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A client elsewhere. Of IPv6 the network of 64 bits: a host has all of it.
    Address(IpAddr),
    /// A user name, tried from this machine.
    User(Box<str>),
}

impl Who {
    /// By the client's address, or by the name where it is this machine (none: a Unix socket).
    pub fn of(peer: Option<IpAddr>, user: &str) -> Self {
        match peer.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) if !address.is_loopback() => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self::Address(Ipv6Addr::from(network).into())
            }
            Some(address) if !address.is_loopback() => Self::Address(address),
            _ => Self::User(user.chars().take(NAME).collect::<String>().into()),
        }
    }
}

/// The failures of the last minutes.
#[derive(Debug, Default)]
pub struct Patience {
    /// Times of the last [`MOST`] failures, oldest first.
    failures: HashMap<Who, Vec<Instant>>,
}

impl Patience {
    /// Whether somebody is turned away before his password is looked at.
    pub fn is_over(&self, who: &Who, now: Instant) -> bool {
        let times = self.failures.get(who).filter(|_| matches!(who, Who::Address(_)));
        times.is_some_and(|times| times.iter().filter(|time| is_fresh(**time, now)).count() >= MOST)
    }

    /// Notes a failure; gives how long its answer waits.
    pub fn failed(&mut self, who: Who, now: Instant) -> Duration {
        if self.failures.len() >= LARGEST && !self.failures.contains_key(&who) {
            self.make_room(now);
        }
        let times = self.failures.entry(who).or_default();
        times.retain(|time| is_fresh(*time, now));
        if times.len() >= MOST {
            times.remove(0);
        }
        times.push(now);
        let doublings = u32::try_from(times.len() - 1).unwrap_or(u32::MAX);
        FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT)
    }

    /// Forgets what is old, else the one who failed longest ago.
    fn make_room(&mut self, now: Instant) {
        self.failures.retain(|_, times| times.last().is_some_and(|time| is_fresh(*time, now)));
        if self.failures.len() >= LARGEST {
            let oldest = self.failures.iter().min_by_key(|(_, times)| times.last().copied());
            if let Some(who) = oldest.map(|(who, _)| who.clone()) {
                self.failures.remove(&who);
            }
        }
    }
}

fn is_fresh(time: Instant, now: Instant) -> bool {
    now.saturating_duration_since(time) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(last: u8) -> Who {
        Who::of(Some([10, 0, 0, last].into()), "u")
    }

    #[test]
    fn a13_who_counts_together() {
        let who = |address: &str, user| Who::of(Some(address.parse().expect(address)), user);
        assert_eq!(who("127.0.0.1", "a"), who("::1", "a"));
        assert_eq!(who("::ffff:127.0.0.9", "a"), Who::of(None, "a"));
        assert_ne!(who("127.0.0.1", "a"), who("127.0.0.1", "b"));
        assert_eq!(who("10.0.0.1", "a"), who("::ffff:10.0.0.1", "b"));
        assert_ne!(who("10.0.0.1", "a"), who("10.0.0.2", "a"));
        assert_eq!(who("2001:db8::1", "a"), who("2001:db8::ffff:1", "a"));
        assert_ne!(who("2001:db8::1", "a"), who("2001:db8:0:1::1", "a"));
        let long = "x".repeat(10_000);
        assert_eq!(who("127.0.0.1", &long), who("127.0.0.1", &long[..64]));
    }

    #[test]
    fn a13_an_address_gets_ten_tries_in_ten_minutes() {
        let mut patience = Patience::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        for number in 0..10 {
            assert!(!patience.is_over(&away(1), start + second * number));
            patience.failed(away(1), start + second * number);
        }
        assert!(patience.is_over(&away(1), start + second * 10));
        assert!(!patience.is_over(&away(2), start + second * 10));
        assert!(patience.is_over(&away(1), start + WINDOW - second));
        // The first is forgotten, the second not yet: one more try.
        assert!(!patience.is_over(&away(1), start + WINDOW));
        patience.failed(away(1), start + WINDOW);
        assert!(patience.is_over(&away(1), start + WINDOW));
        assert_eq!(patience.failed(away(1), start + WINDOW * 3), FIRST_WAIT);
    }

    #[test]
    fn a13_users_of_this_machine_are_never_turned_away() {
        let mut patience = Patience::default();
        let (user, now) = (Who::of(None, "u"), Instant::now());
        let waits: Vec<_> = (0..20).map(|_| patience.failed(user.clone(), now)).collect();
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
        assert!(!patience.is_over(&user, now));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut patience = Patience::default();
        let now = Instant::now();
        for number in 0..LARGEST + 5 {
            let later = now + Duration::from_micros(number as u64);
            patience.failed(Who::of(None, &number.to_string()), later);
        }
        assert_eq!(patience.failures.len(), LARGEST);
        assert!(!patience.failures.contains_key(&Who::of(None, "0")));
        patience.failed(away(1), now + WINDOW * 2);
        assert_eq!(patience.failures.len(), 1);
    }
}
