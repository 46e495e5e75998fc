//! Who is told what: NOTIFY (RFC 3461 §4.1) against what became of a mail. Pure.
//!
//! It promises that nobody hears of a recipient for whom that was not asked, that a delay is told once,
//! and that a report of ours is never about a mail nobody may be told of: that its caller has seen to.
//!
//! It writes no report: that is `report.rs` and `mail::bounce`.

use super::plan::{Found, Rules};
use crate::mail::Notify;
use crate::mail::bounce::Kind;
use crate::queue::{Entry, Next};
use crate::smtp::Enhanced;
use std::time::SystemTime;

/// A report to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// About whom, at least one; one report may tell of a failure and of a success (RFC 3464 §2.3).
    pub fates: Vec<Told>,
}

impl Notice {
    /// Whether it tells this of anybody.
    pub fn tells(&self, kind: Kind) -> bool {
        self.fates.iter().any(|told| told.kind == kind)
    }
}

/// What the sender is told of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place in the envelope.
    pub index: usize,
    /// What became of it.
    pub kind: Kind,
    /// Enhanced status.
    pub status: Enhanced,
    /// The upstream's words.
    pub diagnostic: Option<String>,
    /// Ours.
    pub explanation: String,
}

/// Whether the sender of this recipient wants to hear of it. Without NOTIFY failures and delays are told.
fn wants(notify: Option<Notify>, kind: Kind) -> bool {
    match kind {
        Kind::Failed => notify.is_none_or(|notify| notify.failure),
        Kind::Delayed => notify.is_none_or(|notify| notify.delay),
        Kind::Relayed => notify.is_some_and(|notify| notify.success),
    }
}

