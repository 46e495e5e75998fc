//! What all system tests stand on: the real binary, the sandbox, real programs.

pub mod client;
pub mod daemon;
pub mod mails;
pub mod programs;
pub mod talk;
pub mod trap;
pub mod world;
