//! One mail, in the queue or behind it, and what is asked and ordered about mails. Pure.

use super::Time;
use crate::mail::{Id, Pattern};
use crate::queue::{self, Entry, Filter, RecipientState, Sender, Settled, State};
use serde::{Deserialize, Serialize};

/// One mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mail {
    /// Its queue id.
    pub id: String,
    /// In the queue: `queued`, `attempting`, `held`, `failed` or `damaged`. Behind it: `delivered`,
    /// `bounced` (a recipient was refused and the sender told) or `removed` (by a person).
    pub state: String,
    /// Whether it is being tried at this moment.
    pub under_way: bool,
    /// Through which account it goes.
    pub account: String,
    /// The envelope's sender; null is the null sender of a report.
    pub sender: Option<String>,
    /// The envelope's recipients.
    pub recipients: Vec<Recipient>,
    /// Octets of the message.
    pub size: u64,
    /// When it was taken.
    pub accepted: Time,
    /// When it is to be tried next; null where nothing is planned.
    pub due: Option<Time>,
    /// When it left the queue; null where it has not.
    pub settled: Option<Time>,
    /// Tries that counted.
    pub attempts: u32,
    /// Whether a try ended without a known fate, ever: it may have been delivered then.
    pub uncertain: bool,
    /// Whether it is a report of ours.
    pub report: bool,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// `waiting`, `deferred`, `delivered` or `failed`.
    pub state: String,
    /// The upstream's words, or why not.
    pub reply: Option<String>,
}

impl Recipient {
    fn new(address: impl ToString, state: &RecipientState) -> Self {
        let (state, reply) = match state {
            RecipientState::Waiting => ("waiting", None),
            RecipientState::Deferred { reason } => ("deferred", Some(reason)),
            RecipientState::Delivered { reply } => ("delivered", Some(reply)),
            RecipientState::Failed { reason } => ("failed", Some(reason)),
        };
        Self { address: address.to_string(), state: state.to_owned(), reply: reply.cloned() }
    }
}

impl Mail {
    /// A mail of the queue.
    pub fn queued(entry: &Entry, under_way: bool) -> Self {
        let all = entry.envelope.recipients.iter().zip(&entry.recipients);
        Self {
            id: entry.id.to_string(),
            state: entry.state.as_str().to_owned(),
            under_way: under_way || entry.state == State::Attempting,
            account: entry.account.clone(),
            sender: entry.envelope.sender.as_ref().map(ToString::to_string),
            recipients: all.map(|(to, state)| Recipient::new(&to.address, state)).collect(),
            size: entry.size,
            accepted: Time(entry.accepted),
            due: (entry.state == State::Queued).then_some(Time(entry.due)),
            settled: None,
            attempts: entry.attempts,
            uncertain: entry.uncertain,
            report: entry.is_bounce,
            last_error: entry.last_error.clone(),
        }
    }
}

impl From<&Settled> for Mail {
    fn from(settled: &Settled) -> Self {
        let is_failed = |state: &RecipientState| matches!(state, RecipientState::Failed { .. });
        let state = match settled.recipients.iter().any(|(_, state)| is_failed(state)) {
            _ if settled.removed => "removed",
            true => "bounced",
            false => "delivered",
        };
        let all = settled.recipients.iter();
        Self {
            id: settled.id.to_string(),
            state: state.to_owned(),
            under_way: false,
            account: settled.account.clone(),
            sender: settled.sender.as_ref().map(ToString::to_string),
            recipients: all.map(|(to, state)| Recipient::new(to, state)).collect(),
            size: settled.size,
            accepted: Time(settled.accepted),
            due: None,
            settled: Some(Time(settled.settled)),
            attempts: settled.attempts,
            uncertain: settled.uncertain,
            report: settled.is_bounce,
            last_error: None,
        }
    }
}

