//! Postfix as a client: an instance of its own that relays through us.

use super::{Job, Login, Outcome, PASSWORD, SENDER, USER, first_line, run};
use crate::support::daemon::PATIENCE;
use crate::support::postfix::Instance;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Nothing goes anywhere but where `header_checks` sends it: each errand has a client service of its own.
const MAIN: &str = "\
myhostname = old.contoso.com
local_transport = discard:
default_transport = discard:
default_destination_concurrency_limit = 1
smtp_connection_cache_destinations = static:all
smtp_connection_cache_time_limit = 10s
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_tls_secure_cert_match = localhost
";

const SERVICES: &str = "\
discard unix - - n - - discard
scache unix - - n - 1 scache
";

/// An instance that has an errand each.
fn start(jobs: &[Job]) -> Instance {
    let instance = Instance::new("submitd-postfix-");
    let (mut services, mut passwords, mut filters) =
        (SERVICES.to_owned(), String::new(), String::new());
    for (number, job) in jobs.iter().enumerate() {
        let _ = writeln!(services, "job{number} unix - - n - - smtp\n -o syslog_name=job{number}");
        let level = if job.way.starttls { "secure" } else { "none" };
        let _ = writeln!(services, " -o smtp_tls_security_level={level}");
        if job.way.login != Login::None {
            let mechanism = job.way.login.word().to_lowercase();
            let _ = writeln!(services, " -o smtp_sasl_mechanism_filter={mechanism}");
            let _ = writeln!(passwords, "[127.0.0.1]:{} {USER}:{PASSWORD}", job.port);
        }
        for subject in &job.subjects {
            let subject = subject.split(' ').next().unwrap_or("");
            let _ = writeln!(
                filters,
                "/^Subject: {}( |$)/ FILTER job{number}:[127.0.0.1]:{}",
                subject.replace('.', "\\."),
                job.port
            );
        }
    }
    for (name, text) in [("passwords", passwords), ("filters", filters)] {
        std::fs::write(instance.path().join(name), text).unwrap();
    }
    let main = format!(
        "{MAIN}smtp_sasl_password_maps = texthash:{at}/passwords\n\
         header_checks = regexp:{at}/filters\nsmtp_tls_CAfile = {ca}\n",
        at = instance.path().display(),
        ca = jobs[0].authority.display(),
    );
    instance.start(&main, &services);
    instance
}

/// Hands a mail to its `sendmail`.
fn submit(instance: &Instance, job: &Job, file: &Path) {
    let mail = std::fs::read(file).unwrap();
    let mail: Vec<u8> = mail.into_iter().filter(|&octet| octet != b'\r').collect();
    let plain = file.with_extension("lf");
    std::fs::write(&plain, mail).unwrap();
    let mut command = Command::new("/usr/sbin/sendmail");
    command.arg("-C").arg(instance.path()).args(["-i", "-f", SENDER]).args(&job.recipients);
    let output = run(command.stdin(std::fs::File::open(plain).unwrap()));
    assert!(output.status.success(), "{output:?}");
}

/// Waits until each recipient of these jobs has its line in the log.
fn wait(instance: &Instance, jobs: &[Job]) {
    let expected: usize = jobs.iter().map(|job| job.files.len() * job.recipients.len()).sum();
    let ends = Instant::now() + PATIENCE;
    while instance.log().matches(" status=").count() < expected && Instant::now() < ends {
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub fn relay(jobs: &[Job]) -> Vec<Outcome> {
    let instance = start(jobs);
    for job in jobs {
        for file in &job.files {
            submit(&instance, job, file);
        }
    }
    wait(&instance, jobs);
    let log = instance.log();
    jobs.iter()
        .enumerate()
        .map(|(number, job)| {
            let mark = format!(" job{number}/smtp[");
            let lines: Vec<_> = log.lines().filter(|line| line.contains(&mark)).collect();
            let sent = lines.iter().filter(|line| line.contains(" status=sent")).count();
            if sent == job.files.len() * job.recipients.len() {
                return Ok(());
            }
            Err(format!("{}\nwarnings: {}", lines.join("\n"), warnings(&log)))
        })
        .collect()
}

fn warnings(log: &str) -> String {
    let bad = |line: &&str| ["warning:", "fatal:", "error:"].iter().any(|word| line.contains(word));
    log.lines().filter(bad).collect::<Vec<_>>().join("\n")
}

pub fn version() -> String {
    let version = first_line(Command::new("postconf").args(["-h", "mail_version"]), 1);
    format!("Postfix {version}")
}
