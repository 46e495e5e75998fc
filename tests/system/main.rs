//! The real binary against the sandbox and real programs: one sentence a module.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends where it stands")]

mod support;

/// The commands a person types, by what they print and their exit codes.
mod cli;
/// A mail of each program arrives as it was sent.
mod deliver;
/// One mail by each way to a token, and what is told where one does not work.
mod grants;
/// What got a 250 survives kill -9.
mod restart;
/// What systemd sees: readiness, the watchdog, a socket that is already open.
mod service;
/// SIGTERM drains, a second one does not wait, SIGHUP changes all or nothing.
mod stop;
/// One token for all, renewed ahead, never over a connection that is not verified.
mod tokens;
