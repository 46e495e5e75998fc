//! What was announced, and what is to be announced now. Pure.
//!
//! It promises that an account is announced once when it fails, once for each further cause while it
//! fails, and once when it demonstrably works again: that nothing is known, as after a start, is no
//! recovery. It is kept on the disk as a whole, with what was not yet told.

use super::calendar::{self, Announced};
use super::event::{Event, Kind, written};
use super::facts::{Facts, GivenUp, Pile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Ids that an event names.
const IDS: usize = 10;

/// All that was announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Accounts that are announced as failed.
    pub failed: BTreeMap<String, Failed>,
    /// Ends by account and what ends.
    pub ends: BTreeMap<String, BTreeMap<String, Announced>>,
    /// Mails that were given up, by account.
    pub given_up: BTreeMap<String, Counts>,
    /// What was decided and not yet told, in order.
    pub untold: Vec<Untold>,
}

/// An account that is announced as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The causes announced.
    pub told: Vec<String>,
    /// Whether only a mail that goes out proves that it works again; else a token does.
    pub needs_mail: bool,
}

/// Mails that were announced as given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    mails: u64,
    reports: u64,
    notices: u64,
}

/// An event and the ways it has yet to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// The event.
    pub event: Event,
    /// By mail.
    pub by_mail: bool,
    /// By the hook.
    pub by_command: bool,
}

/// What is to be announced, and whether a mail may do it.
pub type Finding = (Event, bool);

impl Ledger {
    /// What the facts say that was not announced; from now on it counts as announced.
    pub fn judge(&mut self, facts: &[Facts], now: SystemTime) -> Vec<Event> {
        let is_known = |name: &String| facts.iter().any(|facts| facts.account == *name);
        self.failed.retain(|name, _| is_known(name));
        self.ends.retain(|name, _| is_known(name));
        let mut events = Vec::new();
        for facts in facts {
            events.extend(self.health(facts, now));
            self.calendar(facts, now, &mut events);
        }
        events
    }

    fn health(&mut self, facts: &Facts, now: SystemTime) -> Option<Event> {
        let event = |kind| Event::new(kind, &facts.account, &facts.mailbox, now);
        let Some(trouble) = &facts.trouble else {
            let failed = self.failed.get(&facts.account)?;
            let works = if failed.needs_mail { facts.sends } else { facts.has_token };
            if !works {
                return None;
            }
            self.failed.remove(&facts.account);
            return Some(Event {
                what: "it works again".to_owned(),
                ..event(Kind::AccountRecovered)
            });
        };
        let failed = self
            .failed
            .entry(facts.account.clone())
            .or_insert_with(|| Failed { told: Vec::new(), needs_mail: false });
        failed.needs_mail |= !trouble.is_of_token;
        // Texts of peers hold times and names of servers; who must do what does not.
        let cause = format!("{}: {}", trouble.class, trouble.remedy);
        if failed.told.contains(&cause) {
            return None;
        }
        failed.told.push(cause);
        Some(Event {
            class: Some(trouble.class.to_owned()),
            what: trouble.what.clone(),
            remedy: trouble.remedy.clone(),
            ..event(Kind::AccountFailed)
        })
    }

    fn calendar(&mut self, facts: &Facts, now: SystemTime, events: &mut Vec<Event>) {
        let known = self.ends.entry(facts.account.clone()).or_default();
        known.retain(|of, _| facts.ends.iter().any(|end| end.of == of));
        for end in &facts.ends {
            let Some(told) = calendar::due(end.at, known.get(end.of).copied(), now) else {
                continue;
            };
            known.insert(end.of.to_owned(), told);
            let kind = if told.mark == 0 { Kind::Ended } else { Kind::EndsSoon };
            events.push(Event {
                what: format!("{} {}", end.name, calendar::in_words(end.at, now)),
                remedy: end.remedy.clone(),
                of: Some(end.of.to_owned()),
                ends: Some(written(end.at)),
                ..Event::new(kind, &facts.account, &facts.mailbox, now)
            });
        }
        if known.is_empty() {
            self.ends.remove(&facts.account);
        }
    }

