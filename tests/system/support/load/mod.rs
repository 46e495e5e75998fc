//! Programs that hand in numbered mails while the daemon dies and comes back: over connections that are
//! used again and over one each, our own client, Python's smtplib and curl.
//!
//! A mail is handed in once. Whoever got no 250 goes on to the next one.

pub mod mail;

use super::client::Client;
use super::daemon::PATIENCE;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

const SMTPLIB: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/support/load/numbered_smtplib.py");

/// How many may begin, how many have, who got a 250.
#[derive(Default)]
pub struct Ledger {
    pages: Mutex<Pages>,
    changed: Condvar,
}

#[derive(Default)]
struct Pages {
    allowed: usize,
    begun: usize,
    ended: usize,
    /// Somebody is there to take mail.
    is_up: bool,
    is_over: bool,
    /// With the words in which it was said.
    acknowledged: BTreeMap<usize, String>,
}

impl Ledger {
    /// So many more mails may begin.
    pub fn allow(&self, more: usize) {
        self.pages.lock().unwrap().allowed += more;
        self.changed.notify_all();
    }

    /// Whether there is somebody to hand mails to: the clients wait otherwise, so that few are wasted.
    pub fn set_up(&self, is_up: bool) {
        self.pages.lock().unwrap().is_up = is_up;
        self.changed.notify_all();
    }

    /// No more; the clients end.
    pub fn close(&self) {
        self.pages.lock().unwrap().is_over = true;
        self.changed.notify_all();
    }

    /// The number of the next mail; none when it is over.
    fn next(&self) -> Option<usize> {
        let mut pages = self.pages.lock().unwrap();
        while (pages.begun == pages.allowed || !pages.is_up) && !pages.is_over {
            pages = self.changed.wait(pages).unwrap();
        }
        if pages.is_over {
            return None;
        }
        pages.begun += 1;
        Some(pages.begun)
    }

    fn end(&self, number: usize, taken: Option<String>) {
        let mut pages = self.pages.lock().unwrap();
        pages.ended += 1;
        if let Some(words) = taken {
            pages.acknowledged.insert(number, words);
        }
        self.changed.notify_all();
    }

    /// Waits until so many mails got their 250, or everything allowed has had its answer.
    pub fn wait_for(&self, count: usize) {
        let ends = Instant::now() + PATIENCE;
        let mut pages = self.pages.lock().unwrap();
        while pages.acknowledged.len() < count && pages.ended < pages.allowed {
            let left = ends.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{count} expected, {} acknowledged", pages.acknowledged.len());
            pages = self.changed.wait_timeout(pages, left).unwrap().0;
        }
    }

    pub fn begun(&self) -> usize {
        self.pages.lock().unwrap().begun
    }

    pub fn acknowledged(&self) -> BTreeMap<usize, String> {
        self.pages.lock().unwrap().acknowledged.clone()
    }
}

/// A way to hand in one mail; gives the words of the 250, if one came.
trait Hand: Send {
    fn hand_in(&mut self, number: usize) -> Option<String>;
}

/// Starts all clients in `scope`; they end when the ledger is closed.
pub fn start<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    ledger: &'scope Ledger,
    address: SocketAddr,
) {
    let own = |is_reused| Own { address, is_reused, client: None };
    let hands: [Box<dyn Hand>; 7] = [
        Box::new(own(true)),
        Box::new(own(true)),
        Box::new(own(false)),
        Box::new(own(false)),
        Box::new(Smtplib::start(address, "reused")),
        Box::new(Smtplib::start(address, "one-shot")),
        Box::new(Curl { address }),
    ];
    for mut hand in hands {
        scope.spawn(move || {
            while let Some(number) = ledger.next() {
                ledger.end(number, hand.hand_in(number));
            }
        });
    }
}

/// Our own client.
struct Own {
    address: SocketAddr,
    is_reused: bool,
    client: Option<Client>,
}

impl Own {
    fn try_hand_in(&mut self, number: usize) -> std::io::Result<Option<String>> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(Client::hello(self.address)?),
        };
        let mut commands = vec!["MAIL FROM:<erp@contoso.com>".to_owned()];
        commands.extend(mail::recipients(number).iter().map(|to| format!("RCPT TO:<{to}>")));
        commands.push("DATA".to_owned());
        for command in commands {
            if client.say(&command)?.starts_with(['4', '5']) {
                client.say("RSET")?;
                return Ok(None);
            }
        }
        client.write(&mail::octets(number))?;
        client.write(b".\r\n")?;
        let reply = client.reply()?;
        if !self.is_reused {
            let _ = client.say("QUIT");
            self.client = None;
        }
        Ok(reply.starts_with("250").then_some(reply))
    }
}

impl Hand for Own {
    fn hand_in(&mut self, number: usize) -> Option<String> {
        self.try_hand_in(number).unwrap_or_else(|_| {
            self.client = None;
            None
        })
    }
}

/// Python's smtplib, told a mail at a time.
struct Smtplib {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Smtplib {
    fn start(address: SocketAddr, way: &str) -> Self {
        let mut child = Command::new("python3")
            .args([SMTPLIB, &address.port().to_string(), way])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed: scripts/install-test-tools");
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, answers: BufReader::new(answers) }
    }
}

impl Hand for Smtplib {
    fn hand_in(&mut self, number: usize) -> Option<String> {
        let octets = mail::octets(number);
        let to = mail::recipients(number).join(",");
        writeln!(self.orders, "{} {to}", octets.len()).unwrap();
        self.orders.write_all(&octets).unwrap();
        self.orders.flush().unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        (answer.trim_end() == "taken").then(|| "by smtplib".to_owned())
    }
}

impl Drop for Smtplib {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// curl(1), a process a mail.
struct Curl {
    address: SocketAddr,
}

impl Hand for Curl {
    fn hand_in(&mut self, number: usize) -> Option<String> {
        let mut command = Command::new("curl");
        command.args(["-s", "--mail-from", "erp@contoso.com", "--upload-file", "-"]);
        for to in mail::recipients(number) {
            command.args(["--mail-rcpt", &to]);
        }
        let mut child = command
            .arg(format!("smtp://{}/client", self.address))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("curl(1) is needed: scripts/install-test-tools");
        // It ends early where nobody listens.
        let _ = child.stdin.take().unwrap().write_all(&mail::octets(number));
        child.wait().unwrap().success().then(|| "by curl".to_owned())
    }
}
