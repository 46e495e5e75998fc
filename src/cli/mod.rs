//! What a person types.

/// Reads the command line, does it, gives the exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