    /// Whether more mail of this account is given up than was announced. Fewer, since somebody saw to it,
    /// are the new count.
    pub fn has_more(&mut self, account: &str, total: u64) -> bool {
        let known = self.given_up.get(account).copied().unwrap_or_default();
        let before = known.mails + known.reports + known.notices;
        if total == 0 {
            self.given_up.remove(account);
        }
        total != before && total > 0
    }

    /// What was given up and not announced; from now on it counts as announced.
    pub fn count(
        &mut self,
        (account, mailbox): (&str, &str),
        all: &GivenUp,
        now: SystemTime,
    ) -> Vec<Finding> {
        let known = self.given_up.entry(account.to_owned()).or_default();
        let before = std::mem::replace(
            known,
            Counts {
                mails: all.mails.count,
                reports: all.reports.count,
                notices: all.notices.count,
            },
        );
        let mut found = Vec::new();
        for (kind, pile, before, may_mail) in [
            (Kind::MailFailed, &all.mails, before.mails, true),
            (Kind::ReportFailed, &all.reports, before.reports, true),
            (Kind::ReportFailed, &all.notices, before.notices, false),
        ] {
            if pile.count > before {
                let event = Event::new(kind, account, mailbox, now);
                found.push((given_up(event, pile, pile.count - before), may_mail));
            }
        }
        found
    }
}

