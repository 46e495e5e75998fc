//! Every program in every way, and the table of it: `docs/compatibility.md` is what this test saw.

use crate::support::authority::Authority;
use crate::support::programs::{
    Form, Job, Kind, Login, Outcome, PASSWORD, PROGRAMS, Program, SENDER, USER, Way, is_root, run,
};
use crate::support::turnstile::Turnstile;
use crate::support::world::World;
use crate::support::{mails, mime};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use submitd::sandbox::Message;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
const REWRITE: &str = "BLESS=1 cargo test --test system compatibility";
/// What stands below is not compared: versions differ from machine to machine.
const NOT_COMPARED: &str = "## Tried with";
const RECIPIENTS: [&str; 3] = ["ann@example.org", "bob@example.org", "cid@example.org"];
const LARGE: usize = 10_000_000;
const KINDS: [(Kind, &str); 5] = [
    (Kind::Several, "several mails"),
    (Kind::Recipients, "three recipients"),
    (Kind::EightBit, "8-bit"),
    (Kind::Dots, "dots"),
    (Kind::Large, "10 MB"),
];

/// The ways of the first table.
fn logins() -> Vec<Way> {
    let mut ways = Vec::new();
    for starttls in [false, true] {
        for login in [Login::None, Login::Plain, Login::Login] {
            ways.push(Way { starttls, login, kind: Kind::One });
        }
    }
    ways
}

/// The ways of the second table: as simple as can be, and as modern programs do it.
fn kinds(program: &Program) -> Vec<Way> {
    let mut ways = Vec::new();
    for (starttls, login) in [(false, Login::None), (true, program.usual_login)] {
        ways.extend(KINDS.map(|(kind, _)| Way { starttls, login, kind }));
    }
    ways
}

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    /// Every octet arrived as it was given to the program.
    Same,
    /// The program composed the mail; sender, recipients, subject, text and attachment arrived.
    Content,
    /// The program has no such way.
    Cannot(&'static str),
    /// It did not work.
    Failed(String),
}

/// What was seen of one program.
struct Seen {
    logins: Vec<Cell>,
    kinds: Vec<Cell>,
    version: String,
}

/// One errand with what must arrive of it.
struct Errand {
    job: Job,
    turnstile: Turnstile,
    sent: Vec<Vec<u8>>,
}

#[test]
fn every_program_in_every_way_and_the_table_says_so() {
    let seen = try_all("");
    compare(&table(&seen));
}

#[test]
fn direct_mode_serves_every_program_in_every_way_too() {
    try_all("mode = \"direct\"\n");
}

#[test]
fn smtp_source_keeps_a_hundred_sessions_busy_and_every_mail_arrives() {
    const MAILS: usize = 1_000;
    let world = World::new();
    for mode in ["queue", "direct"] {
        let before = world.sandbox.messages().len();
        let listener = World::listener(&format!("mode = \"{mode}\"\nmax_connections = 200\n"));
        let mut daemon = world.start(&world.config(&listener)).run();
        let mut source = Command::new("smtp-source");
        source.args(["-s", "100", "-m", &MAILS.to_string(), "-l", "4000", "-f", SENDER]);
        source.args(["-t", RECIPIENTS[0], &format!("127.0.0.1:{}", daemon.port())]);
        let output = run(&mut source);
        assert!(output.status.success(), "{mode}: {output:?}");
        assert_eq!(world.messages(before + MAILS).len(), before + MAILS, "{mode}");
        assert!(daemon.stop().success());
    }
}

/// Lets all programs send to a listener with these further keys; none may fail.
fn try_all(keys: &str) -> Vec<(&'static Program, Seen)> {
    let programs = programs();
    let next = AtomicUsize::new(0);
    let seen: Mutex<HashMap<usize, Seen>> = Mutex::new(HashMap::new());
    // Programs mostly wait for each other's answers: three at once keep two cores busy.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(program) = programs.get(number) else { break };
                    let found = try_program(program, keys);
                    seen.lock().unwrap().insert(number, found);
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    let seen = |number| seen.remove(&number).unwrap();
    let seen: Vec<(&'static Program, Seen)> =
        programs.iter().copied().zip((0..programs.len()).map(seen)).collect();
    let failures: Vec<_> = seen.iter().flat_map(failures).collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    seen
}

/// All that can be run here. Who is not root hears what is left out.
fn programs() -> Vec<&'static Program> {
    let (run, left): (Vec<_>, Vec<_>) =
        PROGRAMS.iter().partition(|program| is_root() || !program.needs_root);
    for program in left {
        println!("left out, for it starts as root only: {}", program.name);
    }
    run
}

