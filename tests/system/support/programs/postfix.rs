//! Postfix as a client: an instance of its own that relays through us.

use super::{Job, Login, Outcome, PASSWORD, SENDER, USER, first_line, run};
use crate::support::daemon::PATIENCE;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing goes anywhere but where `header_checks` sends it: each errand has a client service of its own.
const MAIN: &str = "\
compatibility_level = 3.6
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
sendmail_path = /usr/sbin/sendmail
newaliases_path = /usr/bin/newaliases
mailq_path = /usr/bin/mailq
myhostname = old.contoso.com
mydestination =
local_transport = discard:
default_transport = discard:
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
alias_database =
message_size_limit = 52428800
mailbox_size_limit = 0
default_destination_concurrency_limit = 1
smtp_connection_cache_destinations = static:all
smtp_connection_cache_time_limit = 10s
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_tls_secure_cert_match = localhost
";

const MASTER: &str = "\
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
scache unix - - n - 1 scache
showq unix n - n - - showq
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
";

/// An instance; it is stopped when this is dropped.
struct Instance {
    dir: TempDir,
}

impl Instance {
    fn start(jobs: &[Job]) -> Self {
        let dir = TempDir::with_prefix("submitd-postfix-").unwrap();
        let at = dir.path();
        // Its processes run as users of their own and must get through.
        std::fs::set_permissions(at, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(at.join("spool")).unwrap();
        std::fs::create_dir(at.join("data")).unwrap();
        assert!(run(Command::new("chown").arg("postfix").arg(at.join("data"))).status.success());
        let (mut master, mut passwords, mut filters) =
            (MASTER.to_owned(), String::new(), String::new());
        for (number, job) in jobs.iter().enumerate() {
            let _ =
                writeln!(master, "job{number} unix - - n - - smtp\n -o syslog_name=job{number}");
            let level = if job.way.starttls { "secure" } else { "none" };
            let _ = writeln!(master, " -o smtp_tls_security_level={level}");
            if job.way.login != Login::None {
                let mechanism = job.way.login.word().to_lowercase();
                let _ = writeln!(master, " -o smtp_sasl_mechanism_filter={mechanism}");
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
        let main = format!(
            "{MAIN}queue_directory = {at}/spool\ndata_directory = {at}/data\n\
             maillog_file = {at}/log\nmaillog_file_prefixes = {at}\n\
             smtp_sasl_password_maps = texthash:{at}/passwords\n\
             header_checks = regexp:{at}/filters\nsmtp_tls_CAfile = {ca}\n",
            at = at.display(),
            ca = jobs[0].authority.display(),
        );
        for (name, text) in [
            ("main.cf", main),
            ("master.cf", master),
            ("passwords", passwords),
            ("filters", filters),
        ] {
            std::fs::write(at.join(name), text).unwrap();
        }
        let instance = Self { dir };
        let started = instance.control("start");
        assert!(
            started.status.success(),
            "Postfix does not start: {started:?}\n{}",
            instance.log()
        );
        instance
    }

    fn control(&self, word: &str) -> Output {
        run(Command::new("postfix").arg("-c").arg(self.dir.path()).arg(word))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Hands a mail to its `sendmail`.
    fn submit(&self, job: &Job, file: &Path) {
        let mail = std::fs::read(file).unwrap();
        let mail: Vec<u8> = mail.into_iter().filter(|&octet| octet != b'\r').collect();
        let plain = file.with_extension("lf");
        std::fs::write(&plain, mail).unwrap();
        let mut command = Command::new("/usr/sbin/sendmail");
        command.arg("-C").arg(self.dir.path()).args(["-i", "-f", SENDER]).args(&job.recipients);
        let output = run(command.stdin(std::fs::File::open(plain).unwrap()));
        assert!(output.status.success(), "{output:?}");
    }

    /// Waits until each recipient of these jobs has its line in the log.
    fn wait(&self, jobs: &[Job]) {
        let expected: usize = jobs.iter().map(|job| job.files.len() * job.recipients.len()).sum();
        let ends = Instant::now() + PATIENCE;
        while self.log().matches(" status=").count() < expected && Instant::now() < ends {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.control("abort");
    }
}

pub fn relay(jobs: &[Job]) -> Vec<Outcome> {
    let instance = Instance::start(jobs);
    for job in jobs {
        for file in &job.files {
            instance.submit(job, file);
        }
    }
    instance.wait(jobs);
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
