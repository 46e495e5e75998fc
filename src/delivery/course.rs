//! Which way the mail of an account goes that has two: SMTP, or Graph while SMTP AUTH is switched off.
//!
//! It promises that Graph is the way only after SMTP said that AUTH is switched off, that it stays so only
//! once it was shown to work, that this outlives the process, and that SMTP is asked again now and then. What
//! an answer says of a way is read here; whose turn it is and what becomes of the mail is not.

use super::health::Health;
use super::verdict::{Verdict, judge};
use super::{Clock, lock};
use crate::config::{Account, Audience, Transport};
use crate::queue::{Detour, Queue};
use crate::smtp::Reply;
use crate::upstream::{Failure, Fault};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tracing::{error, info, warn};

/// After so long SMTP is tried again: an administrator may have switched it on.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Where the next mail of an account goes.
#[derive(Clone, Debug)]
enum Course {
    /// SMTP AUTH is off; whether Graph works is being tried, until then.
    Trying(SystemTime),
    /// By Graph, which works. In due time SMTP is asked.
    Graph(Detour),
}

/// The courses of all accounts with transport = "auto"; of whom nothing is known goes by SMTP.
pub(super) struct Courses {
    queue: Queue,
    clock: Clock,
    health: Health,
    known: Mutex<HashMap<String, Course>>,
}

impl Courses {
    /// As the store knows them.
    pub fn new(queue: Queue, clock: Clock, health: Health, accounts: &[Arc<Account>]) -> Self {
        let is_auto = |detour: &&Detour| {
            accounts.iter().any(|account| {
                account.name == detour.account && matches!(account.transport, Transport::Auto(_))
            })
        };
        let known = queue.detours().iter().filter(is_auto).map(|detour| {
            info!(account = %detour.account, "mail goes by Graph as before: SMTP AUTH was switched off");
            (detour.account.clone(), Course::Graph(detour.clone()))
        });
        let known = Mutex::new(known.collect());
        Self { queue, clock, health, known }
    }

    /// For which service the next mail of the account needs a token.
    pub fn audience(&self, account: &Account) -> Audience {
        let course = || lock(&self.known).get(&account.name).cloned();
        match &account.transport {
            Transport::Smtp => Audience::Smtp,
            Transport::Graph(_) => Audience::Graph,
            Transport::Auto(_) => match course() {
                Some(Course::Graph(Detour { again, .. }) | Course::Trying(again))
                    if !is_over(again, (self.clock)()) =>
                {
                    Audience::Graph
                }
                _ => Audience::Smtp,
            },
        }
    }

    /// Whether mail that is taken now may go by Graph, which knows no envelope.
    pub fn may_be_graph(&self, account: &Account) -> bool {
        match &account.transport {
            Transport::Smtp => false,
            Transport::Graph(_) => true,
            Transport::Auto(_) => lock(&self.known).contains_key(&account.name),
        }
    }

    /// Since when an account goes by Graph, and when SMTP is asked again.
    pub fn detour(&self, account: &str) -> Option<Detour> {
        match lock(&self.known).get(account) {
            Some(Course::Graph(detour)) => Some(detour.clone()),
            _ => None,
        }
    }

    /// SMTP said that AUTH is switched off: Graph is tried.
    pub fn smtp_is_off(&self, account: &Account) {
        let again = (self.clock)() + LOOK_AGAIN;
        let mut known = lock(&self.known);
        if !matches!(known.get(&account.name), Some(Course::Graph(_))) {
            known.insert(account.name.clone(), Course::Trying(again));
        }
    }

    /// SMTP let the account in.
    pub async fn smtp_works(&self, account: &str) {
        if self.straight(account).await {
            info!(account, "SMTP AUTH is switched on again; mail goes by SMTP");
        }
    }

    /// Graph let the account in, or not; none where its answer tells nothing of that.
    pub async fn graph_works(&self, account: &Account, works: Option<bool>) {
        if !matches!(account.transport, Transport::Auto(_)) {
            return;
        }
        let account = account.name.as_str();
        match works {
            Some(true) => self.round(account).await,
            Some(false) if self.straight(account).await => {
                warn!(account, "Graph does not take the account's mail any more; SMTP is asked");
            }
            _ => {}
        }
    }

