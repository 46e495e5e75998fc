//! `submitd user hash`: a password becomes what `password_hash` takes.
//!
//! The password comes from the terminal, unseen, or from a pipe; never from the command line, where
//! other users of the machine would see it.

use super::exit;
use crate::accounts;
use crate::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Stdin};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// What `user` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Hash a password for a [[user]]: asked for on a terminal, else the first line of the input.
    Hash {
        /// The user's name, for the block that is printed.
        #[arg(default_value = "scanner")]
        name: String,
    },
}

/// Prints the hash on the first line and, below an empty one, the block for the configuration.
pub fn run(verb: &Verb) -> ExitCode {
    let Verb::Hash { name } = verb;
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() { ask(&stdin) } else { line(&stdin) };
    let password = match password {
        Ok(password) => password,
        Err(error) => return exit::fail(exit::FAILED, format!("no password: {error}")),
    };
    match accounts::hash(&password) {
        Ok(hash) => {
            let name = toml::Value::String(name.clone());
            println!("{hash}\n\n[[user]]\nname = {name}\npassword_hash = \"{hash}\"");
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(exit::FAILED, error),
    }
}

/// Twice, since nobody sees what he types.
fn ask(stdin: &Stdin) -> std::io::Result<Secret> {
    let _unseen = Unseen::begin(stdin)?;
    let asked = |prompt: &str| {
        eprint!("{prompt}: ");
        let answer = line(stdin);
        eprintln!();
        answer
    };
    let first = asked("Password")?;
    if first.matches(asked("Once more")?.expose()) {
        return Ok(first);
    }
    Err(std::io::Error::other("the two are not the same"))
}

fn line(stdin: &Stdin) -> std::io::Result<Secret> {
    let mut text = Zeroizing::new(String::new());
    stdin.lock().read_line(&mut text)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(std::io::Error::other("it is empty"));
    }
    Ok(Secret::new(text))
}

/// The terminal shows nothing that is typed while this lives.
struct Unseen<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn begin(stdin: &'a Stdin) -> std::io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Flush, &silent)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.stdin, OptionalActions::Flush, &self.before);
    }
}
