//! The command line of sendmail(8), as programs have written it for forty years.
//!
//! It promises that what is asked for is done, ignored because it has no meaning here, or refused. An
//! option nobody knows is refused: its value, where it has one, would be taken for a recipient.
//! Options may stand behind recipients, as with GNU getopt: `mail … -- -f from` relies on it. Pure.

use crate::cli::exit;
use std::fmt::Write as _;

/// What shall be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Take a message from standard input: `-bm`, and what is done without any.
    #[default]
    Submit,
    /// Speak SMTP on standard input and output: `-bs`.
    Smtp,
    /// List the queue: `-bp`, `mailq`.
    List,
    /// Nothing: `-bi`, `newaliases`, and `-q`, since the daemon runs its queue by itself.
    Nothing,
    /// Show how it is called.
    Help,
}

/// What a command line asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What shall be done.
    pub mode: Mode,
    /// `-t`: recipients stand in the header, too.
    pub reads_recipients: bool,
    /// `-i`: a line with a lone dot is text.
    pub ignores_dots: bool,
    /// `-f`, `-r`: the envelope's sender, as written.
    pub sender: Option<String>,
    /// `-F`: the name in a `From:` that is added.
    pub name: Option<String>,
    /// `-B 8BITMIME`.
    pub eight_bit: bool,
    /// `-N`: the value of `NOTIFY=`.
    pub notify: Option<String>,
    /// `-R`: the value of `RET=`.
    pub ret: Option<&'static str>,
    /// `-V`: the value of `ENVID=`, in xtext.
    pub envid: Option<String>,
    /// `-v`: say what the daemon answered.
    pub verbose: bool,
    /// `-O TempFail=N`: the exit code where the mail was not taken for now, unless it is 75.
    pub temporary: Option<u8>,
    /// The recipients, as written.
    pub recipients: Vec<String>,
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Nobody knows it.
    #[error("unknown option -{}; nothing was sent", .0.escape_debug())]
    Unknown(char),
    /// Its value is not there.
    #[error("option -{0} needs a value")]
    NoValue(char),
    /// Its value means nothing.
    #[error("{value:?} is no value of -{option}: {expected}")]
    Value {
        /// The option.
        option: char,
        /// What was written.
        value: String,
        /// What could be.
        expected: &'static str,
    },
    /// Another program's job.
    #[error("{0}")]
    Refused(&'static str),
}

/// Options whose value is attached or the next word. Most mean nothing here: `-C` names sendmail's own
/// configuration, `-X` would write a log wherever the caller may.
const WITH_VALUE: &str = "ABCDFLNORVXbefhopr";
/// Options whose value, where there is one, is attached: `-q30m`, `-d0.1`.
const WITH_TAIL: &str = "dqQ";
/// Options without a value.
const ALONE: &str = "GIUcimnstvx";
/// The longest ENVID (RFC 3461 §4.4).
const LONGEST_ENVID: usize = 100;

/// Reads the words behind the program's name.
///
/// # Errors
/// [`OptionError`]: nothing may be sent then.
pub fn parse(words: &[String]) -> Result<Options, OptionError> {
    let mut options = Options::default();
    let mut runs_queue = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("-") => options.recipients.extend(words.by_ref().cloned()),
            Some("-help") => options.mode = Mode::Help,
            Some(cluster) if !cluster.is_empty() => {
                runs_queue |= options.cluster(cluster, &mut words)?;
            }
            _ => options.recipients.push(word.clone()),
        }
    }
    let is_idle = options.recipients.is_empty() && !options.reads_recipients;
    if runs_queue && is_idle && options.mode == Mode::Submit {
        options.mode = Mode::Nothing;
    }
    Ok(options)
}

