//! What the admin socket can see and steer.
//!
//! It holds handles, no state of its own but the scene, which a reload replaces.

use crate::config::Account;
use crate::delivery::Watch;
use crate::oauth::Keeper;
use crate::queue::Queue;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The parts of the daemon, as requests reach them.
pub struct Desk {
    /// Mail that waits.
    pub queue: Queue,
    /// Tokens.
    pub keeper: Arc<Keeper>,
    /// Delivery.
    pub delivery: Watch,
    /// What the configuration says now.
    pub scene: ArcSwap<Scene>,
    /// When the daemon started.
    pub started: (SystemTime, Instant),
}

/// What is shown of the configuration.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Where mail comes in, ports filled in.
    pub listeners: Vec<String>,
    /// The mailboxes.
    pub accounts: Vec<Arc<Account>>,
    /// Where queue and tokens live.
    pub state_dir: PathBuf,
}

impl Desk {
    /// Joins the parts; the daemon starts now.
    pub fn new(queue: Queue, keeper: Arc<Keeper>, delivery: Watch, scene: Scene) -> Self {
        let started = (SystemTime::now(), Instant::now());
        Self { queue, keeper, delivery, scene: ArcSwap::from_pointee(scene), started }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
