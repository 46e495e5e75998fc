//! Postfix as a mail server that asks for a login, which Dovecot judges: XOAUTH2, OAUTHBEARER, PLAIN and LOGIN.
//! Tokens come from, and are asked about at, a small endpoint of our own.

use crate::support::authority::Authority;
use crate::support::daemon::{Log, PATIENCE, Start};
use crate::support::port::Port;
use crate::support::postfix::Instance;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the smart host's user has to say.
pub const USER: &str = "erp";
pub const PASSWORD: &str = "hunter2, with a comma";

const MAIN: &str = "\
myhostname = mail.contoso.com
mynetworks =
virtual_mailbox_limit = 0
virtual_mailbox_domains = contoso.com, example.org
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_sasl_type = dovecot
smtpd_sasl_security_options = noanonymous
smtpd_tls_auth_only = yes
smtpd_tls_security_level = may
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{unknown@example.org=REJECT}, permit_sasl_authenticated, reject
";

/// A running one; it ends when this is dropped.
pub struct Postfix {
    instance: Instance,
    files: Authority,
    dovecot: Child,
    /// STARTTLS and a login.
    pub starttls: u16,
    /// TLS from the first octet, and a login.
    pub implicit: u16,
    /// Neither: everybody on this machine may send.
    pub open: u16,
    /// As `open`, and it offers neither 8BITMIME nor SMTPUTF8.
    pub plain: u16,
    _held: [Port; 4],
    endpoint: u16,
    /// What the endpoint was asked.
    pub asked: Log,
}

impl Postfix {
    /// Starts all of it; the first so many tokens are given out but not taken.
    pub fn start(refused_tokens: usize) -> Self {
        let instance = Instance::new("submitd-mail-");
        let files = Authority::make(instance.path());
        let (endpoint, asked) = endpoint(refused_tokens);
        let held = [(); 4].map(|()| Port::hold());
        let [starttls, implicit, open, plain] = held.each_ref().map(Port::number);
        instance.give("mail", "nobody");
        let dovecot = start_dovecot(instance.path(), endpoint);
        let place = instance.path().display();
        let main = format!(
            "{MAIN}virtual_mailbox_base = {place}/mail\nsmtpd_sasl_path = {place}/auth\n\
             smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
            files.certificate.display(),
            files.key.display(),
        );
        let everybody = "smtpd\n -o smtpd_tls_security_level=none\n -o mynetworks=127.0.0.0/8\n \
                         -o smtpd_recipient_restrictions=permit_mynetworks,reject\n";
        let services = format!(
            "virtual unix - n n - - virtual\n\
             127.0.0.1:{starttls} inet n - n - - smtpd\n -o smtpd_sasl_auth_enable=yes\n\
             127.0.0.1:{implicit} inet n - n - - smtpd\n -o smtpd_sasl_auth_enable=yes\n \
             -o smtpd_tls_wrappermode=yes\n\
             127.0.0.1:{open} inet n - n - - {everybody}\
             127.0.0.1:{plain} inet n - n - - {everybody} \
             -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8\n"
        );
        instance.start(&main, &services);
        Self {
            instance,
            files,
            dovecot,
            starttls,
            implicit,
            open,
            plain,
            _held: held,
            endpoint,
            asked,
        }
    }