impl Options {
    /// Letters behind one dash, `-ti`, `-fann@x`. True where one of them was `-q`.
    fn cluster<'a>(
        &mut self,
        cluster: &str,
        words: &mut impl Iterator<Item = &'a String>,
    ) -> Result<bool, OptionError> {
        for (at, letter) in cluster.char_indices() {
            let tail = &cluster[at + letter.len_utf8()..];
            if WITH_VALUE.contains(letter) {
                let value = match tail {
                    "" => words.next().ok_or(OptionError::NoValue(letter))?,
                    tail => tail,
                };
                self.with_value(letter, value)?;
                return Ok(false);
            }
            if WITH_TAIL.contains(letter) {
                return Ok(letter == 'q');
            }
            if !ALONE.contains(letter) {
                return Err(OptionError::Unknown(letter));
            }
            match letter {
                't' => self.reads_recipients = true,
                'i' => self.ignores_dots = true,
                'v' => self.verbose = true,
                'I' => self.mode = Mode::Nothing,
                _ => {}
            }
        }
        Ok(false)
    }

    fn with_value(&mut self, option: char, value: &str) -> Result<(), OptionError> {
        let wrong = |expected| OptionError::Value {
            option,
            value: value.chars().take(100).collect(),
            expected,
        };
        match option {
            'f' | 'r' => self.sender = Some(value.to_owned()),
            'F' => self.name = Some(value.to_owned()).filter(|name| !name.is_empty()),
            'b' => self.mode = mode(value).unwrap_or_else(|| Err(wrong("m, s, p or i")))?,
            'B' if value.eq_ignore_ascii_case("8BITMIME") => self.eight_bit = true,
            'B' if value.eq_ignore_ascii_case("7BIT") => self.eight_bit = false,
            'B' => return Err(wrong("7BIT or 8BITMIME")),
            'N' => {
                let expected = "never, or some of success,failure,delay";
                self.notify = Some(notify(value).ok_or_else(|| wrong(expected))?);
            }
            'R' if value.eq_ignore_ascii_case("full") => self.ret = Some("FULL"),
            'R' if value.eq_ignore_ascii_case("hdrs") => self.ret = Some("HDRS"),
            'R' => return Err(wrong("full or hdrs")),
            'V' => {
                let text = xtext(value);
                if text.is_empty() || text.len() > LONGEST_ENVID {
                    return Err(wrong("1 to 100 characters"));
                }
                self.envid = Some(text);
            }
            // `-oi`: the names of one letter that -O gave long names later.
            'o' if value.starts_with('i') => self.ignores_dots = !is_false(&value[1..]),
            'O' => self.long(value).ok_or_else(|| wrong("TempFail is an exit code, 1 to 255"))?,
            _ => {}
        }
        Ok(())
    }

    /// `-O Name=value`; names that mean nothing here are passed over, as sendmail does.
    fn long(&mut self, text: &str) -> Option<()> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("IgnoreDots") {
            self.ignores_dots = !is_false(value);
        } else if name.eq_ignore_ascii_case("TempFail") {
            self.temporary = Some(value.parse().ok().filter(|code| *code != exit::OK)?);
        }
        Some(())
    }
}

fn is_false(value: &str) -> bool {
    value.starts_with(['f', 'F', 'n', 'N', '0'])
}

/// What `-bX` asks for; none where it is no letter of sendmail's.
fn mode(value: &str) -> Option<Result<Mode, OptionError>> {
    Some(match value {
        "m" => Ok(Mode::Submit),
        "s" => Ok(Mode::Smtp),
        "p" => Ok(Mode::List),
        "i" => Ok(Mode::Nothing),
        "d" | "D" | "l" => {
            Err(OptionError::Refused("the daemon is started by `submitd run`, not by sendmail"))
        }
        "a" | "h" | "H" | "P" | "t" | "v" => {
            Err(OptionError::Refused("this mode of sendmail is not offered: only -bm -bs -bp -bi"))
        }
        _ => return None,
    })
}

/// `NOTIFY=` as RFC 3461 §4.1 writes it.
fn notify(value: &str) -> Option<String> {
    let value = value.to_ascii_uppercase();
    let fits = value == "NEVER"
        || value.split(',').all(|word| ["SUCCESS", "FAILURE", "DELAY"].contains(&word));
    fits.then_some(value)
}

