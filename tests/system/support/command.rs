//! Our own commands, run as a person runs them: what they said and how they ended.

use super::daemon::binary;
use super::overheard::Heard;
use super::world::World;
use serde_json::Value;
use std::process::Command;

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Runs any command to its end.
    pub fn by(command: &mut Command) -> Self {
        let output = command.heard();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Each line of its output as JSON.
    pub fn json(&self) -> Vec<Value> {
        let line = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{self:?}"))
        };
        self.out.lines().map(line).collect()
    }

    /// The same, after the command ended well.
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

impl World {
    /// `submitd WORDS` with the configuration of this world's daemon.
    pub fn submitd(&self, words: &[&str]) -> Said {
        let config = self.path().join("submitd.toml");
        Said::by(Command::new(binary()).arg("--config").arg(config).args(words))
    }
}