/// Which mails are asked for; what is not said does not count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Those that left the queue, instead of those in it.
    #[serde(skip_serializing_if = "is_false")]
    pub delivered: bool,
    /// Of this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Of this sender: an address, `@domain`, or `<>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// With such a recipient: an address or `@domain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Taken before this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Time>,
    /// Only those of which a try ended without a known fate.
    #[serde(skip_serializing_if = "is_false")]
    pub uncertain: bool,
    /// Behind this: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// No more than these, 1000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Query {
    /// Mails of a page, unless less is asked for.
    pub const PAGE: usize = 200;
    /// Mails of a page at most.
    pub const MOST: usize = 1000;

    /// As the store understands it.
    ///
    /// # Errors
    /// What cannot be understood, in words.
    pub fn filter(&self) -> Result<Filter, String> {
        let state = self.state.as_deref().map(str::parse::<State>).transpose()?;
        if self.delivered && state.is_some() {
            return Err("a mail that has left the queue has no state to look for".into());
        }
        let pattern = |text: &str| {
            Pattern::parse(text)
                .ok_or_else(|| format!("{text:?} is no address: write user@domain or @domain"))
        };
        let sender = match self.sender.as_deref() {
            None => None,
            Some("<>") => Some(Sender::Null),
            Some(text) => Some(Sender::Like(pattern(text)?)),
        };
        Ok(Filter {
            account: self.account.clone(),
            state,
            sender,
            recipient: self.recipient.as_deref().map(pattern).transpose()?,
            before: self.before.map(|time| time.0),
            uncertain: self.uncertain,
            after: self.after.clone(),
            most: self.most.unwrap_or(Self::PAGE).clamp(1, Self::MOST),
        })
    }

    /// As the part of an URL behind the `?`.
    pub fn encoded(&self) -> String {
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) {
            for (name, value) in fields {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                encoded.append_pair(&name, &text);
            }
        }
        encoded.finish()
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailPage {
    /// The mails.
    pub mails: Vec<Mail>,
    /// To be asked for as `after`; null behind the last.
    pub next: Option<String>,
}

/// What can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Wait for a person.
    Hold,
    /// No longer wait.
    Release,
    /// Try now, whatever the schedule says.
    Retry,
    /// Leave the queue unsent.
    Remove,
}

impl Order {
    /// The word of the command and of the path.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Retry => "retry",
            Self::Remove => "remove",
        }
    }
}

/// Which mails an order is for, 1000 at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// The mails.
    pub ids: Vec<Id>,
}

/// What became of an order for one mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The mail.
    pub id: Id,
    /// Why it was not obeyed; null where it was.
    pub error: Option<String>,
}

/// What the check of the store found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Mails looked at.
    pub mails: u64,
    /// Octets of bodies whose checksums were compared.
    pub octets: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The mail; null where the store itself is meant.
    pub id: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl From<queue::Findings> for Findings {
    fn from(findings: queue::Findings) -> Self {
        let problem = |queue::Problem { id, what }| Problem { id, what };
        let problems = findings.problems.into_iter().map(problem).collect();
        Self { mails: findings.mails, octets: findings.octets, problems }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_cannot_be_understood() {
        let wrong = |query: Query| query.filter().expect_err("a refusal");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            wrong(Query { state: text("stuck"), ..Query::default() }),
            "no state \"stuck\": queued, attempting, held, failed or damaged is expected"
        );
        assert_eq!(
            wrong(Query { recipient: text("a b"), ..Query::default() }),
            "\"a b\" is no address: write user@domain or @domain"
        );
        assert!(
            wrong(Query { delivered: true, state: text("held"), ..Query::default() })
                .starts_with("a mail that has left")
        );
        let null = Query { sender: text("<>"), most: Some(0), ..Query::default() };
        let filter = null.filter().expect("a filter");
        assert_eq!((filter.sender, filter.most), (Some(Sender::Null), 1));
    }

    #[test]
    fn a_query_stands_in_an_url_as_it_was_meant() {
        let query = Query {
            delivered: true,
            sender: Some("a&b=c@x".into()),
            before: Some(Time(std::time::UNIX_EPOCH)),
            most: Some(7),
            ..Query::default()
        };
        let encoded = query.encoded();
        assert_eq!(
            encoded,
            "before=1970-01-01T00%3A00%3A00Z&delivered=true&most=7&sender=a%26b%3Dc%40x"
        );
        assert_eq!(Query::default().encoded(), "");
    }
}
