//! `submitd sendmail`, and the program called as `sendmail`, `mailq` or `newaliases`: for what has no
//! SMTP of its own, such as cron, PHP's mail(), mailx, git and mutt.
//!
//! It promises the exit codes of sysexits.h and that 0 means the daemon has the mail durably. It is a
//! client of the daemon like any other: it has no right of its own, keeps no mail, and must never be
//! installed set-uid.

mod caller;
mod handing;
mod listing;
mod message;
mod options;

use super::exit;
use super::submit::{Submission, SubmitError, reachable};
use crate::config::{Auth, Glance};
use crate::mail::recipients::{self, ListError};
use crate::mail::{Address, header};
use crate::observe::redact::one_line;
use caller::Caller;
use handing::{Outcome, Wishes};
use listing::ListingError;
use message::{Message, ReadError};
use options::{Mode, Options};
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Where the daemon is, `host:port`: instead of what the configuration says.
const ADDRESS: &str = "SUBMITD_SENDMAIL_ADDRESS";
/// How long connecting to one address may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a peer's answer that are shown.
const LONGEST_ANSWER: usize = 500;

const HELP: &str = "\
usage: sendmail [-t] [-i] [-f SENDER] [-F NAME] [RECIPIENT ...] < message
       sendmail -bs        speak SMTP on standard input and output
       sendmail -bp        list the queue, as mailq does

Hands the message to the running submitd.

  -t              recipients stand in To, Cc and Bcc; Bcc is removed
  -i, -oi         a line with a lone dot does not end the message
  -f, -r SENDER   sender of the envelope; \"\" or \"<>\" for none
  -F NAME         name in the From that is added where there is none
  -B 8BITMIME     the message has octets above 127; this is also seen
  -N WHEN         reports: never, or some of success,failure,delay
  -R full|hdrs    how much of the message a report holds
  -V ENVID        what a report shall name the mail
  -v              show the answer with the queue id
  -O TempFail=N   exit with N instead of 75 where the mail was not taken for now

Other options of sendmail are taken and mean nothing here. Where the daemon listens is read from the
configuration where this user may, else from SUBMITD_SENDMAIL_ADDRESS, else it is localhost:2525.
";

/// By what name the program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// `sendmail`.
    Sendmail,
    /// `mailq`: lists the queue.
    Mailq,
    /// `newaliases`: there is nothing to build.
    Newaliases,
}

impl Called {
    /// By the program's own word of the command line, `argv[0]`.
    pub fn by(word: &OsString) -> Option<Self> {
        match Path::new(word).file_name()?.to_str()? {
            "sendmail" => Some(Self::Sendmail),
            "mailq" => Some(Self::Mailq),
            "newaliases" => Some(Self::Newaliases),
            _ => None,
        }
    }
}

/// What went wrong, and the exit code that says so.
#[derive(Debug)]
struct Failure {
    code: u8,
    why: String,
}

impl Failure {
    fn new(code: u8, why: impl ToString) -> Self {
        Self { code, why: why.to_string() }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::Input(_) => exit::IO,
            ReadError::Aside(_) => exit::SYSTEM,
            ReadError::Header | ReadError::TooLarge => exit::DATA,
        };
        Self::new(code, error)
    }
}

impl From<ListingError> for Failure {
    fn from(error: ListingError) -> Self {
        let code = match error {
            ListingError::NotPermitted(_) => exit::NO_PERMISSION,
            ListingError::Absent(_) => exit::UNAVAILABLE,
            ListingError::Open(_) | ListingError::Store(_) => exit::TEMPORARY,
            ListingError::Output(_) => exit::IO,
        };
        Self::new(code, error)
    }
}