    /// A daemon with these keys of the account, and these of its upstream.
    pub fn daemon(&self, account: &str, upstream: &str) -> Start<'_> {
        let dir = self.instance.path();
        let config = format!(
            "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\n\
             [queue]\nschedule = [\"1s\"]\n[log]\nformat = \"json\"\nlevel = \"trace\"\n\
             [[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n{account}\n\
             [account.upstream]\nhost = \"localhost\"\nca_file = \"{ca}\"\n{upstream}\n",
            dir = dir.display(),
            ca = self.files.authority.display(),
        );
        Start::new(dir, &config)
    }

    /// An account with a token of the endpoint, in inline tables so that `[account.upstream]` may follow.
    pub fn token(&self) -> String {
        format!(
            "preset = \"generic\"\ngrant = \"client_credentials\"\nclient_id = \"submitd\"\n\
             client_secret = \"planted-secret\"\n\
             oauth = {{ token_url = \"http://127.0.0.1:{}/token\", scope = \"mail\" }}",
            self.endpoint
        )
    }

    /// A file of mode 600 with this text.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.instance.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    /// Waits for so many mails in the box, in the order in which they came; lines end in LF.
    pub fn mails(&self, count: usize) -> Vec<Vec<u8>> {
        let ends = Instant::now() + PATIENCE;
        loop {
            let mut files: Vec<_> = std::fs::read_dir(self.instance.path().join("mail/box/new"))
                .map(|found| found.map(|file| file.unwrap().path()).collect())
                .unwrap_or_default();
            if files.len() >= count {
                files.sort_by_key(|file| std::fs::metadata(file).unwrap().modified().unwrap());
                return files.iter().map(|file| std::fs::read(file).unwrap()).collect();
            }
            assert!(Instant::now() < ends, "{} of {count} mails came\n{}", files.len(), self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What Postfix and Dovecot said.
    pub fn log(&self) -> String {
        let dovecot = std::fs::read_to_string(self.instance.path().join("dovecot.log"));
        format!("{}\n{}", self.instance.log(), dovecot.unwrap_or_default())
    }

    /// Waits until its log says this.
    pub fn wait_for(&self, text: &str) {
        let ends = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < ends, "no {text:?} in\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.dovecot.id().to_string()).status();
        let _ = self.dovecot.wait();
    }
}

fn start_dovecot(dir: &Path, endpoint: u16) -> Child {
    let at = dir.display();
    let users = format!("{USER}:{{PLAIN}}{PASSWORD}\n");
    let oauth = format!(
        "introspection_mode = auth\nintrospection_url = http://127.0.0.1:{endpoint}/introspect\n\
         username_attribute = email\nactive_attribute = active\nactive_value = true\n"
    );
    let main = format!(
        "base_dir = {at}/run\nstate_dir = {at}/run\nlog_path = {at}/dovecot.log\nprotocols =\nssl = no\n\
         auth_mechanisms = plain login xoauth2 oauthbearer\ndisable_plaintext_auth = no\nauth_debug = yes\n\
         auth_username_chars =\nauth_failure_delay = 0\n\
         passdb {{\n driver = oauth2\n mechanisms = xoauth2 oauthbearer\n args = {at}/oauth2.conf\n}}\n\
         passdb {{\n driver = passwd-file\n mechanisms = plain login\n args = {at}/users\n}}\n\
         userdb {{\n driver = static\n args = uid=65534 gid=65534 home=/nonexistent\n}}\n\
         service auth {{\n unix_listener {at}/auth {{\n  mode = 0666\n }}\n}}\n"
    );
    for (name, text) in [("users", users), ("oauth2.conf", oauth), ("dovecot.conf", main)] {
        std::fs::write(dir.join(name), text).unwrap();
        std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    let dovecot = Command::new("dovecot")
        .args(["-F", "-c"])
        .arg(dir.join("dovecot.conf"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("dovecot: {error}; run scripts/install-test-tools"));
    let (socket, ends) = (dir.join("auth"), Instant::now() + PATIENCE);
    while !socket.exists() {
        let log = std::fs::read_to_string(dir.join("dovecot.log")).unwrap_or_default();
        assert!(Instant::now() < ends, "Dovecot does not start: {log}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    dovecot
}

/// Gives `token-1`, `token-2`, … and tells whose they are; of the first so many nobody knows.
fn endpoint(refused: usize) -> (u16, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let log = Log::default();
    log.follow(reader);
    std::thread::spawn(move || {
        let mut given = 0;
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|n| n > 0) {
                let line = head.lines().last().unwrap_or_default().to_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            let _ = stream.read_exact(&mut body);
            let (status, answer) = if head.starts_with("POST /token") {
                given += 1;
                let token = format!(
                    "{{\"access_token\":\"token-{given}\",\"token_type\":\"Bearer\",\"expires_in\":3600}}"
                );
                ("200 OK", token)
            } else {
                let number: usize = head
                    .split("Bearer token-")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
                    .unwrap_or(0);
                let _ = writeln!(writer, "asked about token-{number}");
                match number > refused {
                    true => {
                        ("200 OK", "{\"active\":true,\"email\":\"erp@contoso.com\"}".to_owned())
                    }
                    false => ("401 Unauthorized", "{\"error\":\"invalid_token\"}".to_owned()),
                }
            };
            let _ = write!(
                stream.get_mut(),
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{answer}",
                answer.len()
            );
        }
    });
    (port, log)
}
