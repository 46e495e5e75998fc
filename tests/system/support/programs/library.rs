//! Libraries of other languages, each in a script that does all its errands in one process.

use super::{Job, Outcome, PASSWORD, USER, first_line};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where scripts/install-test-tools puts what is not in Debian.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/support/programs/scripts");
const JAVA_LIBRARIES: &str = "/usr/share/java/javax.mail.jar:/usr/share/java/javax.activation.jar";

fn script(name: &str) -> PathBuf {
    Path::new(SCRIPTS).join(name)
}

fn python() -> Command {
    Command::new(format!("{TOOLS}/venv/bin/python"))
}

/// Feeds a script its errands and reads one line of answer each.
fn errands(command: &mut Command, jobs: &[Job]) -> Vec<Outcome> {
    let mut lines = String::new();
    for (number, job) in jobs.iter().enumerate() {
        let path = |path: &PathBuf| path.display().to_string();
        let fields = [
            number.to_string(),
            job.port.to_string(),
            u8::from(job.way.starttls).to_string(),
            job.way.login.word().into(),
            job.recipients.join(","),
            job.files.iter().map(path).collect::<Vec<_>>().join(","),
            job.subjects.join(","),
            job.attachment.as_ref().map(path).unwrap_or_default(),
        ];
        lines.push_str(&fields.join("\t"));
        lines.push('\n');
    }
    let mut child = command
        .env("MAIL_USER", USER)
        .env("MAIL_PASSWORD", PASSWORD)
        .env("MAIL_CA", &jobs[0].authority)
        .env("MAIL_NODE_MODULES", format!("{TOOLS}/node_modules"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{:?}: {error}; run scripts/install-test-tools", command.get_program())
        });
    // One that died before reading says why on standard error.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (0..jobs.len())
        .map(|number| {
            let begin = format!("{number} ");
            match said.lines().find_map(|line| line.strip_prefix(&begin)) {
                Some("ok") => Ok(()),
                Some(error) => Err(error.to_owned()),
                None => Err(format!(
                    "said nothing of it ({}); is everything of scripts/install-test-tools there? {complaint}",
                    output.status
                )),
            }
        })
        .collect()
}

pub fn smtplib(jobs: &[Job]) -> Vec<Outcome> {
    errands(python().arg(script("with_smtplib.py")), jobs)
}

pub fn smtplib_version() -> String {
    first_line(python().arg("--version"), 2)
}

pub fn aiosmtplib(jobs: &[Job]) -> Vec<Outcome> {
    errands(python().arg(script("with_aiosmtplib.py")), jobs)
}

pub fn aiosmtplib_version() -> String {
    let words = "import aiosmtplib; print('aiosmtplib', aiosmtplib.__version__)";
    first_line(python().args(["-c", words]), 2)
}

pub fn net_smtp(jobs: &[Job]) -> Vec<Outcome> {
    errands(Command::new("perl").arg(script("net_smtp.pl")), jobs)
}

pub fn net_smtp_version() -> String {
    first_line(
        Command::new("perl").args(["-MNet::SMTP", "-e", "print \"Net::SMTP $Net::SMTP::VERSION\""]),
        2,
    )
}

pub fn phpmailer(jobs: &[Job]) -> Vec<Outcome> {
    errands(Command::new("php").arg(script("phpmailer.php")), jobs)
}

pub fn phpmailer_version() -> String {
    let version = first_line(Command::new("php").arg(script("phpmailer.php")).arg("version"), 4);
    format!("PHPMailer {version}")
}

pub fn nodemailer(jobs: &[Job]) -> Vec<Outcome> {
    errands(Command::new("node").arg(script("nodemailer.js")), jobs)
}

pub fn nodemailer_version() -> String {
    let words =
        format!("console.log(require('{TOOLS}/node_modules/nodemailer/package.json').version)");
    let node = first_line(Command::new("node").arg("--version"), 1);
    format!(
        "Nodemailer {} on Node {node}",
        first_line(Command::new("node").args(["-e", &words]), 1)
    )
}

pub fn java_mail(jobs: &[Job]) -> Vec<Outcome> {
    errands(java().arg(script("Mail.java")), jobs)
}

pub fn java_mail_version() -> String {
    let version = first_line(java().arg(script("Mail.java")).arg("version"), 1);
    format!("Java mail {version}, {}", first_line(java().arg("--version"), 2))
}

fn java() -> Command {
    let mut command = Command::new("java");
    // Started once and for seconds: no time is lost on making it fast.
    command.args(["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", JAVA_LIBRARIES]);
    command
}

pub fn ruby(jobs: &[Job]) -> Vec<Outcome> {
    errands(Command::new("ruby").arg(script("net_smtp.rb")), jobs)
}
