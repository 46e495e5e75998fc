//! Who is connected: counts in all and by address.
//!
//! It promises that what was counted is taken back however a connection ends, and that addresses without
//! a connection cost no memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refusals are told no more often than this.
const TELL: Duration = Duration::from_secs(1);

/// The connections of one listener.
#[derive(Debug, Default)]
pub struct Crowd {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
    told: Option<Instant>,
    untold: usize,
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    client: Option<IpAddr>,
}

impl Crowd {
    /// Counts one more; none where there are `most` already.
    pub fn enter(self: &Arc<Self>, most: usize) -> Option<Place> {
        let mut counts = self.counts();
        if counts.all >= most {
            return None;
        }
        counts.all += 1;
        Some(Place { crowd: self.clone(), client: None })
    }

    /// Whether a refusal is to be told now; with how many were not told since the last one.
    ///
    /// A flood of connections must not become a flood of lines.
    pub fn tell(&self, now: Instant) -> Option<usize> {
        let mut counts = self.counts();
        if counts.told.is_some_and(|told| now.saturating_duration_since(told) < TELL) {
            counts.untold += 1;
            return None;
        }
        counts.told = Some(now);
        Some(std::mem::take(&mut counts.untold))
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts it for this address; false where that one has `most` already.
    pub fn belongs_to(&mut self, client: IpAddr, most: usize) -> bool {
        let mut counts = self.crowd.counts();
        let count = counts.by_client.entry(client).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        self.client = Some(client);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        counts.all -= 1;
        let Some(client) = self.client else { return };
        if let Some(count) = counts.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a18_counts_hold_in_all_and_by_address_and_come_back() {
        let crowd = Arc::new(Crowd::default());
        let [one, two] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let mut first = crowd.enter(3).expect("first");
        let mut second = crowd.enter(3).expect("second");
        assert!(first.belongs_to(one, 1));
        assert!(!second.belongs_to(one, 1), "the address has its share");
        assert!(second.belongs_to(two, 1));
        let third = crowd.enter(3).expect("third");
        assert!(crowd.enter(3).is_none(), "all are there");
        drop((first, third));
        let mut next = crowd.enter(3).expect("a place came free");
        assert!(next.belongs_to(one, 1), "so did the address's share");
        drop((second, next));
        assert_eq!(crowd.counts().all, 0);
        assert!(crowd.counts().by_client.is_empty());
    }

    #[test]
    fn a_flood_of_refusals_is_one_line_a_second_with_their_number() {
        let crowd = Crowd::default();
        let begin = Instant::now();
        assert_eq!(crowd.tell(begin), Some(0));
        for _ in 0..1_000 {
            assert_eq!(crowd.tell(begin + TELL / 2), None);
        }
        assert_eq!(crowd.tell(begin + TELL), Some(1_000));
        assert_eq!(crowd.tell(begin + TELL * 2), Some(0));
    }
}
