//! SMTP without waiting: both halves of the protocol as pure machines.
//!
//! Bytes go in by `feed`, `advance` says what is to be done next, what is to be sent lies in an output
//! buffer. No sockets, no clock: the two drivers are `session` and `upstream::smtp`.

pub mod client;
pub mod command;
pub mod data;
pub mod extension;
pub mod line;
pub mod offer;
pub mod parameter;
pub mod reply;
pub mod reply_write;
pub mod sasl;
pub mod sasl_client;
pub mod server;

pub use reply::{Enhanced, Reply};