/// Does what the words behind the program's name ask for. `file` is the configuration where one was named.
pub fn run(called: Called, file: Option<&Path>, words: impl Iterator<Item = OsString>) -> ExitCode {
    if called == Called::Newaliases {
        return ExitCode::SUCCESS;
    }
    // An address that is not UTF-8 is refused where it is read as one; a name may lose a letter.
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let options = match options::parse(&words) {
        Ok(options) if called == Called::Mailq => Options { mode: Mode::List, ..options },
        Ok(options) => options,
        Err(error) => return tell(&Failure::new(exit::USAGE, error)),
    };
    let done = match options.mode {
        Mode::Nothing => Ok(()),
        Mode::Help => {
            print!("{HELP}");
            Ok(())
        }
        Mode::List => list(&glance(file)),
        Mode::Smtp => speak(&addresses(&glance(file))),
        Mode::Submit => submit(&options, &glance(file)),
    };
    match (done, options.temporary) {
        (Ok(()), _) => ExitCode::SUCCESS,
        (Err(failure), Some(code)) if failure.code == exit::TEMPORARY => {
            tell(&Failure { code, ..failure })
        }
        (Err(failure), _) => tell(&failure),
    }
}

fn tell(failure: &Failure) -> ExitCode {
    // Where standard error is closed the exit code has to do.
    let _ = writeln!(io::stderr(), "sendmail: {}", failure.why);
    ExitCode::from(failure.code)
}

fn glance(file: Option<&Path>) -> Glance {
    let named = std::env::var_os("SUBMITD_CONFIG").filter(|path| !path.is_empty());
    let file = file.or(named.as_deref().map(Path::new));
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Glance::take(file, variables)
}

/// Where the daemon may be, in the order to try.
fn addresses(glance: &Glance) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(text) = std::env::var(ADDRESS)
        && !text.is_empty()
    {
        let found = text.to_socket_addrs().map_err(|error| {
            Failure::new(exit::CONFIG, format!("{ADDRESS} is {text:?}: {error}; write host:port"))
        })?;
        return Ok(found.collect());
    }
    // One that needs a login is of no use, yet better than none: its answer says what is wrong.
    let mut listeners: Vec<_> = glance.listeners.iter().collect();
    listeners.sort_by_key(|listener| listener.auth == Auth::Required);
    let all = listeners.iter().flat_map(|listener| listener.addresses.iter());
    let ports = all.filter(|address| address.port() != 0).map(|address| reachable(*address));
    Ok(ports.collect())
}

fn list(glance: &Glance) -> Result<(), Failure> {
    match listing::list(&glance.state_dir, &mut io::BufWriter::new(io::stdout().lock())) {
        // `mailq | head`
        Err(ListingError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        listed => Ok(listed?),
    }
}

/// `-bs`: the caller speaks to the daemon itself.
fn speak(addresses: &Result<Vec<SocketAddr>, Failure>) -> Result<(), Failure> {
    let addresses = match addresses {
        Ok(addresses) => addresses,
        Err(failure) => return Err(Failure::new(failure.code, &failure.why)),
    };
    let connect = |address| TcpStream::connect_timeout(address, PATIENCE).ok();
    let Some(mut answers) = addresses.iter().find_map(connect) else {
        // The caller speaks SMTP and may not look at exit codes.
        println!("421 4.3.2 submitd does not answer, try again later");
        return Err(away(addresses));
    };
    let broken = |error: io::Error| Failure::new(exit::TEMPORARY, format!("connection: {error}"));
    let mut commands = answers.try_clone().map_err(broken)?;
    // It ends with the process at the latest: a read of standard input cannot be called off.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut commands);
        let _ = commands.shutdown(Shutdown::Write);
    });
    let mut out = Unbuffered(io::stdout().lock());
    io::copy(&mut answers, &mut out).map(drop).map_err(broken)
}

/// Standard output without waiting for the end of a line.
struct Unbuffered<W>(W);

