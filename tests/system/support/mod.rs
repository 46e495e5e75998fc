//! What all system tests stand on: the real binary, the sandbox, real programs.

pub mod authority;
pub mod breaker;
pub mod browser;
pub mod client;
pub mod command;
pub mod daemon;
pub mod dice;
pub mod disk;
pub mod gateway;
pub mod load;
pub mod mailin;
pub mod mails;
pub mod mime;
pub mod overheard;
pub mod programs;
pub mod rounds;
pub mod servers;
pub mod sign_in;
pub mod talk;
pub mod tally;
pub mod trap;
pub mod turnstile;
pub mod walk;
pub mod witness;
pub mod world;