/// xtext (RFC 3461 §4).
fn xtext(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for octet in value.bytes() {
        match octet {
            b'+' | b'=' | 0..=b' ' | 127.. => drop(write!(text, "+{octet:02X}")),
            plain => text.push(plain.into()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, OptionError> {
        // `''` stands for an empty word.
        let words: Vec<String> =
            line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
        parse(&words)
    }

    fn to(recipients: &[&str]) -> Options {
        let recipients = recipients.iter().map(ToString::to_string).collect();
        Options { recipients, ..Options::default() }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn real_command_lines() {
        let dots = |recipients: &[&str]| Options { ignores_dots: true, ..to(recipients) };
        for (line, expected) in [
            // cron: Vixie's, cronie's, BSD's
            (
                "-FCronDaemon -i -B8BITMIME -oem root",
                Options { name: some("CronDaemon"), eight_bit: true, ..dots(&["root"]) },
            ),
            (
                "-FCronDaemon -i -odi -oem -oi -t -f root",
                Options {
                    name: some("CronDaemon"),
                    reads_recipients: true,
                    sender: some("root"),
                    ..dots(&[])
                },
            ),
            // PHP: its default, and with the fifth parameter of mail()
            ("-t -i", Options { reads_recipients: true, ..dots(&[]) }),
            (
                "-t -i -fshop@contoso.com",
                Options { reads_recipients: true, sender: some("shop@contoso.com"), ..dots(&[]) },
            ),
            // s-nail, mailx, bsd-mailx
            ("-i -f x@y -- a@b c@d", Options { sender: some("x@y"), ..dots(&["a@b", "c@d"]) }),
            ("-i -m -v -r x -- a", Options { sender: some("x"), verbose: true, ..dots(&["a"]) }),
            ("-i ann@x -f from@y", Options { sender: some("from@y"), ..dots(&["ann@x"]) }),
            // git send-email --sendmail-cmd
            ("-i a@b c@d", dots(&["a@b", "c@d"])),
            ("-f me@x -i a@b", Options { sender: some("me@x"), ..dots(&["a@b"]) }),
            // mutt: its default, with use_8bitmime, use_envelope_from, dsn_notify, dsn_return
            ("-oem -oi -- to@x", dots(&["to@x"])),
            (
                "-oem -oi -f x@y -B8BITMIME -N failure,delay -R hdrs -- to@x",
                Options {
                    sender: some("x@y"),
                    eight_bit: true,
                    notify: some("FAILURE,DELAY"),
                    ret: Some("HDRS"),
                    ..dots(&["to@x"])
                },
            ),
            // logwatch, smartd, anacron, at, sudo, fail2ban, mdadm, apticron
            ("-t", Options { reads_recipients: true, ..to(&[]) }),
            ("-FAnacron root", Options { name: some("Anacron"), ..to(&["root"]) }),
            ("-i -odb -oem -t", Options { reads_recipients: true, ..dots(&[]) }),
            ("-f fail2ban@x admin@x", Options { sender: some("fail2ban@x"), ..to(&["admin@x"]) }),
            ("-ti", Options { reads_recipients: true, ..dots(&[]) }),
            // Python, Perl, Ruby, Go libraries
            (
                "-oi -t -odq -f '<>'",
                Options { reads_recipients: true, sender: some("<>"), ..dots(&[]) },
            ),
            ("-G -i -f '' a@b", Options { sender: some(""), ..dots(&["a@b"]) }),
            (
                "-i -t -O DeliveryMode=b -OIgnoreDots",
                Options { reads_recipients: true, ..dots(&[]) },
            ),
        ] {
            assert_eq!(read(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn values_are_attached_or_stand_apart_and_the_rest_is_passed_over() {
        let plain = to(&["a@b"]);
        for line in [
            "-bm -n -m -U -G -Ac -Am -A c a@b",
            "-C/etc/mail/x.cf -C file -X /tmp/log -X/tmp/log a@b",
            "-L tag -Ltag -p ESMTP:host -h 3 -h3 -O QueueDirectory=/x -oQ/x -oeq -ee a@b",
            "-q -q30m -qf a@b",
            "-d0-99.100 -s -x -c a@b",
            "-D /dev/null -- a@b",
            "-i -oif -om a@b",
            "-B 7BIT a@b",
        ] {
            assert_eq!(read(line), Ok(plain.clone()), "{line}");
        }
        assert_eq!(read("-- -f x").map(|o| o.recipients), Ok(vec!["-f".into(), "x".into()]));
        assert_eq!(read("-V a+b=c a@b").map(|o| o.envid), Ok(some("a+2Bb+3Dc")));
        assert_eq!(read("-Nnever a@b").map(|o| o.notify), Ok(some("NEVER")));
        assert_eq!(read("-t -O TempFail=69").map(|o| o.temporary), Ok(Some(69)));
    }

    #[test]
    fn modes() {
        for (line, mode) in [
            ("-bs", Mode::Smtp),
            ("-bp", Mode::List),
            ("-b p", Mode::List),
            ("-bi", Mode::Nothing),
            ("-I", Mode::Nothing),
            ("-q", Mode::Nothing),
            ("-q1h", Mode::Nothing),
            ("--help", Mode::Help),
            ("-q -t", Mode::Submit),
            ("-bm", Mode::Submit),
            ("", Mode::Submit),
        ] {
            assert_eq!(read(line).map(|options| options.mode), Ok(mode), "{line}");
        }
    }

    #[test]
    fn what_is_not_known_sends_nothing() {
        for line in [
            "-bd -q30m",
            "-bD",
            "-bt",
            "-bv a@b",
            "-bz",
            "-t -w a@b",
            "-K",
            "--port 25",
            "-f",
            "-i -F",
            "-N sometimes a@b",
            "-N '' a@b",
            "-R half a@b",
            "-B 9BIT a@b",
            "-V",
            "-O TempFail=0",
            "-O TempFail=x",
            "-é",
        ] {
            assert!(read(line).is_err(), "{line}: {:?}", read(line));
        }
        let long = format!("-V {} a@b", "=".repeat(34));
        assert!(read(&long).is_err());
    }
}
