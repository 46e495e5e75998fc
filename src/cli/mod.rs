//! What a person types: one file a command, exit codes in `exit`.

mod account;
mod check;
mod config;
mod control;
mod demo;
mod door;
mod exit;
mod health;
mod login;
mod queue;
mod run;
pub mod sandbox;
mod send;
mod sendmail;
mod shown;
mod status;
mod store;
mod submit;
mod user;
mod vault;

use crate::config::{Config, Problems};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Takes mail from programs that cannot do OAuth2 and relays it to Microsoft 365.
#[derive(Debug, Parser)]
#[command(name = "submitd", version, max_term_width = 100, after_help = FIRST_STEPS)]
struct Command {
    /// Configuration file [default: /etc/submitd/submitd.toml, else the environment alone].
    #[arg(long, global = true, value_name = "FILE", env = "SUBMITD_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

const FIRST_STEPS: &str = "\
First steps:
  submitd demo                     see it work: no tenant, no configuration
  submitd check                    what is still missing, and what to do about it
  submitd run                      the daemon, in the foreground
  submitd send you@example.org     a test mail through it

Configuration: submitd.toml(5), docs/configuration.md. When something fails: docs/troubleshooting.md.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon in the foreground; its log goes to standard error.
    Run(run::Args),
    /// Check configuration, DNS, TCP, TLS, token and login, step by step, without sending a mail.
    Check(check::Args),
    /// Send a test mail through the running daemon and print its queue id.
    Send(send::Args),
    /// Take a message from standard input as sendmail(8) does: `submitd sendmail --help`.
    #[command(disable_help_flag = true)]
    Sendmail {
        /// Options of sendmail and recipients.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
        words: Vec<OsString>,
    },
    /// Sign in for an account whose grant is authorization_code or device_code.
    Login(login::Args),
    /// Ask the running daemon whether it answers on every listener; exit 0 or 69.
    Health(health::Args),
    /// How everything stands: accounts, tokens, queue; exit 0 if good, 2 if a person is needed, 69 if
    /// the daemon is not there.
    Status(status::Args),
    /// Mails that wait: list, look into, hold, release, retry, remove, export.
    #[command(subcommand)]
    Queue(queue::Verb),
    /// The accounts: how they stand, and the end of a sign-in.
    #[command(subcommand)]
    Account(account::Verb),
    /// Show the configuration in force.
    #[command(subcommand)]
    Config(config::Verb),
    /// Local names and passwords of programs.
    #[command(subcommand)]
    User(user::Verb),
    /// The key of the stored refresh tokens.
    #[command(subcommand)]
    Vault(vault::Verb),
    /// Run a small Exchange Online and Entra ID on loopback, to test programs without a tenant.
    Sandbox(sandbox::Args),
    /// Show it working: sandbox and daemon together, and one mail on its way through both.
    Demo(demo::Args),
}

/// Reads the command line, does it, gives the exit code.
pub fn main() -> ExitCode {
    if let Some(code) = as_sendmail() {
        return code;
    }
    // The only TLS provider of the program; a second call would be harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    end_quietly_without_reader();
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
        Verb::Sendmail { words } => {
            sendmail::run(sendmail::Called::Sendmail, file, words.into_iter())
        }
        Verb::Login(args) => login::run(file, args),
        Verb::Account(verb) => account::run(file, verb),
        Verb::Health(args) => health::run(file, &args),
        Verb::Status(args) => with_runtime(status::run(file.map(Path::to_owned), args)),
        Verb::Queue(verb) => with_runtime(queue::run(file.map(Path::to_owned), verb)),
        Verb::Config(verb) => config::run(file, &verb),
        Verb::User(verb) => user::run(&verb),
        Verb::Vault(verb) => vault::run(file, &verb),
        Verb::Sandbox(args) => with_runtime(sandbox::run(args)),
        Verb::Demo(args) => with_runtime(demo::run(args)),
    }
}

/// `/usr/sbin/sendmail` may be a link to us. Its options are not clap's: `-ti`, `-oem`, `-FCronDaemon`.
fn as_sendmail() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let name = words.next()?;
    if let Some(called) = sendmail::Called::by(&name) {
        return Some(sendmail::run(called, None, words));
    }
    let is_verb = words.next()? == "sendmail";
    is_verb.then(|| sendmail::run(sendmail::Called::Sendmail, None, words))
}

/// `submitd config show | head` is no mistake: `println!` panics where the reader is gone, and that would
/// be shown as a fault of ours.
fn end_quietly_without_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.contains("stdout: Broken pipe")) {
            std::process::exit(i32::from(exit::OK));
        }
        usual(panic);
    }));
}

/// The configuration of `file` and the environment; where it has mistakes, all of them are told.
fn load(file: Option<&Path>) -> Result<Config, ExitCode> {
    read(file).map_err(|problems| tell(&problems))
}

/// Tells the mistakes of a configuration.
fn tell(problems: &Problems) -> ExitCode {
    let colour = std::io::stderr().is_terminal();
    eprintln!("{}", problems.render(colour).trim_end());
    ExitCode::from(exit::CONFIG)
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
