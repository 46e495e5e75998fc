//! What delivery promises, with a scripted courier, scripted tokens and the real queue.
//!
//! Time is paused: it jumps ahead whenever all wait. The store writes in a thread of its own, so time
//! may jump while it writes; a test may therefore ask "not before", never "not after".

mod detour;
mod portions;

use super::direct::Passages;
use super::*;
use crate::config::{Application, Grant, Limit, OAuth, OnUncertain, Proof, Upstream, UpstreamTls};
use crate::diagnosis::Class;
use crate::mail::{Address, BodyKind, Envelope, Notify, Recipient};
use crate::oauth::{AccessToken, TokenError};
use crate::queue::{Charge, Entry, Filter, RecipientState, State, Submission};
use crate::secret::Secret;
use crate::smtp::{Enhanced, Reply};
use crate::upstream::{Credential, Failure, Fault, Outcome, Outgoing, Stage};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What the courier saw of one try.
#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    nth: usize,
    sender: Option<String>,
    recipients: Vec<String>,
    never: bool,
    token: String,
    body: String,
}

type Answers = Vec<Result<Reply, Failure>>;
type Play = Box<dyn Fn(&Seen) -> Answers + Send + Sync>;

/// Answers as it is told; counts how many tries run at once.
struct Script {
    play: Play,
    seen: Mutex<Vec<Seen>>,
    now: AtomicUsize,
    most: AtomicUsize,
    /// How often it was asked to let its idle connections go.
    closed: AtomicUsize,
    dsn: bool,
}

impl Script {
    fn new(play: impl Fn(&Seen) -> Answers + Send + Sync + 'static) -> Arc<Self> {
        Self::offering(true, play)
    }

    fn offering(dsn: bool, play: impl Fn(&Seen) -> Answers + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            play: Box::new(play),
            seen: Mutex::default(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            dsn,
        })
    }

    fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }
}

