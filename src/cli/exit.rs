//! Exit codes, as scripts and systemd read them (sysexits.h).

use std::process::ExitCode;

/// Done.
pub const OK: u8 = 0;
/// It did not work; the text says why.
pub const FAILED: u8 = 1;
/// It works, and something waits for a person.
pub const NEEDS_PERSON: u8 = 2;
/// The command line is wrong.
pub const USAGE: u8 = 64;
/// The message cannot be sent as it is.
pub const DATA: u8 = 65;
/// A recipient was refused.
pub const NO_USER: u8 = 67;
/// The daemon is not there; of `sendmail`, it refused the mail.
pub const UNAVAILABLE: u8 = 69;
/// The system does not give what is needed.
pub const SYSTEM: u8 = 71;
/// A file cannot be read or written.
pub const IO: u8 = 74;
/// Not now; try again.
pub const TEMPORARY: u8 = 75;
/// This user may not do this.
pub const NO_PERMISSION: u8 = 77;
/// The configuration is wrong: systemd must not restart on it.
pub const CONFIG: u8 = 78;

/// Says why on standard error and gives the code.
pub fn fail(code: u8, why: impl std::fmt::Display) -> ExitCode {
    eprintln!("submitd: {why}");
    ExitCode::from(code)
}