fn failures((program, seen): &(&Program, Seen)) -> Vec<String> {
    let ways = logins().into_iter().chain(kinds(program));
    let cells = seen.logins.iter().chain(&seen.kinds);
    let failed = ways.zip(cells).filter_map(|(way, cell)| match cell {
        Cell::Failed(why) => Some(format!("{}: {way:?}: {why}", program.name)),
        _ => None,
    });
    failed.collect()
}

/// Sends in all ways the program has, through a daemon of its own.
fn try_program(program: &Program, keys: &str) -> Seen {
    let world = World::new();
    let files = Authority::make(world.path());
    let daemon = world
        .start(&world.config(&format!(
            "{}[[user]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\naccount = \"erp\"\n",
            World::listener(&format!(
                "{keys}tls = \"starttls\"\ncertificate = {:?}\nkey = {:?}",
                files.certificate, files.key
            ))
        )))
        .run();
    let ways: Vec<Way> = logins().into_iter().chain(kinds(program)).collect();
    let errands: Vec<Errand> = ways
        .iter()
        .filter(|way| (program.cannot)(**way).is_none())
        .map(|way| errand(program, *way, Turnstile::before(daemon.address()), &files))
        .collect();
    let jobs: Vec<Job> = errands.iter().map(|errand| errand.job.clone()).collect();
    let outcomes = (program.send)(&jobs);
    let good = outcomes.iter().zip(&jobs).filter(|(outcome, _)| outcome.is_ok());
    let arrived = world.messages(good.map(|(_, job)| job.files.len()).sum());
    let mut judged = errands.iter().zip(outcomes).map(|(errand, outcome)| {
        let judged = outcome.and_then(|()| check(program, errand, &arrived));
        match judged {
            Ok(()) if program.form == Form::Composed => Cell::Content,
            Ok(()) => Cell::Same,
            Err(why) => Cell::Failed(why),
        }
    });
    let mut cells = ways
        .iter()
        .map(|way| match (program.cannot)(*way) {
            Some(why) => Cell::Cannot(why),
            None => judged.next().unwrap(),
        })
        .collect::<Vec<_>>();
    let kinds = cells.split_off(logins().len());
    Seen { logins: cells, kinds, version: (program.version)() }
}

