//! How the daemon is watched: its log.

pub mod log;
pub mod redact;
