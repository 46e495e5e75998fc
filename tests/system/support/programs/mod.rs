//! Unmodified programs that send mail, each as its users call it, and what each cannot do.
//!
//! One that is not installed fails its test, saying so: `scripts/install-test-tools` brings them all.

mod command_line;
mod library;
mod postfix;
mod rust;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const USER: &str = "scanner";
pub const PASSWORD: &str = "s3cret word";
pub const SENDER: &str = "erp@contoso.com";

/// How a program logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    None,
    Plain,
    /// The mechanism of this name.
    #[allow(clippy::enum_variant_names, reason = "the mechanism is called so")]
    Login,
}

impl Login {
    /// As in AUTH; `none` without.
    pub fn word(self) -> &'static str {
        match self {
            Login::None => "none",
            Login::Plain => "PLAIN",
            Login::Login => "LOGIN",
        }
    }
}

/// What kind of mail is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A small one.
    One,
    /// Three over one connection.
    Several,
    /// One to three recipients.
    Recipients,
    /// UTF-8 and Latin-1.
    EightBit,
    /// Lines of dots.
    Dots,
    /// 10 MB.
    Large,
}

/// One way to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub starttls: bool,
    pub login: Login,
    pub kind: Kind,
}

/// Whether the mail is ours to the last octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The program sends the octets it is given.
    Given,
    /// It puts `Received:` fields on top.
    Relayed,
    /// It composes the mail from subject, text and attachment.
    Composed,
}

/// One errand for a program: a way, a port, what to send.
#[derive(Clone, Debug)]
pub struct Job {
    pub way: Way,
    pub port: u16,
    pub recipients: Vec<&'static str>,
    /// [`Form::Composed`]: the texts; else whole mails with CRLF.
    pub files: Vec<PathBuf>,
    /// One a file, without commas and tabs.
    pub subjects: Vec<String>,
    /// For [`Form::Composed`] only.
    pub attachment: Option<PathBuf>,
    /// The authority that signed the listener's certificate.
    pub authority: PathBuf,
}

/// How an errand ended: the text is what the program said.
pub type Outcome = Result<(), String>;

/// A program.
pub struct Program {
    pub name: &'static str,
    pub form: Form,
    /// What it logs in with where that is not the point.
    pub usual_login: Login,
    /// What it cannot do, and why. Decided here, so that nothing is left out in silence.
    pub cannot: fn(Way) -> Option<&'static str>,
    /// It starts as root only; others leave its row as it stands.
    pub needs_root: bool,
    /// Does the errands; one outcome each.
    pub send: fn(&[Job]) -> Vec<Outcome>,
    pub version: fn() -> String,
}

impl Program {
    /// The one of this name.
    pub fn named(name: &str) -> Self {
        PROGRAMS.into_iter().find(|program| program.name == name).unwrap()
    }

    /// Sends one file (CRLF lines) to ann@example.org, without TLS.
    pub fn send_file(&self, port: u16, login: Login, file: &Path) {
        let job = Job {
            way: Way { starttls: false, login, kind: Kind::One },
            port,
            recipients: vec!["ann@example.org"],
            files: vec![file.to_owned()],
            subjects: vec!["one".into()],
            attachment: None,
            authority: PathBuf::new(),
        };
        assert_eq!((self.send)(&[job]), [Ok(())], "{}", self.name);
    }
}

/// Whether this process may do what a program demands that only starts as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|of_us| of_us.uid() == 0)
}

const ALL: fn(Way) -> Option<&'static str> = |_| None;
const ONE_MAIL_A_RUN: &str = "sends one mail a run, over a connection of its own";

fn one_mail_a_run(way: Way) -> Option<&'static str> {
    (way.kind == Kind::Several).then_some(ONE_MAIL_A_RUN)
}

/// All of them, by name.
pub const PROGRAMS: [Program; 15] = [
    Program {
        name: "aiosmtplib",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: library::aiosmtplib,
        version: library::aiosmtplib_version,
    },
    Program {
        name: "curl",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: command_line::curl,
        version: || first_line(Command::new("curl").arg("--version"), 2),
    },
    Program {
        name: "Java mail",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: library::java_mail,
        version: library::java_mail_version,
    },
    Program {
        name: "lettre",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: rust::lettre,
        version: rust::lettre_version,
    },
    Program {
        name: "msmtp",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: one_mail_a_run,
        needs_root: false,
        send: command_line::msmtp,
        version: || first_line(Command::new("msmtp").arg("--version"), 3),
    },
    Program {
        name: "Net::SMTP (Perl)",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: library::net_smtp,
        version: library::net_smtp_version,
    },
    Program {
        name: "net/smtp (Ruby)",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: library::ruby,
        version: || first_line(Command::new("ruby").arg("--version"), 2),
    },
    Program {
        name: "Nodemailer",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: library::nodemailer,
        version: library::nodemailer_version,
    },
    Program {
        name: "PHPMailer",
        form: Form::Composed,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: library::phpmailer,
        version: library::phpmailer_version,
    },
    Program {
        name: "Postfix",
        form: Form::Relayed,
        usual_login: Login::Plain,
        cannot: |way| {
            (way.starttls && way.kind == Kind::Several).then_some(
                "opens a connection for each mail inside TLS, as it is set up by default",
            )
        },
        needs_root: true,
        send: postfix::relay,
        version: postfix::version,
    },
    Program {
        name: "s-nail",
        form: Form::Composed,
        usual_login: Login::Plain,
        cannot: one_mail_a_run,
        needs_root: false,
        send: command_line::s_nail,
        version: || first_line(Command::new("s-nail").arg("-V"), 2),
    },
    Program {
        name: "sendEmail",
        form: Form::Composed,
        usual_login: Login::Login,
        cannot: |way| match (way.kind, way.login) {
            (_, Login::Plain) => {
                Some("takes LOGIN wherever the server offers it; PLAIN cannot be asked for")
            }
            (Kind::Dots, _) => Some("takes the first dot away from lines that begin with one"),
            _ => one_mail_a_run(way),
        },
        needs_root: false,
        send: command_line::send_email,
        version: command_line::send_email_version,
    },
    Program {
        name: "smtp-source",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: |way| {
            (way.starttls || way.login != Login::None).then_some("knows neither AUTH nor STARTTLS")
        },
        needs_root: false,
        send: command_line::smtp_source,
        version: postfix::version,
    },
    Program {
        name: "smtplib (Python)",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: ALL,
        needs_root: false,
        send: library::smtplib,
        version: library::smtplib_version,
    },
    Program {
        name: "swaks",
        form: Form::Given,
        usual_login: Login::Plain,
        cannot: one_mail_a_run,
        needs_root: false,
        send: command_line::swaks,
        version: || first_line(Command::new("swaks").arg("--version"), 3),
    },
];

/// Runs a command to its end; a missing one is named.
pub use super::postfix::output as run;

/// The first so many words of what a command says.
fn first_line(command: &mut Command, words: usize) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let words: Vec<_> = line.split_whitespace().take(words).collect();
    words.join(" ").trim_end_matches(',').to_owned()
}