/// Writes the files of one errand. Subjects begin with a word of their own, by which mails are known again.
fn errand(program: &Program, way: Way, turnstile: Turnstile, files: &Authority) -> Errand {
    let authority = files.authority.clone();
    let dir = authority.parent().unwrap();
    let name: String = program.name.chars().filter(char::is_ascii_alphanumeric).collect();
    let tls = if way.starttls { "starttls" } else { "plain" };
    let mark = format!("{name}-{tls}-{}-{:?}", way.login.word(), way.kind);
    let count = if way.kind == Kind::Several { 3 } else { 1 };
    let (mut files, mut subjects, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    let mut attachment = None;
    let is_source = program.name == "smtp-source";
    for number in 0..count {
        // smtp-source sends one file again and again.
        let number = if is_source { 0 } else { number };
        let subject = format!("{mark}.{number}");
        let mail = mail(way.kind, &subject);
        let file = dir.join(format!("{subject}.eml"));
        if program.form == Form::Composed {
            let text = match way.kind {
                Kind::Large => b"The invoices.\r\n".to_vec(),
                _ => mime::Part::new(&mail).content(),
            };
            // Invalid UTF-8 belongs to programs that pass octets on.
            let text = String::from_utf8_lossy(&text).replace('\u{fffd}', "ä");
            std::fs::write(&file, text.replace("\r\n", "\n")).unwrap();
            sent.push(text.into_bytes());
            if way.kind == Kind::Large {
                let file = dir.join(format!("{mark}.bin"));
                std::fs::write(&file, &mail).unwrap();
                attachment = Some(file);
            }
        } else {
            std::fs::write(&file, &mail).unwrap();
            // smtp-source puts an empty line under what it is given.
            sent.push(if is_source { [&mail[..], b"\r\n"].concat() } else { mail });
        }
        files.push(file);
        subjects.push(if way.kind == Kind::EightBit {
            format!("{subject} Übersicht €")
        } else {
            subject
        });
    }
    let recipients = if way.kind == Kind::Recipients { &RECIPIENTS[..] } else { &RECIPIENTS[..1] };
    let job = Job {
        way,
        port: turnstile.port,
        recipients: recipients.to_vec(),
        files,
        subjects,
        attachment,
        authority,
    };
    Errand { job, turnstile, sent }
}

fn mail(kind: Kind, subject: &str) -> Vec<u8> {
    match kind {
        Kind::One | Kind::Several | Kind::Recipients => mails::plain(subject),
        Kind::EightBit => mails::eight_bit(subject),
        Kind::Dots => mails::dots(subject),
        Kind::Large => mails::large(subject, LARGE),
    }
}

/// Compares what arrived of one errand with what was sent.
fn check(program: &Program, errand: &Errand, arrived: &[Arc<Message>]) -> Outcome {
    let way = errand.job.way;
    let mut left: Vec<_> = arrived.iter().collect();
    for (subject, sent) in errand.job.subjects.iter().zip(&errand.sent) {
        let at = left
            .iter()
            .position(|message| &mime::Part::new(&message.raw).subject() == subject)
            .ok_or_else(|| format!("{subject:?} did not arrive"))?;
        let message = left.remove(at);
        check_envelope(program, way, &errand.job, message)?;
        match program.form {
            Form::Given => same(mails::without_our_received(&message.raw), sent)?,
            Form::Relayed => same(mails::without_any_received(&message.raw), sent)?,
            Form::Composed => check_content(message, sent, errand.job.attachment.as_deref())?,
        }
    }
    let said = errand.turnstile.said();
    if way.kind == Kind::Several && said.len() != 1 {
        return Err(format!("{} connections for several mails", said.len()));
    }
    let first = said.last().map(|said| said.to_ascii_uppercase()).unwrap_or_default();
    let word = match way {
        Way { starttls: true, .. } => "STARTTLS".to_owned(),
        Way { login: Login::None, .. } => "MAIL FROM".to_owned(),
        Way { login, .. } => format!("AUTH {}", login.word()),
    };
    let seen = first.contains(&word) && (way.starttls || first.contains("MAIL FROM"));
    let kept = !way.starttls || !first.contains("MAIL FROM");
    if seen && kept { Ok(()) } else { Err(format!("no {word} in what it said:\n{first}")) }
}

fn check_envelope(program: &Program, way: Way, job: &Job, message: &Message) -> Outcome {
    let sender = message.envelope.sender.as_ref().map(|sender| sender.as_str());
    if sender != Some("erp@contoso.com") {
        return Err(format!("sender {sender:?}"));
    }
    let mut recipients = message.recipients();
    recipients.sort_unstable();
    let mut expected: Vec<String> = match (program.name, job.recipients.len()) {
        // It makes the others up from the first.
        ("smtp-source", 2..) => {
            ["", "2", "3"].map(|more| format!("{more}{}", RECIPIENTS[0])).into()
        }
        _ => job.recipients.iter().map(|&recipient| recipient.to_owned()).collect(),
    };
    expected.sort_unstable();
    if recipients != expected {
        return Err(format!("recipients {recipients:?}, not {expected:?}"));
    }
    let protocols: &[&str] = match (way.starttls, way.login != Login::None) {
        // Some say HELO where they need no extension.
        (false, false) => &["ESMTP", "SMTP"],
        (false, true) => &["ESMTPA"],
        (true, false) => &["ESMTPS", "SMTP"],
        (true, true) => &["ESMTPSA"],
    };
    let received = mime::Part::new(&message.raw).field("Received").unwrap_or_default();
    let fits = protocols.iter().any(|protocol| received.contains(&format!(" with {protocol} id ")));
    if fits { Ok(()) } else { Err(format!("{received:?}: not {protocols:?}")) }
}

fn check_content(message: &Message, text: &[u8], attachment: Option<&Path>) -> Outcome {
    let leaves = mime::Part::new(&message.raw).leaves();
    let arrived = mime::text(&leaves[0].content());
    same(arrived.as_bytes(), mime::text(text).as_bytes())?;
    match attachment {
        None if leaves.len() == 1 => Ok(()),
        Some(file) if leaves.len() == 2 => {
            same(&leaves[1].content(), &std::fs::read(file).unwrap())
        }
        _ => Err(format!("{} parts", leaves.len())),
    }
}

fn same(arrived: &[u8], sent: &[u8]) -> Outcome {
    mails::difference(arrived, sent).map_or(Ok(()), Err)
}

/// The file as it should be.
fn table(seen: &[(&Program, Seen)]) -> String {
    let mut reasons: Vec<&'static str> = Vec::new();
    let mut text = format!(
        "# Programs that send through submitd\n\n\
         Each program of this table is run against the daemon, unmodified, in every way below, and each mail is read\n\
         back at the other end. This file is written by that test: `{REWRITE}`.\n\n\
         **=** every octet arrived as the program was given it (`Received:` put on top); **✓** the program composes\n\
         the mail itself: sender, recipients, subject, text and attachment arrived; **–** the program has no such way.\n\n\
         ## Logging in\n\n\
         | program | no AUTH | PLAIN | LOGIN | STARTTLS, no AUTH | STARTTLS, PLAIN | STARTTLS, LOGIN |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for (program, seen) in seen {
        row(&mut text, program.name, &seen.logins, &mut reasons);
    }
    text.push_str(
        "\n## Mails\n\nFirst without encryption and AUTH, then with STARTTLS and AUTH. *Several mails* go over one connection;\n\
         *8-bit* has UTF-8 in subject and text, where octets are passed on Latin-1 too; *dots* has lines that could be\n\
         taken for the end.\n\n| program |",
    );
    for part in ["", "STARTTLS, "] {
        for (_, name) in KINDS {
            let _ = write!(text, " {part}{name} |");
        }
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(2 * KINDS.len()));
    for (program, seen) in seen {
        row(&mut text, program.name, &seen.kinds, &mut reasons);
    }
    text.push('\n');
    for (number, reason) in reasons.iter().enumerate() {
        let _ = writeln!(text, "{}. {reason}", number + 1);
    }
    let _ = writeln!(text, "\n{NOT_COMPARED}\n");
    for (program, seen) in seen {
        let _ = writeln!(text, "* {}: {}", program.name, seen.version);
    }
    text
}

fn row(text: &mut String, name: &str, cells: &[Cell], reasons: &mut Vec<&'static str>) {
    let _ = write!(text, "| {name} |");
    for cell in cells {
        let _ = match cell {
            Cell::Same => write!(text, " = |"),
            Cell::Content => write!(text, " ✓ |"),
            Cell::Failed(_) => write!(text, " ✗ |"),
            Cell::Cannot(why) => {
                let number = reasons.iter().position(|known| known == why).unwrap_or_else(|| {
                    reasons.push(why);
                    reasons.len() - 1
                });
                write!(text, " – ({}) |", number + 1)
            }
        };
    }
    text.push('\n');
}

/// Compares with the file, or writes it where that was asked for.
fn compare(text: &str) {
    if std::env::var_os("BLESS").is_some() {
        assert!(is_root(), "the whole table can only be written by root");
        std::fs::write(TABLE, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(TABLE).unwrap_or_default();
    let above = |text: &str| {
        let text = text.split(NOT_COMPARED).next().unwrap_or("");
        let is_run = |line: &&str| {
            is_root()
                || !PROGRAMS
                    .iter()
                    .any(|one| one.needs_root && line.starts_with(&format!("| {} |", one.name)))
        };
        text.lines().filter(is_run).collect::<Vec<_>>().join("\n")
    };
    assert!(
        above(&written) == above(text),
        "docs/compatibility.md does not say what was seen; `{REWRITE}` writes it anew:\n{text}"
    );
}
