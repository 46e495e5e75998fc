//! `[notify]`: whom to tell when an account fails, recovers, or something of it nears its end.

use super::account::YEAR;
use super::check::Surroundings;
use super::grant::Command;
use super::section::Section;
use super::tree::Node;
use super::value::{Written, Wrong, each, list};
use crate::mail::Address;
use std::path::PathBuf;
use std::time::Duration;

/// `[notify]`: whom to tell what needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// A program that is run for each event.
    pub command: Option<Hook>,
    /// How long it may run.
    pub command_timeout: Duration,
    /// Who gets a mail for each event.
    pub mail_to: Vec<Address>,
    /// The account these mails go through; none = the first that is not in trouble.
    pub account: Option<String>,
}

/// A program and its arguments; no shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Addresses that get mail.
struct Addresses(Vec<Address>);

impl Written for Addresses {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let one = |node: &Node| {
            // An address has one thing wrong with it, never more.
            let first = |wrongs: Vec<Wrong>| wrongs.into_iter().next();
            Address::read(node).map_err(|wrongs| {
                first(wrongs).unwrap_or_else(|| Wrong::new("is no address", "write user@domain"))
            })
        };
        each(node, "a list of addresses", one).map(Self)
    }
    fn write(&self) -> String {
        list(self.0.iter().map(Written::write))
    }
}

/// The table; `names` are those of the accounts.
pub(super) fn notify(section: Section<'_>, around: &Surroundings<'_>, names: &[String]) -> Notify {
    let command = section.optional::<Command>("command");
    let (second, most) = (Duration::from_secs(1), Duration::from_secs(600).min(YEAR));
    let timeout = section.within("command_timeout", Duration::from_secs(30), second..=most);
    let mail_to = section.optional::<Addresses>("mail_to").map(|all| all.0).unwrap_or_default();
    let account = section.optional::<String>("account");
    if let Some(name) = account.as_ref().filter(|name| !names.contains(name)) {
        let known: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let what = format!("there is no account {name:?}");
        section.wrong("account", what, format!("write {}", known.join(" or ")));
    }
    if account.is_some() && !section.is_given("mail_to") {
        section.doubt("account", "means nothing without mail_to", "write mail_to, or leave it out");
    }
    let command = command.and_then(|command| hook(&section, around, command));
    section.finish(&[]);
    Notify { command, command_timeout: timeout, mail_to, account }
}

fn hook(section: &Section<'_>, around: &Surroundings<'_>, command: Command) -> Option<Hook> {
    let (program, arguments) = command.program(section, "command")?;
    // It may be put there later, and must be no reason why mail stands still.
    if let Err(why) = (around.readable)(&program) {
        let what = format!("{} cannot be read ({why})", program.display());
        section.doubt("command", what, "nobody is told through it until it is there");
    }
    Some(Hook { program, arguments })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn read(notify: &str) -> Result<Config, String> {
        let text = format!(
            "[notify]\n{notify}\n[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n\
             grant = \"client_credentials\"\ntenant = \"contoso.com\"\n\
             client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\nclient_secret = \"x\"\n"
        );
        Config::from_text("submitd.toml", &text, &[]).map_err(|all| all.to_string())
    }

    #[test]
    fn what_is_meant_is_read() {
        let config = read(
            "command = [\"/bin/sh\", \"-c\"]\nmail_to = \"ops@contoso.com\"\naccount = \"erp\"\n\
             command_timeout = \"5s\"",
        );
        let config = config.expect("valid");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let notify = &config.notify;
        assert_eq!(notify.command.as_ref().expect("hook").arguments, ["-c"]);
        assert_eq!(notify.mail_to[0].as_str(), "ops@contoso.com");
        assert_eq!((notify.account.as_deref(), notify.command_timeout.as_secs()), (Some("erp"), 5));
        let none = read("").expect("valid").notify;
        assert!(none.command.is_none() && none.mail_to.is_empty() && none.account.is_none());
    }

    #[test]
    fn what_is_wrong_or_doubtful_is_told() {
        for (notify, expected) in [
            ("command = [\"hook\"]", "2:11: notify.command: \"hook\" is no absolute path"),
            ("command = []", "2:11: notify.command: names no program"),
            ("mail_to = [\"a@b.c\", \"root\"]", "2:21: notify.mail_to: \"root\" has no domain"),
            (
                "mail_to = \"a@b.c\"\naccount = \"crm\"",
                "3:11: notify.account: there is no account \"crm\"; write \"erp\"",
            ),
            ("command_timeout = \"1h\"", "is out of range"),
        ] {
            let problems = read(notify).err().unwrap_or_default();
            assert!(problems.contains(expected), "{notify}: {problems}");
        }
        for (notify, expected) in [
            (
                "command = [\"/nonexistent/hook\"]",
                "notify.command: /nonexistent/hook cannot be read",
            ),
            ("account = \"erp\"", "notify.account: means nothing without mail_to"),
        ] {
            let config = read(notify).expect(notify);
            let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
            assert!(told.concat().contains(expected), "{notify}: {told:?}");
        }
    }
}
