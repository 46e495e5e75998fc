//! Programs that are started once a mail.

use super::{Job, Login, Outcome, PASSWORD, SENDER, USER, run};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command; what it says is the error where it fails.
fn outcome(command: &mut Command) -> Outcome {
    let output = run(command);
    if output.status.success() {
        return Ok(());
    }
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{}\n{out}\n{err}", output.status))
}

fn open(file: &Path) -> std::fs::File {
    std::fs::File::open(file).unwrap()
}

pub fn curl(jobs: &[Job]) -> Vec<Outcome> {
    jobs.iter()
        .map(|job| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--show-error", "--mail-from", SENDER]);
            // Without a path in the URL it gives the machine's name.
            for _ in &job.files {
                command.args(["--url", &format!("smtp://127.0.0.1:{}", job.port)]);
            }
            for recipient in &job.recipients {
                command.args(["--mail-rcpt", recipient]);
            }
            if job.way.starttls {
                command.args(["--ssl-reqd", "--cacert"]).arg(&job.authority);
            }
            if job.way.login != Login::None {
                let options = format!("AUTH={}", job.way.login.word());
                command.args(["--login-options", &options]);
                command.args(["--user", &format!("{USER}:{PASSWORD}")]);
            }
            for file in &job.files {
                command.arg("--upload-file").arg(file);
            }
            outcome(&mut command)
        })
        .collect()
}

pub fn msmtp(jobs: &[Job]) -> Vec<Outcome> {
    jobs.iter()
        .map(|job| {
            let mut command = Command::new("msmtp");
            command.args(["--host=127.0.0.1", &format!("--port={}", job.port), "--file=/dev/null"]);
            command.arg(format!("--from={SENDER}"));
            if job.way.starttls {
                command.args(["--tls=on", "--tls-starttls=on"]);
                command.arg(format!("--tls-trust-file={}", job.authority.display()));
            } else {
                command.arg("--tls=off");
            }
            if job.way.login == Login::None {
                command.arg("--auth=off");
            } else {
                command.arg(format!("--auth={}", job.way.login.word().to_lowercase()));
                command.arg(format!("--user={USER}"));
                command.arg(format!("--passwordeval=echo '{PASSWORD}'"));
            }
            outcome(command.args(&job.recipients).stdin(open(&job.files[0])))
        })
        .collect()
}

pub fn s_nail(jobs: &[Job]) -> Vec<Outcome> {
    jobs.iter()
        .map(|job| {
            let mut command = Command::new("s-nail");
            command.args(["-:/", "-Sv15-compat", "-Sttycharset=UTF-8", "-Ssendwait"]);
            command.args(["-Sexpandaddr", &format!("-Sfrom={SENDER}"), "-r", SENDER]);
            let login = match job.way.login {
                Login::None => String::new(),
                _ => format!("{USER}:{}@", PASSWORD.replace(' ', "%20")),
            };
            // By name: an address in a certificate is nothing to it. No dead.letter in anybody's home.
            command.arg(format!("-Smta=smtp://{login}localhost:{}", job.port)).arg("-Snosave");
            command.arg(format!("-Ssmtp-auth={}", job.way.login.word().to_lowercase()));
            if job.way.starttls {
                command.args(["-Ssmtp-use-starttls", "-Stls-verify=strict"]);
                command.arg(format!("-Stls-ca-file={}", job.authority.display()));
            }
            if let Some(attachment) = &job.attachment {
                command.arg("-a").arg(attachment);
            }
            command.args(["-s", &job.subjects[0]]).args(&job.recipients);
            outcome(command.stdin(open(&job.files[0])))
        })
        .collect()
}

pub fn send_email(jobs: &[Job]) -> Vec<Outcome> {
    jobs.iter()
        .map(|job| {
            let mut command = Command::new("sendemail");
            command.args(["-q", "-f", SENDER, "-s", &format!("127.0.0.1:{}", job.port), "-t"]);
            command.args(&job.recipients).args(["-u", &job.subjects[0]]);
            command.args(["-o", "message-charset=utf-8", "-o"]);
            command.arg(format!("message-file={}", job.files[0].display()));
            command.args(["-o", if job.way.starttls { "tls=yes" } else { "tls=no" }]);
            // It has no option for an authority; the library below it looks here.
            command.env("SSL_CERT_FILE", &job.authority);
            if job.way.login != Login::None {
                command.args(["-xu", USER, "-xp", PASSWORD]);
            }
            if let Some(attachment) = &job.attachment {
                command.arg("-a").arg(attachment);
            }
            outcome(command.stdin(Stdio::null()))
        })
        .collect()
}

pub fn send_email_version() -> String {
    let output = run(Command::new("sendemail").arg("--help"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("email-").nth(1).and_then(|rest| rest.split_whitespace().next());
    format!("sendEmail {}", version.unwrap_or(""))
}

pub fn smtp_source(jobs: &[Job]) -> Vec<Outcome> {
    jobs.iter()
        .map(|job| {
            // It wants lines without CR, and sends the one file again and again.
            let mail = std::fs::read(&job.files[0]).unwrap();
            let file = job.files[0].with_extension("lf");
            let mail: Vec<u8> = mail.into_iter().filter(|&octet| octet != b'\r').collect();
            std::fs::write(&file, mail).unwrap();
            let mut command = Command::new("smtp-source");
            // -d: all over one connection.
            command.args(["-d", "-s", "1", "-m", &job.files.len().to_string(), "-F"]).arg(&file);
            command.args(["-f", SENDER, "-t", job.recipients[0]]);
            if job.recipients.len() > 1 {
                command.args(["-r", &job.recipients.len().to_string()]);
            }
            outcome(command.arg(format!("127.0.0.1:{}", job.port)))
        })
        .collect()
}

pub fn swaks(jobs: &[Job]) -> Vec<Outcome> {
    jobs.iter()
        .map(|job| {
            // It puts CRLF before the final dot whether the file ends in one or not.
            let mail = std::fs::read(&job.files[0]).unwrap();
            let file = job.files[0].with_extension("swaks");
            std::fs::write(&file, mail.strip_suffix(b"\r\n").unwrap()).unwrap();
            let mut command = Command::new("swaks");
            command.args(["--server", "127.0.0.1", "--port", &job.port.to_string()]);
            command.args(["--from", SENDER, "--to", &job.recipients.join(",")]);
            command.args(["--silent", "2", "--timeout", "60", "--data"]);
            command.arg(format!("@{}", file.display()));
            if job.way.starttls {
                command.args(["--tls", "--tls-verify", "--tls-ca-path"]).arg(&job.authority);
            }
            if job.way.login != Login::None {
                command.args(["--auth", job.way.login.word()]);
                command.args(["--auth-user", USER, "--auth-password", PASSWORD]);
            }
            outcome(command.stdin(Stdio::null()))
        })
        .collect()
}
