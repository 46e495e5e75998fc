//! Unmodified programs that send mail, each as its users call it.
//!
//! One that is not installed fails its test, saying so: `scripts/install-test-tools` brings them all.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How a program logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    None,
    Plain,
    /// The mechanism of this name.
    #[allow(clippy::enum_variant_names, reason = "the mechanism is called so")]
    Login,
}

pub const USER: &str = "scanner";
pub const PASSWORD: &str = "s3cret word";

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Curl,
    Msmtp,
    Smtplib,
    Swaks,
}

pub const PROGRAMS: [Program; 4] =
    [Program::Curl, Program::Msmtp, Program::Smtplib, Program::Swaks];

impl Program {
    /// Sends the file (CRLF lines) from erp@contoso.com to ann@example.org. The output is checked.
    pub fn send(self, port: u16, login: Login, file: &Path) {
        let output = match self {
            Program::Curl => curl(port, login, file),
            Program::Msmtp => msmtp(port, login, file),
            Program::Smtplib => smtplib(port, login, file),
            Program::Swaks => swaks(port, login, file),
        };
        assert!(
            output.status.success(),
            "{self:?} {login:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Runs a command to its end; a missing one is named.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{:?}: {error}; run scripts/install-test-tools", command.get_program())
    })
}

fn curl(port: u16, login: Login, file: &Path) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--url", &format!("smtp://127.0.0.1:{port}/client")]);
    command.args(["--mail-from", "erp@contoso.com", "--mail-rcpt", "ann@example.org"]);
    match login {
        Login::None => {}
        Login::Plain => {
            command.args([
                "--user",
                &format!("{USER}:{PASSWORD}"),
                "--login-options",
                "AUTH=PLAIN",
            ]);
        }
        Login::Login => {
            command.args([
                "--user",
                &format!("{USER}:{PASSWORD}"),
                "--login-options",
                "AUTH=LOGIN",
            ]);
        }
    }
    run(command.arg("--upload-file").arg(file))
}

fn msmtp(port: u16, login: Login, file: &Path) -> Output {
    let mut command = Command::new("msmtp");
    command.args(["--host=127.0.0.1", &format!("--port={port}"), "--tls=off"]);
    command.args(["--from=erp@contoso.com", "--domain=client", "--file=/dev/null"]);
    let mechanism = match login {
        Login::None => "off",
        Login::Plain => "plain",
        Login::Login => "login",
    };
    command.arg(format!("--auth={mechanism}"));
    if login != Login::None {
        command.args([&format!("--user={USER}"), &format!("--passwordeval=echo '{PASSWORD}'")]);
    }
    run(command.arg("ann@example.org").stdin(std::fs::File::open(file).unwrap()))
}

fn smtplib(port: u16, login: Login, file: &Path) -> Output {
    let script = "
import smtplib, sys
port, login, user, password, file = sys.argv[1:]
with smtplib.SMTP('127.0.0.1', int(port)) as smtp:
    smtp.ehlo('client')
    smtp.user, smtp.password = user, password
    if login == 'Plain': smtp.auth('PLAIN', smtp.auth_plain)
    if login == 'Login': smtp.auth('LOGIN', smtp.auth_login)
    smtp.sendmail('erp@contoso.com', ['ann@example.org'], open(file, 'rb').read())
";
    run(Command::new("python3")
        .args(["-c", script, &port.to_string(), &format!("{login:?}"), USER, PASSWORD])
        .arg(file))
}

fn swaks(port: u16, login: Login, file: &Path) -> Output {
    // It puts CRLF before the final dot whether the file ends in one or not.
    let mail = std::fs::read(file).unwrap();
    let file = &file.with_extension("swaks");
    std::fs::write(file, mail.strip_suffix(b"\r\n").unwrap()).unwrap();
    let mut command = Command::new("swaks");
    command.args(["--server", "127.0.0.1", "--port", &port.to_string(), "--helo", "client"]);
    command.args(["--from", "erp@contoso.com", "--to", "ann@example.org", "--silent", "2"]);
    match login {
        Login::None => {}
        Login::Plain => {
            command.args(["--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD]);
        }
        Login::Login => {
            command.args(["--auth", "LOGIN", "--auth-user", USER, "--auth-password", PASSWORD]);
        }
    }
    run(command
        .args(["--timeout", "60"])
        .arg("--data")
        .arg(format!("@{}", file.display()))
        .stdin(Stdio::null()))
}
