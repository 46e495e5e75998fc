//! Rounds of load in which the daemon, or the disk below it, ends at a random moment and comes back at
//! once; then the queue is brought to its end and everything is counted.

use super::daemon::{PATIENCE, Start, binary};
use super::dice::Dice;
use super::load::{self, Ledger};
use super::overheard;
use super::port::Port;
use super::tally::{Arrival, Tally};
use super::world::RUNTIME;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use submitd::queue::{Filter, Queue, Settings, open_read_only};

/// What the log says of a mail that may come twice.
const MOMENTS: [&str; 2] = [
    "uncertain: it may have been delivered before the crash",
    "possibly delivered: no answer came",
];

/// A daemon that is ended again and again, always on the same port, with one log.
pub struct Rounds<'a> {
    /// Where configuration and log lie.
    pub dir: &'a Path,
    /// Where the queue lies.
    pub queue: PathBuf,
    pub config: String,
    port: Port,
}

/// One life of the daemon.
pub struct Life {
    pub child: Child,
    notify: UnixDatagram,
}

impl<'a> Rounds<'a> {
    /// `config` must listen on port 0 of 127.0.0.1; a free one takes its place.
    pub fn new(dir: &'a Path, queue: PathBuf, config: &str) -> Self {
        let port = Port::hold();
        let config = config.replace("127.0.0.1:0\"", &format!("{port}\""));
        let config = config.replace("level = \"debug\"", "level = \"info\"");
        assert!(config.contains(&port.to_string()), "{config}");
        Self { dir, queue, config, port }
    }

    /// Starts it; it need not be ready.
    pub fn begin(&self) -> Life {
        let (mut command, notify) = Start::new(self.dir, &self.config).command();
        command.stderr(OpenOptions::new().append(true).create(true).open(self.log()).unwrap());
        Life { child: command.spawn().unwrap(), notify }
    }

    fn log(&self) -> PathBuf {
        self.dir.join("all.log")
    }

    /// The log of all lives so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// How often each id was said to be of unknown fate. Its history says so too, where the process
    /// ended between the note and the line.
    fn uncertain(&self) -> BTreeMap<String, usize> {
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for line in
            self.said().lines().filter(|line| MOMENTS.iter().any(|text| line.contains(text)))
        {
            let id = line.split("\"id\":\"").nth(1).and_then(|rest| rest.get(..16));
            *found.entry(id.expect("each line names its mail").to_owned()).or_default() += 1;
        }
        let view = open_read_only(&self.queue).unwrap();
        for settled in view.history(None, usize::MAX).unwrap().iter().filter(|mail| mail.uncertain)
        {
            found.entry(settled.id.to_string()).or_insert(1);
        }
        found
    }

    /// `count` rounds: so many mails more may begin, `round` ends the life at its moment and mends what
    /// lies below, the next one begins. Then all that is left goes out, and `arrived` tells what came.
    pub fn play(
        &self,
        count: usize,
        mails_a_round: usize,
        mut round: impl FnMut(&Ledger, Life),
        mend: impl FnOnce(),
        arrived: impl FnOnce() -> Vec<Arrival>,
    ) -> Tally {
        let ledger = Ledger::default();
        std::thread::scope(|scope| {
            load::start(scope, &ledger, self.port.address());
            for _ in 0..count {
                ledger.allow(mails_a_round);
                round(&ledger, self.begin());
            }
            let mut life = self.begin();
            life.wait_ready(self);
            mend();
            ledger.set_up(true);
            ledger.wait_for(usize::MAX);
            ledger.close();
            life.stop();
        });
        self.wake_all();
        let mut life = self.begin();
        life.wait_ready(self);
        self.wait_until_empty();
        life.stop();
        overheard::printed(self.dir, "all.log", self.said().as_bytes());
        Tally {
            begun: ledger.begun(),
            acknowledged: ledger.acknowledged(),
            arrivals: arrived(),
            uncertain: self.uncertain(),
        }
    }

    /// Makes everything due that waits, for five minutes where an answer was lost.
    fn wake_all(&self) {
        RUNTIME.block_on(async {
            let queue = Queue::open(Settings {
                dir: self.queue.clone(),
                max_size: u64::MAX,
                reserve: 0,
                history: Duration::from_secs(24 * 3600),
                hold: Vec::new(),
            });
            let queue = queue.unwrap();
            let all = Filter { most: usize::MAX, ..Filter::default() };
            for mail in queue.list(all).await.unwrap() {
                queue.retry(mail.id).await.unwrap();
            }
            queue.close().await;
        });
    }

    /// Waits until nothing is left; gives up where nothing leaves any more.
    fn wait_until_empty(&self) {
        let view = open_read_only(&self.queue).unwrap();
        let (mut least, mut ends) = (u64::MAX, Instant::now() + PATIENCE);
        loop {
            let counts = view.counts().unwrap();
            let left: u64 = counts.iter().map(|count| count.mails).sum();
            if left == 0 {
                return;
            }
            if left < least {
                (least, ends) = (left, Instant::now() + PATIENCE);
            }
            assert!(Instant::now() < ends, "{counts:?} do not leave; {}", self.last_words());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Life {
    /// Waits until it is ready.
    pub fn wait_ready(&mut self, rounds: &Rounds<'_>) {
        self.notify.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let ends = Instant::now() + PATIENCE;
        let mut octets = [0; 4096];
        loop {
            if let Ok(count) = self.notify.recv(&mut octets)
                && String::from_utf8_lossy(&octets[..count]).contains("READY=1")
            {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            let said = || rounds.last_words();
            assert!(ended.is_none() && Instant::now() < ends, "not ready: {ended:?}\n{}", said());
        }
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self, ledger: &Ledger) {
        self.child.kill().unwrap();
        ledger.set_up(false);
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its good end.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "{} does not end well", binary().display());
    }
}

/// Lets a random stretch of time pass: the moment of an end is to be any.
pub fn any_moment(dice: &mut Dice, most: Duration) {
    let most = u64::try_from(most.as_micros()).unwrap();
    let ends = Instant::now() + Duration::from_micros(dice.below(most));
    while let left = ends.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        std::thread::park_timeout(left);
    }
}
