//! What is tried with octets of any kind, one module a target; each has a `check` that panics where a
//! promise is broken.
//!
//! It is compiled twice: by cargo-fuzz on nightly, which makes up octets, and by `tests/fuzz_replay.rs` on
//! stable, which takes those of `corpus/`. So a finding that was put into the corpus stays a test. It must
//! use nothing that only one of the two has.

pub mod address;
pub mod addressed;
pub mod client;
pub mod command;
pub mod config;
pub mod data;
pub mod envelope;
pub mod header;
pub mod input;
pub mod line;
pub mod oauth;
pub mod offer;
pub mod outline;
pub mod received;
pub mod reply;
pub mod sasl;
pub mod server;

/// A target: its name, as in `corpus/` and `fuzz_targets/`, and what is run.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("address", address::check),
    ("addressed", addressed::check),
    ("client", client::check),
    ("command", command::check),
    ("config", config::check),
    ("data", data::check),
    ("envelope", envelope::check),
    ("header", header::check),
    ("line", line::check),
    ("oauth", oauth::check),
    ("offer", offer::check),
    ("outline", outline::check),
    ("received", received::check),
    ("reply", reply::check),
    ("sasl", sasl::check),
    ("server", server::check),
];