/// What the sender is told of a try, if anything.
pub(super) fn notice(
    entry: &Entry,
    found: &Found,
    next: &Next,
    rules: &Rules<'_>,
    now: SystemTime,
) -> Option<Notice> {
    let age = now.duration_since(entry.accepted).unwrap_or_default();
    // While the account is broken a notice would only queue up behind the mail it speaks of.
    let is_late = matches!(next, Next::Retry(_))
        && !found.rest
        && found.pause.is_none()
        && !entry.delay_told
        && age >= rules.delay_notice;
    let waiting = found.waiting.iter().filter(|_| is_late);
    let all = found.failed.iter().chain(waiting).chain(&found.relayed);
    let asked = |told: &&Told| {
        let recipient = entry.envelope.recipients.get(told.index);
        recipient.is_some_and(|recipient| wants(recipient.notify, told.kind))
    };
    let fates: Vec<Told> = all.filter(asked).cloned().collect();
    (!fates.is_empty()).then_some(Notice { fates })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnUncertain;
    use crate::delivery::plan::{Answers, Plan, plan};
    use crate::mail::{Address, BodyKind, Envelope, Id, Recipient};
    use crate::queue::retry::Schedule;
    use crate::queue::{RecipientState, State};
    use crate::smtp::Reply;
    use crate::upstream::{Failure, Fault, Stage};
    use std::time::{Duration, UNIX_EPOCH};

    const HOUR: Duration = Duration::from_secs(3600);

    fn words(text: &str) -> Option<Notify> {
        (text != "-").then(|| Notify {
            success: text.contains('S'),
            failure: text.contains('F'),
            delay: text.contains('D'),
        })
    }

    /// One recipient a word: `-` no NOTIFY, `N` never, else the letters of SUCCESS, FAILURE, DELAY.
    fn entry(notify: &str) -> Entry {
        let recipient = |text: &str| Recipient {
            notify: words(text),
            ..Recipient::new(Address::parse("a@b.example").expect("address"))
        };
        let recipients: Vec<_> = notify.split(' ').map(recipient).collect();
        Entry {
            id: Id::new(UNIX_EPOCH, 1),
            account: "erp".into(),
            recipients: vec![RecipientState::Waiting; recipients.len()],
            envelope: Envelope {
                sender: Some(Address::parse("erp@contoso.com").expect("address")),
                body: BodyKind::Undeclared,
                smtputf8: false,
                ret: None,
                envid: None,
                recipients,
            },
            size: 10,
            accepted: UNIX_EPOCH,
            due: UNIX_EPOCH,
            attempts: 0,
            state: State::Attempting,
            uncertain: false,
            is_bounce: false,
            delay_told: false,
            last_error: None,
        }
    }

    /// `+` taken, `!` refused, `?` put off.
    fn try_it(entry: &Entry, dsn: bool, said: &str, hours: u32) -> Plan {
        let reply = |c| match c {
            '+' => Ok(Reply::plain(250, "Queued")),
            '!' => Err(Reply::plain(550, "no")),
            _ => Err(Reply::plain(450, "later")),
        };
        let failure = |reply| Failure { stage: Stage::Rcpt, fault: Fault::Reply(reply) };
        let heard = said.chars().map(|c| reply(c).map_err(failure)).enumerate().collect();
        learn(entry, &Answers { heard, dsn }, hours)
    }

    fn learn(entry: &Entry, answers: &Answers, hours: u32) -> Plan {
        let rules = Rules {
            schedule: &Schedule { pauses: vec![HOUR], expire: HOUR * 100 },
            delay_notice: HOUR * 4,
            uncertain_pause: HOUR,
            busy_pause: HOUR,
            on_uncertain: OnUncertain::Retry,
            reports_elsewhere: false,
            account: "erp",
            mailbox: &Address::parse("erp@contoso.com").expect("address"),
        };
        plan(entry, answers, &rules, UNIX_EPOCH + HOUR * hours, 0.5)
    }

    fn shown(plan: &Plan) -> String {
        let fates = plan.notice.iter().flat_map(|notice| &notice.fates);
        let fates = fates.map(|told| format!("{}{:?}", told.index, told.kind));
        fates.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a12_each_recipient_is_reported_as_its_notify_wants() {
        for (notify, dsn, said, hours, told) in [
            // Taken: only who asked, and only where nobody else reports it.
            ("- N S F D SFD", false, "++++++", 0, "2Relayed 5Relayed"),
            ("- N S F D SFD", true, "++++++", 0, ""),
            // Refused.
            ("- N S F D SFD", false, "!!!!!!", 0, "0Failed 3Failed 5Failed"),
            ("- N S F D SFD", true, "!!!!!!", 0, "0Failed 3Failed 5Failed"),
            // Put off: nothing at first, then once.
            ("- N S F D SFD", false, "??????", 1, ""),
            ("- N S F D SFD", false, "??????", 5, "0Delayed 4Delayed 5Delayed"),
            ("- N S F D SFD", true, "??????", 5, "0Delayed 4Delayed 5Delayed"),
            // Given up.
            ("- N S F D SFD", false, "??????", 101, "0Failed 3Failed 5Failed"),
            // All at once.
            ("SF SF - N", false, "+!?+", 5, "1Failed 2Delayed 0Relayed"),
            ("SF SF - N", true, "+!?+", 5, "1Failed 2Delayed"),
        ] {
            let plan = try_it(&entry(notify), dsn, said, hours);
            assert_eq!(shown(&plan), told, "{notify} {dsn} {said} {hours}");
        }
    }

    #[test]
    fn b23_no_report_of_a_report_nor_to_the_null_sender() {
        for (said, hours) in [("+!?", 0), ("+!?", 5), ("???", 101)] {
            let mut report = entry("SFD SFD SFD");
            report.is_bounce = true;
            assert_eq!(try_it(&report, false, said, hours).notice, None, "{said}");
            let mut null = entry("SFD SFD SFD");
            null.envelope.sender = None;
            assert_eq!(try_it(&null, false, said, hours).notice, None, "{said}");
        }
    }

    #[test]
    fn a_delay_is_told_once_and_a_success_all_the_same() {
        let mut entry = entry("SFD SFD");
        entry.delay_told = true;
        assert_eq!(shown(&try_it(&entry, false, "+?", 5)), "0Relayed");
        // What is settled is not told again.
        entry.recipients[0] = RecipientState::Delivered { reply: "250 Queued".into() };
        let heard = vec![(1, Ok(Reply::plain(250, "Queued")))];
        let plan = learn(&entry, &Answers { heard, dsn: false }, 5);
        assert_eq!(shown(&plan), "1Relayed");
        let told = &plan.notice.expect("notice").fates[0];
        assert_eq!(told.status, Enhanced(2, 0, 0));
        assert_eq!(told.diagnostic.as_deref(), Some("250 Queued"));
    }
}
