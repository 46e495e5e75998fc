//! The sandbox from outside: over its ports, with hand-written expectations.

mod entra;
