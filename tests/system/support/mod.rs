//! What all system tests stand on: the real binary, the sandbox, real programs.

pub mod authority;
pub mod client;
pub mod daemon;
pub mod gateway;
pub mod mailin;
pub mod mails;
pub mod mime;
pub mod programs;
pub mod servers;
pub mod talk;
pub mod trap;
pub mod turnstile;
pub mod walk;
pub mod witness;
pub mod world;
