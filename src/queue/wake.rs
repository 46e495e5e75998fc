//! What passes by memory from who takes mail to who delivers it: wake-ups and fresh bodies.
//!
//! It promises that a wake-up is not lost and that the bodies kept are few. Nothing here is needed for
//! correctness: after a crash all of it is read from the store.

use crate::mail::Id;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Octets of fresh bodies kept in memory.
const KEPT: usize = 4 * 1024 * 1024;

/// One bell an account.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<HashMap<String, Arc<Notify>>>);

impl Bells {
    /// Wakes who waits for the account, or lets the next wait end at once.
    pub(super) fn ring(&self, account: &str) {
        self.bell(account).notify_one();
    }

    /// The bell of an account.
    pub(super) fn bell(&self, account: &str) -> Arc<Notify> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(account) {
            return bell.clone();
        }
        bells.entry(account.to_owned()).or_default().clone()
    }
}

/// The bodies of mail just taken, so that delivering it needs no read.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    bodies: HashMap<Id, Bytes>,
    order: VecDeque<Id>,
    octets: usize,
}

impl Recent {
    /// Keeps a body and lets the oldest go where they grow too many.
    pub(super) fn keep(&self, id: Id, octets: Bytes) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.octets += octets.len();
        kept.order.push_back(id);
        kept.bodies.insert(id, octets);
        // The order also holds ids that were forgotten since; they must not grow without end.
        while kept.octets > KEPT || kept.order.len() > 2 * kept.bodies.len() + 64 {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.remove(oldest);
        }
    }

    /// The body, while it is kept.
    pub(super) fn get(&self, id: Id) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bodies.get(&id).cloned()
    }

    /// Lets a body go.
    pub(super) fn forget(&self, id: Id) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl Kept {
    fn remove(&mut self, id: Id) {
        if let Some(octets) = self.bodies.remove(&id) {
            self.octets -= octets.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn id(number: u64) -> Id {
        Id::new(UNIX_EPOCH + Duration::from_millis(number), 0)
    }

    #[test]
    fn the_oldest_go_first_and_memory_is_bounded() {
        let recent = Recent::default();
        let body = Bytes::from(vec![0; KEPT / 4]);
        for number in 0..6 {
            recent.keep(id(number), body.clone());
        }
        let kept: Vec<u64> = (0..6).filter(|number| recent.get(id(*number)).is_some()).collect();
        assert_eq!(kept, [2, 3, 4, 5]);
        recent.forget(id(3));
        assert_eq!(recent.get(id(3)), None);
        assert_eq!(recent.0.lock().unwrap().octets, KEPT * 3 / 4);
    }

    #[test]
    fn ids_that_were_forgotten_do_not_pile_up() {
        let recent = Recent::default();
        for number in 0..10_000 {
            recent.keep(id(number), Bytes::from_static(b"small"));
            recent.forget(id(number));
        }
        let kept = recent.0.lock().unwrap();
        assert!(kept.order.len() < 100, "{}", kept.order.len());
        assert_eq!((kept.octets, kept.bodies.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_ring_before_the_wait_is_not_lost() {
        let bells = Bells::default();
        bells.ring("a");
        bells.ring("a");
        bells.bell("a").notified().await;
        let mut again = poller(bells.bell("a"));
        assert!(!again(), "two rings before one wait wake once");
        bells.ring("b");
        assert!(!again(), "another account's ring");
        bells.ring("a");
        assert!(again());
    }

    /// Polls a wait for the bell once a call; true when it has ended.
    fn poller(bell: Arc<Notify>) -> impl FnMut() -> bool {
        let mut wait = Box::pin(async move { bell.notified().await });
        move || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            wait.as_mut().poll(&mut context).is_ready()
        }
    }
}