    /// Somebody mended something: SMTP is asked next.
    pub fn ask_smtp(&self, account: &str) {
        match lock(&self.known).get_mut(account) {
            Some(Course::Graph(Detour { again, .. }) | Course::Trying(again)) => {
                *again = SystemTime::UNIX_EPOCH;
            }
            None => {}
        }
    }

    /// Accounts that are no more, or have one way only, go no course.
    pub fn keep(&self, is_known: impl Fn(&str) -> bool) {
        lock(&self.known).retain(|name, _| is_known(name));
    }

    async fn round(&self, account: &str) {
        let now = (self.clock)();
        let detour = {
            let mut known = lock(&self.known);
            let since = match known.get(account) {
                Some(Course::Graph(detour)) if !is_over(detour.again, now) => return,
                Some(Course::Graph(detour)) => Some(detour.since),
                _ => None,
            };
            let (account, again) = (account.to_owned(), now + LOOK_AGAIN);
            let detour = Detour { account, since: since.unwrap_or(now), again };
            known.insert(detour.account.clone(), Course::Graph(detour.clone()));
            detour
        };
        if detour.since == now {
            warn!(
                account,
                "SMTP AUTH is switched off; mail goes by Graph, and SMTP is tried again now and then"
            );
            self.health.ring();
        }
        if let Err(error) = self.queue.note_detour(detour).await {
            error!(account, %error, "that mail goes by Graph is known until the next start only");
        }
    }

    /// By SMTP from now on; whether it went by Graph.
    async fn straight(&self, account: &str) -> bool {
        let before = lock(&self.known).remove(account);
        let Some(Course::Graph(_)) = before else { return false };
        self.health.ring();
        if let Err(error) = self.queue.end_detour(account).await {
            error!(account, %error, "that mail goes by SMTP again is known until the next start only");
        }
        true
    }
}

/// Whether SMTP is to be asked again. A clock that was turned back does not put that off for days.
fn is_over(again: SystemTime, now: SystemTime) -> bool {
    now >= again || again.duration_since(now).is_ok_and(|wait| wait > LOOK_AGAIN)
}

/// Whether the way works for the account: the upstream took or judged the mail, or the account is broken
/// there; none where nothing of that was heard.
pub(super) fn works(result: &Result<Reply, Failure>) -> Option<bool> {
    let Err(failure) = result else { return Some(true) };
    match (judge(failure), &failure.fault) {
        // Anything else was known before somebody was asked.
        (Verdict::Bounce { .. }, Fault::Reply(_) | Fault::Http { .. }) => Some(true),
        (Verdict::PauseAccount(pause), _) if pause.quota => Some(true),
        (Verdict::RenewToken { .. } | Verdict::PauseAccount(_), _) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Stage;

    fn moment(minute: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(minute * 60)
    }

    #[test]
    fn b24_smtp_is_asked_after_an_hour_and_at_once_where_the_clock_jumped() {
        let again = moment(1_000 + 60);
        for (now, expected) in
            [(1_000, false), (1_059, false), (1_060, true), (9_000, true), (999, true), (10, true)]
        {
            assert_eq!(is_over(again, moment(now)), expected, "{now}");
        }
    }

    #[test]
    fn b24_what_was_never_asked_shows_nothing() {
        let http = |status, code: &str| {
            let (code, text) = (code.to_owned(), String::new());
            let fault = Fault::Http { status, code, text, retry_after: None };
            Err(Failure { stage: Stage::Posted, fault })
        };
        let own = |fault| Err(Failure { stage: Stage::Body, fault });
        for (result, expected) in [
            (Ok(Reply::plain(250, "ok")), Some(true)),
            (http(400, "ErrorInvalidRecipients"), Some(true)),
            (http(403, "ErrorSendAsDenied"), Some(true)),
            (http(429, "ErrorExceededMessageLimit"), Some(true)),
            (http(403, "ErrorAccessDenied"), Some(false)),
            (http(401, "InvalidAuthenticationToken"), Some(false)),
            (http(503, ""), None),
            (http(504, ""), None),
            (own(Fault::Unfit("a stranger".into())), None),
            (own(Fault::TooLarge { limit: 1 }), None),
            (own(Fault::Closed), None),
        ] {
            assert_eq!(works(&result), expected, "{result:?}");
        }
    }
}
