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
mod people;
mod way;

use super::door::Door;
use super::exit;
use super::submit::{Submission, SubmitError};
use crate::config::Glance;
use crate::mail::Address;
use crate::observe::redact::one_line;
use caller::Caller;
use handing::{Outcome, Wishes};
use listing::ListingError;
use message::{Message, ReadError};
use options::{Mode, Options};
use people::{add_new, named, sender, written};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

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
configuration, where this user may, else it is localhost:2525; SUBMITD_SENDMAIL_ADDRESS comes first.
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
            ListingError::Access(ref access) => access.code(),
            ListingError::Store(_) => exit::TEMPORARY,
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
            say(HELP.trim_end());
            Ok(())
        }
        Mode::List => list(&glance(file)),
        Mode::Smtp => way::doors(&glance(file)).and_then(|doors| way::speak(&doors)),
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

/// Where standard output is closed nothing is lost: the exit code must not say that a mail was not taken.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn glance(file: Option<&Path>) -> Glance {
    let named = std::env::var_os("SUBMITD_CONFIG").filter(|path| !path.is_empty());
    let file = file.or(named.as_deref().map(Path::new));
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Glance::take(file, variables)
}

fn list(glance: &Glance) -> Result<(), Failure> {
    match listing::list(&glance.state_dir, &mut io::BufWriter::new(io::stdout().lock())) {
        // `mailq | head`
        Err(ListingError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        listed => Ok(listed?),
    }
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
    send(way::doors(glance)?, &wishes, &to, &mut message, options.verbose)
}

/// Goes to the first door that is open and hands the message in.
fn send(
    doors: Vec<Door>,
    wishes: &Wishes<'_>,
    to: &[Address],
    message: &mut Message,
    verbose: bool,
) -> Result<(), Failure> {
    let mut failed = None;
    for door in &doors {
        let mut submission = match Submission::open(door.clone(), door.patience()) {
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
    Err(failed.map_or_else(|| way::away(&doors), |error| refusal(&error)))
}

/// Tells what became of it; the code is that of the worst.
fn report(outcome: Outcome, done: Result<(), SubmitError>, verbose: bool) -> Result<(), Failure> {
    if verbose {
        for answer in &outcome.taken {
            say(&one_line(answer, LONGEST_ANSWER));
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
