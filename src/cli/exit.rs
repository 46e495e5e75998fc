//! Exit codes, as scripts and systemd read them (sysexits.h).

use std::process::ExitCode;

/// Done.
pub const OK: u8 = 0;
/// It did not work; the text says why.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The daemon is not there.
pub const UNAVAILABLE: u8 = 69;
/// Not now; try again.
pub const TEMPORARY: u8 = 75;
/// The configuration is wrong: systemd must not restart on it.
pub const CONFIG: u8 = 78;

/// Says why on standard error and gives the code.
pub fn fail(code: u8, why: impl std::fmt::Display) -> ExitCode {
    eprintln!("submitd: {why}");
    ExitCode::from(code)
}