impl<W: Write> Write for Unbuffered<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write_all(octets)?;
        self.0.flush()?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn away(addresses: &[SocketAddr]) -> Failure {
    let places: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Failure::new(
        exit::TEMPORARY,
        format!(
            "mail was not taken, the daemon does not answer at {}; try again",
            places.join(" or ")
        ),
    )
}

/// Reads the message and hands it in.
fn submit(options: &Options, glance: &Glance) -> Result<(), Failure> {
    let caller = Caller::find();
    let own = format!("{}@{}", caller.login, glance.hostname);
    let own =
        own.parse().map_err(|_| Failure::new(exit::SYSTEM, format!("{own:?} is no address")))?;
    let sender = sender(options, &glance.hostname, &own)?;
    let mut to = named(&options.recipients)?;
    if to.is_empty() && !options.reads_recipients {
        return Err(Failure::new(exit::USAGE, "no recipients; name them, or use -t (see --help)"));
    }
    let mut message = Message::read(&mut io::stdin().lock(), !options.ignores_dots)?;
    if options.reads_recipients {
        add_new(&mut to, written(message.header())?);
        message.remove_bcc();
    }
    if to.is_empty() {
        return Err(Failure::new(exit::DATA, "no recipients in To, Cc or Bcc"));
    }
    if !message.has("From") {
        let is_own = sender.as_ref() == Some(&own);
        let name = options.name.as_deref().or(caller.name.as_deref().filter(|_| is_own));
        let address = sender.as_ref().unwrap_or(&own);
        message.add(&caller::from_field(name, address.as_str()));
    }
    let wishes = Wishes {
        sender: sender.as_ref(),
        notify: options.notify.as_deref(),
        ret: options.ret,
        envid: options.envid.as_deref(),
        eight_bit: options.eight_bit,
    };
    send(&addresses(glance)?, &wishes, &to, &mut message, options.verbose)
}

/// The sender of the envelope; none is the null sender.
fn sender(options: &Options, hostname: &str, own: &Address) -> Result<Option<Address>, Failure> {
    let text = match options.sender.as_deref().map(str::trim) {
        None => return Ok(Some(own.clone())),
        Some("" | "<>") => return Ok(None),
        Some(text) => text,
    };
    let wrong = |why: &dyn std::fmt::Display| Failure::new(exit::USAGE, format!("-f: {why}"));
    let mut found = recipients::list(text.as_bytes()).map_err(|error| wrong(&error))?;
    match (found.pop(), found.is_empty()) {
        (Some(address), true) if address.domain().is_none() => {
            let qualified = Address::parse(&format!("{address}@{hostname}"));
            qualified.map(Some).map_err(|error| wrong(&error))
        }
        (Some(address), true) => Ok(Some(address)),
        _ => Err(wrong(&"one address is wanted")),
    }
}

/// The recipients of the command line; each word may be a list.
fn named(words: &[String]) -> Result<Vec<Address>, Failure> {
    let mut to = Vec::new();
    for word in words {
        let wrong = |error: ListError| Failure::new(exit::USAGE, error);
        let found = recipients::list(word.as_bytes()).map_err(wrong)?;
        // Nobody's address, but somebody's option that got among the recipients.
        if let Some(option) = found.iter().find(|address| address.as_str().starts_with('-')) {
            return Err(Failure::new(exit::USAGE, format!("{option} is no recipient")));
        }
        add_new(&mut to, found);
    }
    Ok(to)
}

fn add_new(to: &mut Vec<Address>, found: Vec<Address>) {
    for address in found {
        if !to.contains(&address) {
            to.push(address);
        }
    }
}

/// The recipients that stand in the header. A mail that is sent again has its own fields for it
/// (RFC 5322 §3.6.6); who got it the first time does not get it twice.
fn written(fields: &[u8]) -> Result<Vec<Address>, Failure> {
    const AGAIN: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];
    const FIRST: [&str; 3] = ["To", "Cc", "Bcc"];
    let is_again = header::fields(fields).any(|field| AGAIN.iter().any(|name| field.is(name)));
    let names = if is_again { AGAIN } else { FIRST };
    let mut to = Vec::new();
    for field in header::fields(fields).filter(|field| names.iter().any(|name| field.is(name))) {
        let wrong = |error| Failure::new(exit::DATA, format!("{}: {error}", field.name));
        add_new(&mut to, recipients::list(field.value()).map_err(wrong)?);
    }
    Ok(to)
}

