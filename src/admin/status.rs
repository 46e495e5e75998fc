//! `GET /v1/status`: how everything stands, at one glance.

use super::desk::Desk;
use super::wire::{Status, Time};
use axum::Json;
use axum::extract::State;
use std::sync::Arc;

/// How everything stands.
pub(super) async fn status(State(desk): State<Arc<Desk>>) -> Json<Status> {
    let scene = desk.scene.load();
    let (started, running) = desk.started;
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        started: Time(started),
        uptime: running.elapsed().as_secs(),
        state_dir: scene.state_dir.display().to_string(),
        listeners: scene.listeners.clone(),
    })
}
