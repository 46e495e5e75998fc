//! `GET /v1/status`: how everything stands, at one glance.
//!
//! It promises that a store that cannot be read is a need of its own, never a reason to show nothing.

mod needs;

use super::accounts;
use super::desk::Desk;
use super::wire::{Count, Lane, Queue, Status, Time, Verdict};
use crate::queue::StoreError;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use std::time::SystemTime;

/// How everything stands.
pub(super) async fn status(State(desk): State<Arc<Desk>>) -> Json<Status> {
    let accounts = accounts::all(&desk).await;
    let queue = queue(&desk).await;
    let lanes = lanes(&desk, queue.as_ref().ok()).await;
    let silent = desk.delivery.alive().elapsed();
    let needs = needs::needs(&accounts, queue.as_ref(), &lanes, silent, SystemTime::now());
    let scene = desk.scene.load();
    let (started, running) = desk.started;
    Json(Status {
        verdict: if needs.is_empty() { Verdict::Good } else { Verdict::NeedsPerson },
        needs,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        started: Time(started),
        uptime: running.elapsed().as_secs(),
        state_dir: scene.state_dir.display().to_string(),
        listeners: scene.listeners.clone(),
        accounts,
        lanes,
        queue: queue.unwrap_or_default(),
    })
}

async fn queue(desk: &Desk) -> Result<Queue, StoreError> {
    let counts: Vec<Count> = desk.queue.counts().await?.iter().map(Count::from).collect();
    Ok(Queue {
        mails: counts.iter().map(|count| count.mails).sum(),
        octets: counts.iter().map(|count| count.octets).sum(),
        oldest: counts.iter().map(|count| count.oldest).min(),
        uncertain: desk.queue.uncertain().await?,
        full: desk.queue.has_room(0).err().map(|error| error.to_string()),
        counts,
    })
}

async fn lanes(desk: &Desk, queue: Option<&Queue>) -> Vec<Lane> {
    let now = SystemTime::now();
    let counts = queue.map_or(&[][..], |queue| &queue.counts);
    let lane = |lane: crate::delivery::LaneStanding| {
        let is_its =
            |count: &&Count| count.state == "queued" && lane.accounts.contains(&count.account);
        let waiting = counts.iter().filter(is_its).map(|count| count.mails).sum();
        Lane::new(lane, waiting, now)
    };
    desk.delivery.lanes().await.into_iter().map(lane).collect()
}