/// Connects to the first address that answers and hands the message in.
fn send(
    addresses: &[SocketAddr],
    wishes: &Wishes<'_>,
    to: &[Address],
    message: &mut Message,
    verbose: bool,
) -> Result<(), Failure> {
    let mut failed = None;
    for address in addresses {
        let mut submission = match Submission::open(*address, PATIENCE) {
            Ok(submission) => submission,
            Err(SubmitError::Unreachable { .. } | SubmitError::Broken(_)) => continue,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        };
        let mut outcome = Outcome::default();
        let done = handing::hand_in(&mut submission, wishes, to, message, &mut outcome);
        if done.is_ok() {
            // The mail is safe; how the goodbye goes does not matter.
            let _ = submission.close();
        }
        return report(outcome, done, verbose);
    }
    // Somebody was there and said no.
    Err(failed.map_or_else(|| away(addresses), |error| refusal(&error)))
}

/// Tells what became of it; the code is that of the worst.
fn report(outcome: Outcome, done: Result<(), SubmitError>, verbose: bool) -> Result<(), Failure> {
    if verbose {
        for answer in &outcome.taken {
            println!("{}", one_line(answer, LONGEST_ANSWER));
        }
    }
    let others = if outcome.taken.is_empty() { "" } else { " (it was taken for others)" };
    if let Err(error) = done {
        let failure = refusal(&error);
        return Err(Failure::new(failure.code, format!("{}{others}", failure.why)));
    }
    let for_good = outcome.refused.iter().any(|(_, reply)| !reply.starts_with('4'));
    let told: Vec<String> = outcome
        .refused
        .iter()
        .map(|(to, reply)| format!("{to}: {}", one_line(reply, LONGEST_ANSWER)))
        .collect();
    match (told.is_empty(), for_good) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::new(exit::NO_USER, told.join("\nsendmail: ") + others)),
        (false, false) => Err(Failure::new(exit::TEMPORARY, told.join("\nsendmail: ") + others)),
    }
}

/// The exit code of what the daemon said, by its codes (RFC 3463), or of what broke.
fn refusal(error: &SubmitError) -> Failure {
    let (command, reply) = match error {
        SubmitError::Refused { command, reply } => (command, reply),
        SubmitError::Message(_) => return Failure::new(exit::IO, error),
        SubmitError::Unreachable { .. } | SubmitError::Broken(_) => {
            return Failure::new(
                exit::TEMPORARY,
                format!("mail was not taken, {error}; try again"),
            );
        }
    };
    let enhanced = reply.get(4..).unwrap_or_default();
    let is = |classes: &[&str]| classes.iter().any(|class| enhanced.starts_with(class));
    let code = match reply.get(..3) {
        Some(code) if code.starts_with('4') => exit::TEMPORARY,
        Some("530" | "535") => exit::NO_PERMISSION,
        _ if is(&["5.7."]) => exit::NO_PERMISSION,
        _ if is(&["5.3.4", "5.1.7", "5.1.8", "5.6."]) => exit::DATA,
        Some("552") => exit::DATA,
        _ => exit::UNAVAILABLE,
    };
    let login = match code == exit::NO_PERMISSION && reply.starts_with("530") {
        true => "; give sendmail a [[listener]] without auth = \"required\"",
        false => "",
    };
    let reply = one_line(reply, LONGEST_ANSWER);
    Failure::new(code, format!("mail was not taken: {reply} (to {command:?}){login}"))
}

#[cfg(test)]
mod tests;
