//! What is carried: addresses, the envelope, the id, the headers we look at or add.
//!
//! Everything here is pure: no files, sockets, clock or randomness; the time is an argument.

pub mod address;
pub mod addressed;
pub mod apart;
pub mod bounce;
pub mod envelope;
pub mod header;
pub mod id;
pub mod local;
pub mod mailbox;
pub mod outline;
pub mod part;
pub mod pattern;
pub mod received;
pub mod recipients;
pub mod rewrite;
pub mod transfer;

pub use address::Address;
pub use envelope::{BodyKind, Envelope, Notify, Recipient, Ret};
pub use id::Id;
pub use local::Local;
pub use pattern::Pattern;