impl Courier for Script {
    async fn deliver(&self, mail: Outgoing<'_>, credential: &Credential) -> Outcome {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let mut body = Vec::new();
        while let Some(chunk) = mail.body.chunk().await.expect("body") {
            body.extend_from_slice(&chunk);
        }
        let never = |recipient: &Recipient| recipient.notify == Some(Notify::NEVER);
        let seen = {
            let mut all = lock(&self.seen);
            let recipients = &mail.envelope.recipients;
            let nth = all.len();
            all.push(Seen {
                at: Instant::now(),
                nth,
                sender: mail.envelope.sender.as_ref().map(ToString::to_string),
                recipients: recipients.iter().map(|to| to.address.to_string()).collect(),
                never: recipients.iter().all(never),
                token: credential.token.expose().to_owned(),
                body: String::from_utf8_lossy(&body).into_owned(),
            });
            all[nth].clone()
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        let recipients = (self.play)(&seen);
        let at_dot = |result: &Result<Reply, Failure>| {
            result.as_ref().err().is_none_or(|failure| failure.stage == Stage::Dot)
        };
        let mut recipients = recipients;
        if recipients.iter().any(at_dot)
            && let Err(error) = mail.commit.await
        {
            let failure = Failure { stage: Stage::Body, fault: Fault::Local(error) };
            recipients.fill(Err(failure));
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        Outcome { recipients, dsn: self.dsn }
    }

    async fn close_idle(&self) {
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// Tokens `t0`, `t1`, ...: a refused one is followed by the next.
#[derive(Default)]
struct Tokens {
    version: AtomicU64,
    asked: AtomicUsize,
    broken: Mutex<HashMap<String, TokenError>>,
}

impl TokenSource for Tokens {
    async fn access_token(&self, account: &str) -> Result<AccessToken, TokenError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = lock(&self.broken).get(account) {
            return Err(error.clone());
        }
        let version = self.version.load(Ordering::SeqCst);
        Ok(AccessToken {
            secret: Secret::new(format!("t{version}")),
            usable_until: std::time::Instant::now() + Duration::from_secs(3600),
            version,
        })
    }

    fn refuse(&self, _account: &str, token: &AccessToken) {
        let next = token.version + 1;
        let _ =
            self.version.compare_exchange(token.version, next, Ordering::SeqCst, Ordering::SeqCst);
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).expect(text)
}

fn account(name: &str, mailbox: &str) -> Account {
    Account {
        name: name.into(),
        mailbox: address(mailbox),
        grant: Grant::ClientCredentials {
            application: Application {
                client_id: "id".into(),
                proof: Proof::Secret(Secret::new("secret")),
            },
        },
        transport: crate::config::Transport::Smtp,
        upstream: Upstream {
            host: "smtp.office365.com".into(),
            port: 587,
            tls: UpstreamTls::StartTls,
            login: crate::config::Login::Token,
            sasl: crate::config::Sasl::Auto,
            proxy: None,
            ca_file: None,
            connections: Limit::AtMost(3),
            messages_per_minute: Limit::Unlimited,
            recipients_per_day: Limit::Unlimited,
            max_recipients: Limit::Unlimited,
            max_message_size: 35 << 20,
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(30),
            data_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(60),
            binarymime: true,

            chunking: crate::config::Chunking::Auto,
        },
        oauth: OAuth {
            token_url: "https://login.microsoftonline.com/x/oauth2/v2.0/token"
                .parse()
                .expect("url"),
            scope: "https://outlook.office365.com/.default".into(),
            ca_file: None,
            proxy: crate::config::HttpProxy::Environment,
            timeout: Duration::from_secs(30),
            consent: Default::default(),
        },
        on_uncertain: OnUncertain::Retry,
        networks: Vec::new(),
        senders: Vec::new(),
        rewrite_from: crate::mail::rewrite::When::Off,
        client_secret_expires: None,
    }
}

/// A store, a clock that goes with tokio's, and tokens.
struct House {
    queue: Queue,
    tokens: Arc<Tokens>,
    settings: Settings,
    start: Instant,
    dir: tempfile::TempDir,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

impl House {
    fn new() -> Self {
        Self::at(tempfile::tempdir().expect("dir"))
    }

    fn at(dir: tempfile::TempDir) -> Self {
        let queue = Self::store(&dir);
        let (start, base) = (Instant::now(), SystemTime::now());
        let settings = Settings {
            hostname: "relay.contoso.com".into(),
            schedule: Schedule { pauses: vec![MINUTE, 5 * MINUTE, HOUR], expire: 120 * HOUR },
            delay_notice: 4 * HOUR,
            uncertain_pause: 5 * MINUTE,
            bounces: None,
            clock: Arc::new(move || base + start.elapsed()),
        };
        Self { queue, tokens: Arc::default(), settings, start, dir }
    }

    fn store(dir: &tempfile::TempDir) -> Queue {
        Queue::open(crate::queue::Settings {
            dir: dir.path().join("queue"),
            max_size: 1 << 30,
            reserve: 0,
            history: HOUR,
            hold: vec!["hold".into()],
        })
        .expect("queue")
    }

    /// As another process finds the store; the clock goes on.
    async fn reopen(&mut self) {
        self.queue.close().await;
        self.queue = Self::store(&self.dir);
    }

    fn start(&self, script: &Arc<Script>, accounts: &[&Account]) -> Delivery {
        let script = script.clone();
        Delivery::start(
            self.queue.clone(),
            self.tokens.clone(),
            move |_: &Account| script.clone(),
            Passages::default(),
            self.settings.clone(),
            accounts.iter().map(|account| Arc::new((*account).clone())).collect(),
        )
    }

    async fn send(&self, account: &str, from: Option<&str>, to: &[&str]) -> Id {
        let recipients = to.iter().map(|to| Recipient::new(address(to))).collect();
        self.send_to(account, from, recipients, false).await
    }

    async fn send_to(
        &self,
        account: &str,
        from: Option<&str>,
        recipients: Vec<Recipient>,
        is_bounce: bool,
    ) -> Id {
        let now = (self.settings.clock)();
        let mut writer = self.queue.spool();
        let text = b"Message-ID: <1@erp>\r\nSubject: Invoice\r\n\r\nHello\r\n";
        writer.write(text).await.expect("write");
        let id = Id::new(now, random() as u32);
        let submission = Submission {
            id,
            account: account.into(),
            envelope: Envelope {
                sender: from.map(address),
                body: BodyKind::Undeclared,
                smtputf8: false,
                ret: None,
                envid: None,
                recipients,
            },
            body: writer.finish().await.expect("finish"),
            accepted: now,
            is_bounce,
        };
        self.queue.accept(submission).await.expect("accept").id()
    }

    /// Waits until nothing is in the queue.
    async fn empty(&self) {
        let (mut pause, begin) = (Duration::from_millis(50), Instant::now());
        loop {
            let left = self.queue.list(Filter::default()).await.expect("list");
            if left.is_empty() {
                return;
            }
            // Of the paused clock; no mail is tried for so long.
            assert!(begin.elapsed() < 30 * 24 * HOUR, "{left:?}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(10 * MINUTE);
        }
    }

    /// Waits until a mail is as wanted, or gone.
    async fn until(&self, id: Id, wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
        loop {
            match self.queue.show(id).await.expect("show") {
                Some(entry) if !wanted(&entry) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    }
}

fn ok() -> Result<Reply, Failure> {
    Ok(Reply::new(250, Enhanced(2, 0, 0), "OK"))
}

fn no(stage: Stage, code: u16, enhanced: Enhanced, text: &'static str) -> Result<Reply, Failure> {
    let reply = Reply { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) };
    Err(Failure { stage, fault: Fault::Reply(reply) })
}

/// The same answer for every recipient.
fn all(seen: &Seen, answer: &Result<Reply, Failure>) -> Answers {
    vec![answer.clone(); seen.recipients.len()]
}

const FROM: Option<&str> = Some("erp@contoso.com");

#[tokio::test(start_paused = true)]
async fn a_mail_goes_out_and_leaves_the_queue() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    house.send("erp", FROM, &["a@b.example", "c@b.example"]).await;
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].recipients, ["a@b.example", "c@b.example"]);
    assert_eq!(seen[0].token, "t0");
    assert!(seen[0].body.ends_with("Hello\r\n"));
    let history = house.queue.history(None, 10).await.expect("history");
    assert_eq!(history.len(), 1);
    assert_eq!(delivery.standings(), []);
    assert_eq!(delivery.drain(MINUTE).await, 0);
}

#[tokio::test(start_paused = true)]
async fn b06_each_recipient_is_settled_on_its_own_and_none_is_sent_twice() {
    let house = House::new();
    let script = Script::new(|seen| {
        let answer = |to: &String| match to.as_str() {
            "gone@b.example" => no(Stage::Rcpt, 550, Enhanced(5, 1, 1), "no such user"),
            "later@b.example" if seen.nth == 0 => {
                no(Stage::Rcpt, 450, Enhanced(4, 2, 0), "greylisted")
            }
            _ => ok(),
        };
        seen.recipients.iter().map(answer).collect()
    });
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    house.send("erp", FROM, &["good@b.example", "gone@b.example", "later@b.example"]).await;
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 3, "{seen:#?}");
    let report = seen.iter().find(|seen| seen.body.contains("multipart/report")).expect("report");
    assert_eq!((report.sender.as_deref(), report.never), (FROM, true));
    assert_eq!(report.recipients, ["erp@contoso.com"]);
    assert!(report.body.contains("Final-Recipient: rfc822; gone@b.example"), "{}", report.body);
    assert!(!report.body.contains("later@b.example") && !report.body.contains("Hello"));
    let again = seen.iter().find(|seen| seen.recipients == ["later@b.example"]).expect("again");
    assert!(again.at - seen[0].at >= MINUTE * 8 / 10, "the schedule's first pause");
}

#[tokio::test(start_paused = true)]
async fn b05_surplus_recipients_go_in_a_second_transaction() {
    let house = House::new();
    let script = Script::new(|seen| {
        let answer = |index: usize| match index {
            0 | 1 => ok(),
            _ => no(Stage::Rcpt, 452, Enhanced(4, 5, 3), "Too many recipients"),
        };
        (0..seen.recipients.len()).map(answer).collect()
    });
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let id = house.send("erp", FROM, &["a@b.c", "b@b.c", "c@b.c", "d@b.c", "e@b.c"]).await;
    house.until(id, |_| false).await;
    let sent: Vec<_> = script.seen().iter().map(|seen| seen.recipients.clone()).collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert_eq!(sent[1], ["c@b.c", "d@b.c", "e@b.c"]);
    assert_eq!(sent[2], ["e@b.c"]);
}

#[tokio::test(start_paused = true)]
async fn b13_a_refused_token_is_renewed_once_and_the_mail_goes() {
    let house = House::new();
    let script = Script::new(|seen| match seen.token.as_str() {
        "t0" => all(seen, &no(Stage::Auth, 535, Enhanced(5, 7, 3), "Authentication unsuccessful")),
        _ => all(seen, &ok()),
    });
    let delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    house.send("erp", FROM, &["a@b.example"]).await;
    house.empty().await;
    let tokens: Vec<_> = script.seen().into_iter().map(|seen| seen.token).collect();
    assert_eq!(tokens, ["t0", "t1"]);
    assert_eq!(delivery.standings(), []);
}

#[tokio::test(start_paused = true)]
async fn b13_a_token_refused_twice_pauses_the_account_ever_longer_and_keeps_the_mail() {
    let house = House::new();
    let script = Script::new(|seen| match seen.nth {
        0..=4 => all(
            seen,
            &no(
                Stage::Auth,
                535,
                Enhanced(5, 7, 139),
                "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            ),
        ),
        _ => all(seen, &ok()),
    });
    let delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let id = house.send("erp", FROM, &["a@b.example"]).await;
    let entry = house.until(id, |entry| entry.last_error.is_some()).await.expect("kept");
    assert_eq!((entry.attempts, entry.state), (0, State::Queued));
    assert_eq!(entry.recipients, [RecipientState::Waiting]);
    while delivery.standings().is_empty() {
        tokio::task::yield_now().await;
    }
    let standing = delivery.standings().remove(0);
    assert_eq!((standing.account.as_str(), standing.class), ("erp", Class::Administrator));
    assert!(standing.remedy.contains("Set-CASMailbox -Identity erp@contoso.com"), "{standing:?}");
    house.empty().await;
    let seen = script.seen();
    let tokens: Vec<_> = seen.iter().map(|seen| seen.token.as_str()).collect();
    assert_eq!(tokens, ["t0", "t1", "t2", "t3", "t4", "t5"], "one renewal, then one try a pause");
    let gaps: Vec<_> = seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(gaps[1] >= MINUTE && gaps[2] >= 5 * MINUTE && gaps[3] >= 15 * MINUTE, "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn no_token_pauses_the_account_before_anything_is_connected() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    lock(&house.tokens.broken).insert(
        "erp".into(),
        TokenError {
            class: Class::SignIn,
            message: "AADSTS700082: the refresh token has expired".into(),
            remedy: Some("submitd login erp".into()),
            retry_after: None,
        },
    );
    let delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let id = house.send("erp", FROM, &["a@b.example"]).await;
    let entry = house.until(id, |entry| entry.last_error.is_some()).await.expect("kept");
    assert_eq!(entry.attempts, 0);
    assert!(script.seen().is_empty());
    while delivery.standings().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(delivery.standings()[0].remedy, "submitd login erp");
    lock(&house.tokens.broken).clear();
    delivery.resume("erp");
    house.empty().await;
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn b22_one_broken_account_and_ten_good_ones() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    lock(&house.tokens.broken).insert(
        "bad".into(),
        TokenError {
            class: Class::Administrator,
            message: "AADSTS7000215".into(),
            remedy: None,
            retry_after: None,
        },
    );
    let accounts: Vec<Account> =
        (0..10).map(|n| account(&format!("good{n}"), &format!("m{n}@contoso.com"))).collect();
    let bad = account("bad", "m0@contoso.com");
    let mut served: Vec<&Account> = accounts.iter().collect();
    served.push(&bad);
    let stuck = house.send("bad", FROM, &["a@b.example"]).await;
    for n in 0..10 {
        for _ in 0..3 {
            house.send(&format!("good{n}"), FROM, &["a@b.example"]).await;
        }
    }
    let _delivery = house.start(&script, &served);
    while house.queue.list(Filter::default()).await.expect("list").len() > 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(script.seen().len(), 30);
    assert!(house.queue.show(stuck).await.expect("show").is_some());
}

#[tokio::test(start_paused = true)]
async fn b21_no_more_at_once_than_the_mailbox_may_also_with_two_accounts() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    for _ in 0..10 {
        house.send("one", FROM, &["a@one.example"]).await;
        house.send("two", FROM, &["a@two.example"]).await;
    }
    let (one, two) = (account("one", "erp@contoso.com"), account("two", "ERP@Contoso.com"));
    let _delivery = house.start(&script, &[&one, &two]);
    house.empty().await;
    assert_eq!(script.most.load(Ordering::SeqCst), 3);
    let order: Vec<_> = script.seen().into_iter().map(|seen| seen.recipients[0].clone()).collect();
    let first = order[..10].iter().filter(|to| to.as_str() == "a@one.example").count();
    assert!((4..=6).contains(&first), "in turn: {order:?}");
}

#[tokio::test(start_paused = true)]
async fn b21_a_minute_sees_no_more_than_the_burst_and_the_refill() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let mut erp = account("erp", "erp@contoso.com");
    erp.upstream.messages_per_minute = Limit::AtMost(6);
    for _ in 0..12 {
        house.send("erp", FROM, &["a@b.example"]).await;
    }
    let _delivery = house.start(&script, &[&erp]);
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 12);
    for (index, seen_at) in seen.iter().enumerate().skip(6) {
        let wanted = Duration::from_secs(10 * (index as u64 - 5));
        assert!(seen_at.at - seen[0].at + Duration::from_millis(500) >= wanted, "{index}");
    }
}