fn given_up(event: Event, pile: &Pile, new: u64) -> Event {
    let (noun, verb) = match (event.kind, new) {
        (Kind::MailFailed, 1) => ("mail", "was given up and its sender not told"),
        (Kind::MailFailed, _) => ("mails", "were given up and their senders not told"),
        (_, 1) => ("report of ours", "could not be delivered"),
        _ => ("reports of ours", "could not be delivered"),
    };
    let new_ids = usize::try_from(new).unwrap_or(IDS).min(IDS);
    let ids = pile.latest.iter().rev().take(new_ids).rev().copied().collect();
    Event {
        what: format!("{new} {noun} {verb}; the last reason: {}", pile.why),
        remedy: "submitd queue list --state failed shows them; queue retry ID sends one again, \
                 queue remove ID drops it"
            .to_owned(),
        mails: Some(new),
        ids,
        ..event
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{End, Trouble};
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn facts(trouble: Option<Trouble>, has_token: bool, sends: bool) -> Vec<Facts> {
        vec![Facts {
            account: "erp".to_owned(),
            mailbox: "erp@contoso.com".to_owned(),
            trouble,
            has_token,
            sends,
            ends: Vec::new(),
        }]
    }

    fn token(remedy: &str) -> Option<Trouble> {
        Some(Trouble {
            is_of_token: true,
            class: "sign-in",
            what: "no token".to_owned(),
            remedy: remedy.to_owned(),
        })
    }

    fn upstream(remedy: &str) -> Option<Trouble> {
        token(remedy).map(|trouble| Trouble { is_of_token: false, ..trouble })
    }

    /// Through the file, as at each restart.
    fn kinds(ledger: &mut Ledger, facts: &[Facts]) -> Vec<Kind> {
        let text = serde_json::to_string(ledger).expect("written");
        *ledger = serde_json::from_str(&text).expect("read");
        ledger.judge(facts, UNIX_EPOCH).into_iter().map(|event| event.kind).collect()
    }

    #[test]
    fn an_account_is_announced_once_when_it_fails_and_once_when_it_works_again() {
        let mut ledger = Ledger::default();
        use Kind::{AccountFailed, AccountRecovered};
        for (step, facts, expected) in [
            ("nothing is known", facts(None, false, false), &[][..]),
            ("it fails", facts(token("a"), false, false), &[AccountFailed]),
            ("still", facts(token("a"), false, false), &[]),
            ("after a start nothing is known", facts(None, false, false), &[]),
            ("still", facts(token("a"), false, false), &[]),
            ("for another reason", facts(token("b"), false, false), &[AccountFailed]),
            ("and the first again", facts(token("a"), false, false), &[]),
            ("it works", facts(None, true, false), &[AccountRecovered]),
            ("still", facts(None, true, true), &[]),
            ("a refused login", facts(upstream("c"), true, false), &[AccountFailed]),
            ("a token proves nothing", facts(None, true, false), &[]),
            ("a mail does", facts(None, true, true), &[AccountRecovered]),
            ("and it fails again", facts(upstream("c"), true, false), &[AccountFailed]),
        ] {
            assert_eq!(kinds(&mut ledger, &facts), expected, "{step}");
        }
    }

    #[test]
    fn an_account_that_is_gone_is_forgotten() {
        let mut ledger = Ledger::default();
        assert_eq!(kinds(&mut ledger, &facts(token("a"), false, false)), [Kind::AccountFailed]);
        assert_eq!(kinds(&mut ledger, &[]), []);
        assert_eq!(ledger, Ledger::default());
        assert_eq!(kinds(&mut ledger, &facts(None, true, true)), []);
    }

    #[test]
    fn ends_are_announced_by_the_calendar_and_survive_a_restart() {
        let day = Duration::from_secs(86_400);
        let end = End {
            of: "client_secret",
            name: "the client secret",
            at: UNIX_EPOCH + day * 100,
            remedy: "make a new one".to_owned(),
        };
        let mut all = facts(None, true, true);
        all[0].ends = vec![end];
        let mut ledger = Ledger::default();
        let mut seen = Vec::new();
        for today in 0..110 {
            let text = serde_json::to_string(&ledger).expect("written");
            ledger = serde_json::from_str(&text).expect("read");
            let now = UNIX_EPOCH + day * today;
            seen.extend(ledger.judge(&all, now).into_iter().map(|event| (today, event.kind)));
        }
        use Kind::{Ended, EndsSoon};
        let expected = [40, 70, 86, 93, 97, 99].map(|today| (today, EndsSoon));
        assert_eq!(seen[..6], expected);
        assert_eq!(seen[6..], [(100, Ended)]);
        all[0].ends.clear();
        ledger.judge(&all, UNIX_EPOCH);
        assert_eq!(ledger, Ledger::default());
    }

    #[test]
    fn mail_that_was_given_up_is_told_by_number_and_a_notice_never_by_mail() {
        let pile = |count: u64| Pile {
            count,
            latest: vec!["01m5c6e5r0qjwzb0".parse().expect("id"); 20],
            why: "550 no".to_owned(),
        };
        let mut ledger = Ledger::default();
        let mut told = |mails, reports, notices| {
            let all =
                GivenUp { mails: pile(mails), reports: pile(reports), notices: pile(notices) };
            let total = mails + reports + notices;
            if !ledger.has_more("erp", total) {
                return Vec::new();
            }
            let found = ledger.count(("erp", "erp@contoso.com"), &all, UNIX_EPOCH);
            found.into_iter().map(|(event, mail)| (event.kind, event.mails, mail)).collect()
        };
        use Kind::{MailFailed, ReportFailed};
        assert_eq!(told(0, 0, 0), []);
        assert_eq!(told(3, 0, 0), [(MailFailed, Some(3), true)]);
        assert_eq!(told(3, 0, 0), []);
        assert_eq!(
            told(5, 1, 1),
            [
                (MailFailed, Some(2), true),
                (ReportFailed, Some(1), true),
                (ReportFailed, Some(1), false),
            ]
        );
        assert_eq!(told(4, 1, 1), [], "somebody saw to one");
        assert_eq!(told(5, 1, 1), [(MailFailed, Some(1), true)]);
        assert_eq!(told(0, 0, 0), []);
        assert_eq!(told(20, 0, 0), [(MailFailed, Some(20), true)]);
        let event = given_up(Event::new(MailFailed, "a", "b", UNIX_EPOCH), &pile(20), 20);
        assert_eq!(event.ids.len(), IDS);
    }
}
