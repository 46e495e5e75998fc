//! What a person types: one file a command, exit codes in `exit`.

mod check;
mod config;
mod demo;
mod door;
mod exit;
mod health;
mod run;
pub mod sandbox;
mod send;
mod submit;

use crate::config::{Config, Problems};
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Takes mail from programs that cannot do OAuth2 and relays it to Microsoft 365.
#[derive(Debug, Parser)]
#[command(name = "submitd", version, max_term_width = 100)]
struct Command {
    /// Configuration file [default: /etc/submitd/submitd.toml, else the environment alone].
    #[arg(long, global = true, value_name = "FILE", env = "SUBMITD_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon.
    Run(run::Args),
    /// Check configuration, DNS, TLS, token and login, step by step.
    Check(check::Args),
    /// Send a test mail through the running daemon.
    Send(send::Args),
    /// Exit 0 where the daemon answers on every listener.
    Health(health::Args),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config::Verb),
    /// Run a small Exchange Online and Entra ID on loopback, to test programs without a tenant.
    Sandbox(sandbox::Args),
    /// Sandbox and daemon together: one mail is sent through and shown.
    Demo(demo::Args),
}

/// Reads the command line, does it, gives the exit code.
pub fn main() -> ExitCode {
    // The only TLS provider of the program; a second call would be harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(error) => {
            // --help and --version come this way too, and are no mistakes.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let file = command.config.as_deref();
    match command.verb {
        Verb::Run(args) => run::run(file, &args),
        Verb::Check(args) => check::run(file, &args),
        Verb::Send(args) => send::run(file, &args),
        Verb::Health(args) => health::run(file, &args),
        Verb::Config(verb) => config::run(file, &verb),
        Verb::Sandbox(args) => with_runtime(sandbox::run(args)),
        Verb::Demo(args) => with_runtime(demo::run(args)),
    }
}

/// The configuration of `file` and the environment; where it has mistakes, all of them are told.
fn load(file: Option<&Path>) -> Result<Config, ExitCode> {
    read(file).map_err(|problems| {
        let colour = std::io::stderr().is_terminal();
        eprint!("{}", problems.render(colour));
        ExitCode::from(exit::CONFIG)
    })
}

/// The same, for those who tell the mistakes themselves.
fn read(file: Option<&Path>) -> Result<Config, Problems> {
    // Variables that are not UTF-8 are nobody's SUBMITD_ ones.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(file, variables)
}

/// Runs a future on a runtime of its own.
fn with_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(future);
            // Blocking tasks that hang (a dead NFS mount, say) must not hold the exit.
            runtime.shutdown_background();
            code
        }
        Err(error) => exit::fail(exit::TEMPORARY, format!("cannot start: {error}")),
    }
}

/// The command line's grammar, for the man page's test.
pub fn grammar() -> clap::Command {
    <Command as clap::CommandFactory>::command()
}