#[tokio::test(start_paused = true)]
async fn b21_a_crowded_upstream_gets_fewer_connections_and_no_mail_fails() {
    let house = House::new();
    let script = Script::new(|seen| match seen.nth {
        0 | 1 => all(
            seen,
            &no(Stage::Mail, 432, Enhanced(4, 3, 2), "Concurrent connections limit exceeded"),
        ),
        _ => all(seen, &ok()),
    });
    let erp = account("erp", "erp@contoso.com");
    for _ in 0..6 {
        house.send("erp", FROM, &["a@b.example"]).await;
    }
    let _delivery = house.start(&script, &[&erp]);
    house.empty().await;
    assert_eq!(script.seen().len(), 8);
    for settled in house.queue.history(None, 10).await.expect("history") {
        assert!(matches!(settled.recipients[0].1, RecipientState::Delivered { .. }), "{settled:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn b21_a_quota_pauses_the_account_and_fails_no_mail() {
    let house = House::new();
    let script = Script::new(|seen| match seen.nth {
        0..=2 => all(
            seen,
            &no(
                Stage::Dot,
                554,
                Enhanced(5, 2, 0),
                "STOREDRV.Submission.Exception:SubmissionQuotaExceededException",
            ),
        ),
        _ => all(seen, &ok()),
    });
    let mut erp = account("erp", "erp@contoso.com");
    erp.upstream.connections = Limit::AtMost(1);
    house.send("erp", FROM, &["a@b.example"]).await;
    house.send("erp", FROM, &["b@b.example"]).await;
    let _delivery = house.start(&script, &[&erp]);
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen[1].at - seen[0].at >= MINUTE && seen[2].at - seen[1].at >= 5 * MINUTE);
    for settled in house.queue.history(None, 10).await.expect("history") {
        assert!(matches!(settled.recipients[0].1, RecipientState::Delivered { .. }), "{settled:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn b04_an_unknown_fate_is_marked_and_sent_again_after_five_minutes() {
    let house = House::new();
    let lost = Err(Failure { stage: Stage::Dot, fault: Fault::Closed });
    let script =
        Script::new(move |seen| if seen.nth == 0 { all(seen, &lost) } else { all(seen, &ok()) });
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let id = house.send("erp", FROM, &["a@b.example"]).await;
    let entry = house.until(id, |entry| entry.attempts == 1).await.expect("kept");
    assert!(entry.uncertain);
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body, "the same message");
    assert!(seen[1].at - seen[0].at >= 5 * MINUTE);
    assert!(house.queue.history(None, 1).await.expect("history")[0].uncertain);
}

#[tokio::test(start_paused = true)]
async fn b04_an_unknown_fate_is_held_where_the_account_wants_it() {
    let house = House::new();
    let script =
        Script::new(|seen| all(seen, &Err(Failure { stage: Stage::Dot, fault: Fault::Timeout })));
    let mut erp = account("erp", "erp@contoso.com");
    erp.on_uncertain = OnUncertain::Hold;
    let _delivery = house.start(&script, &[&erp]);
    let id = house.send("erp", FROM, &["a@b.example"]).await;
    let entry = house.until(id, |entry| entry.state == State::Held).await.expect("kept");
    assert!(entry.uncertain);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn b23_a_report_that_cannot_be_delivered_is_kept_as_failed_and_begets_none() {
    let house = House::new();
    let script =
        Script::new(|seen| all(seen, &no(Stage::Rcpt, 550, Enhanced(5, 1, 1), "no such user")));
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let id = house.send("erp", Some("root"), &["gone@b.example"]).await;
    house.until(id, |_| false).await;
    let left = loop {
        let left = house.queue.list(Filter::default()).await.expect("list");
        if left.iter().all(|entry| entry.state == State::Failed) && !left.is_empty() {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(left.len(), 1);
    assert!(left[0].is_bounce && left[0].envelope.recipients[0].address == address("root"));
    assert_eq!(script.seen().len(), 2, "the mail and its report, no third");
}

#[tokio::test(start_paused = true)]
async fn b23_a_null_sender_is_told_nothing_and_its_mail_is_kept() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &no(Stage::Dot, 554, Enhanced(5, 6, 0), "bad")));
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let id = house.send("erp", None, &["a@b.example"]).await;
    let entry = house.until(id, |entry| entry.state == State::Failed).await.expect("kept");
    assert!(
        matches!(&entry.recipients[0], RecipientState::Failed { reason } if reason.contains("554 5.6.0 bad"))
    );
    assert_eq!(house.queue.list(Filter::default()).await.expect("list").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn notify_never_is_obeyed() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &no(Stage::Rcpt, 550, Enhanced(5, 1, 1), "no")));
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let mut quiet = Recipient::new(address("a@b.example"));
    quiet.notify = Some(Notify::NEVER);
    house.send_to("erp", FROM, vec![quiet], false).await;
    house.empty().await;
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a12_success_is_reported_by_us_only_where_the_upstream_was_not_asked() {
    for dsn in [false, true] {
        let house = House::new();
        let script = Script::offering(dsn, |seen| all(seen, &ok()));
        let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
        let recipient = |to, success| Recipient {
            notify: Some(Notify { success, ..Notify::NEVER }),
            ..Recipient::new(address(to))
        };
        let recipients = vec![recipient("a@b.example", true), recipient("c@b.example", false)];
        house.send_to("erp", FROM, recipients, false).await;
        house.empty().await;
        let seen = script.seen();
        assert_eq!(seen.len(), if dsn { 1 } else { 2 }, "and none about the report");
        if let Some(report) = seen.get(1) {
            assert!(report.never && report.recipients == ["erp@contoso.com"]);
            assert!(report.body.contains("Action: relayed\r\nStatus: 2.0.0"), "{}", report.body);
            assert!(!report.body.contains("c@b.example"), "{}", report.body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_sender_is_told_of_a_delay_once_and_at_last_of_the_end() {
    let mut house = House::new();
    house.settings.schedule.expire = 24 * HOUR;
    let script = Script::new(|seen| match seen.recipients[0].as_str() {
        "erp@contoso.com" => all(seen, &ok()),
        _ => all(seen, &no(Stage::Rcpt, 451, Enhanced(4, 2, 0), "later")),
    });
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    house.send("erp", FROM, &["a@b.example"]).await;
    house.empty().await;
    let seen = script.seen();
    let reports: Vec<_> =
        seen.iter().filter(|seen| seen.body.contains("multipart/report")).collect();
    assert_eq!(reports.len(), 2, "one of the delay, one of the end");
    assert!(reports[0].body.contains("Action: delayed") && reports[0].at - house.start >= 4 * HOUR);
    assert!(reports[1].body.contains("Action: failed") && reports[1].at - house.start >= 24 * HOUR);
    assert!(reports[1].body.contains("Status: 5.4.7"), "{}", reports[1].body);
}

#[tokio::test(start_paused = true)]
async fn mail_of_a_broken_account_that_grows_too_old_is_listed_as_failed_and_nobody_is_told() {
    let mut house = House::new();
    house.settings.schedule.expire = 2 * HOUR;
    let script = Script::new(|seen| all(seen, &ok()));
    let error = TokenError {
        class: Class::SignIn,
        message: "expired".into(),
        remedy: None,
        retry_after: None,
    };
    lock(&house.tokens.broken).insert("erp".into(), error);
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    for _ in 0..20 {
        house.send("erp", FROM, &["a@b.example"]).await;
    }
    let left = loop {
        let left = house.queue.list(Filter::default()).await.expect("list");
        if left.iter().all(|entry| entry.state == State::Failed) {
            break left;
        }
        tokio::time::sleep(MINUTE).await;
    };
    assert_eq!(left.len(), 20);
    assert!(house.start.elapsed() >= 2 * HOUR);
    assert!(script.seen().is_empty());
    assert!(left[0].last_error.as_deref().is_some_and(|error| error.contains("expired")));
}

#[tokio::test(start_paused = true)]
async fn b04_an_upstream_that_is_down_is_probed_and_not_stormed() {
    let house = House::new();
    let refused =
        Err(Failure { stage: Stage::Connect, fault: Fault::Network("connection refused".into()) });
    let script =
        Script::new(move |seen| if seen.nth < 12 { all(seen, &refused) } else { all(seen, &ok()) });
    for _ in 0..50 {
        house.send("erp", FROM, &["a@b.example"]).await;
    }
    let delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 62);
    // Three at once at first, then one by one: 1, 2, 4, ... 60 seconds apart.
    assert!(seen[11].at - seen[2].at >= Duration::from_secs(1 + 2 + 4 + 8 + 16 + 32 + 60));
    assert_eq!(delivery.standings(), []);
}

#[tokio::test(start_paused = true)]
async fn b19_drain_ends_what_is_under_way_and_begins_nothing() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    house.send("erp", FROM, &["a@b.example"]).await;
    while script.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(delivery.drain(HOUR).await, 0);
    assert!(house.queue.list(Filter::default()).await.expect("list").is_empty());
    let id = house.send("erp", FROM, &["a@b.example"]).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(house.queue.show(id).await.expect("show").expect("kept").attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reload_brings_accounts_and_takes_them() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let (old, new) = (account("old", "o@contoso.com"), account("new", "n@contoso.com"));
    let delivery = house.start(&script, &[&old]);
    let waits = house.send("new", FROM, &["new@b.example"]).await;
    house.send("old", FROM, &["old@b.example"]).await;
    while house.queue.list(Filter::default()).await.expect("list").len() > 1 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    delivery.reload(house.settings.clone(), vec![Arc::new(new)]);
    house.until(waits, |_| false).await;
    let id = house.send("old", FROM, &["old@b.example"]).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(house.queue.show(id).await.expect("show").expect("kept").attempts, 0);
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_heart_beats_while_nothing_is_to_be_done() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let now = Instant::now().into_std();
        assert!(now.duration_since(delivery.alive()) <= Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn b03_a_lane_that_cannot_settle_sends_nothing_more() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &no(Stage::Mail, 451, Enhanced(4, 3, 0), "later")));
    let mut erp = account("erp", "erp@contoso.com");
    // The second mail has a slot, and its turn comes when the store is gone.
    erp.upstream.messages_per_minute = Limit::AtMost(1);
    house.send("erp", FROM, &["a@b.example"]).await;
    house.send("erp", FROM, &["b@b.example"]).await;
    let delivery = house.start(&script, &[&erp]);
    while script.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    house.queue.close().await;
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(script.seen().len(), 1);
    assert_eq!(delivery.drain(MINUTE).await, 1, "what cannot be noted is broken off");
}

#[tokio::test(start_paused = true)]
async fn b01_what_a_crash_left_under_way_is_held_where_the_account_wants_it() {
    let house = House::new();
    let (held, sent) = (
        house.send("hold", FROM, &["a@b.example"]).await,
        house.send("again", FROM, &["b@b.example"]).await,
    );
    for id in [held, sent] {
        house.queue.attempting(id).await.expect("attempting");
    }
    // Twice: the second start must not forget what the first one found.
    let mut house = house;
    for _ in 0..2 {
        let House { queue, dir, .. } = house;
        queue.close().await;
        drop(queue);
        house = House::at(dir);
    }
    let script = Script::new(|seen| all(seen, &ok()));
    let mut hold = account("hold", "h@contoso.com");
    hold.on_uncertain = OnUncertain::Hold;
    let _delivery = house.start(&script, &[&hold, &account("again", "a@contoso.com")]);
    let entry = house.until(held, |entry| entry.state == State::Held).await.expect("kept");
    assert!(entry.uncertain);
    assert!(house.until(sent, |_| false).await.is_none());
    assert_eq!(script.seen().len(), 1);
    house.queue.release(held).await.expect("release");
    assert!(house.until(held, |_| false).await.is_none(), "released, it goes");
}
