//! How the accounts fare, for whoever tells people.
//!
//! It promises that a change rings once for any number of changes, and that an account counts as one that
//! sends only after the upstream took or judged a mail of it.

use super::Standing;
use super::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Cheap to clone; all clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<BTreeMap<String, Standing>>,
    sending: Mutex<BTreeSet<String>>,
    bell: Notify,
}

impl Health {
    /// The accounts that wait, and why.
    pub fn standings(&self) -> Vec<Standing> {
        lock(&self.0.waiting).values().cloned().collect()
    }

    /// Whether the upstream took or judged a mail of this account since its last trouble, or since the start.
    pub fn sends(&self, account: &str) -> bool {
        lock(&self.0.sending).contains(account)
    }

    /// Waits until something of it changed, or a mail was given up; returns at once where that happened
    /// since the last return. For one waiter.
    pub async fn changed(&self) {
        self.0.bell.notified().await;
    }

    pub(super) fn ill(&self, standing: Standing) {
        lock(&self.0.sending).remove(&standing.account);
        lock(&self.0.waiting).insert(standing.account.clone(), standing);
        self.ring();
    }

    /// It is tried again; whether it works is not known yet.
    pub(super) fn well(&self, account: &str) {
        lock(&self.0.waiting).remove(account);
        self.ring();
    }

    pub(super) fn sent(&self, account: &str) {
        let mut sending = lock(&self.0.sending);
        if !sending.contains(account) {
            sending.insert(account.to_owned());
            self.ring();
        }
    }

    /// Forgets accounts that are no more.
    pub(super) fn keep(&self, is_known: impl Fn(&str) -> bool) {
        lock(&self.0.waiting).retain(|name, _| is_known(name));
        lock(&self.0.sending).retain(|name| is_known(name));
        self.ring();
    }

    pub(super) fn ring(&self) {
        self.0.bell.notify_one();
    }
}
