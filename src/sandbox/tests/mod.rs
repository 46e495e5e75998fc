//! The sandbox from outside: over its ports, with hand-written expectations.

mod client;
mod entra;
mod exchange;
mod graph;
mod lettre;
mod limits;
mod proofs;
mod smtp_faults;
