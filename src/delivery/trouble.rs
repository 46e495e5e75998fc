//! Why an account waits and for how long: growing pauses, one probe at the end of each. Pure.
//!
//! It promises that a broken account asks its provider no more often than its pauses say, and that a
//! try which began before the trouble neither ends nor deepens it.

use super::plan::Lesson;
use super::verdict::Pause;
use crate::diagnosis::Class;
use std::time::{Duration, Instant};

/// The longest pause of an account that a person must mend.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The longest pause while a quota of 24 hours is used up.
const LONGEST_QUOTA: Duration = Duration::from_secs(60 * 60);
/// The longest pause while the upstream or the token endpoint is not reached.
const LONGEST_SERVER: Duration = Duration::from_secs(60);
/// The first pause after the upstream was not reached.
const FIRST_SERVER: Duration = Duration::from_secs(1);
/// The first pause after the token endpoint failed in passing.
const FIRST_TOKEN: Duration = Duration::from_secs(5);

/// An account that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When it began.
    pub since: Instant,
    /// Nothing is tried before; then one try at a time.
    pub until: Instant,
    /// Pauses so far, this one included.
    pub pauses: u32,
    /// What is wrong.
    pub cause: Cause,
    /// When the last pause was set.
    last: Instant,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The upstream is not reached or breaks off.
    Server {
        /// What happened.
        words: String,
    },
    /// The account itself.
    Account {
        /// Who can mend it.
        class: Class,
        /// A used-up quota.
        quota: bool,
        /// What it means; may hold `{mailbox}`.
        meaning: String,
        /// What is to be done; may hold `{mailbox}` and `{account}`.
        remedy: String,
        /// The other side's words.
        words: String,
    },
}

impl Cause {
    /// As it is noted with a mail that is given up meanwhile; a pause where the account is to blame.
    pub fn noted(&self) -> (Option<Pause>, String) {
        match self {
            Self::Server { words } => (None, words.clone()),
            Self::Account { class, quota, meaning, remedy, words } => {
                let pause = Pause {
                    class: *class,
                    quota: *quota,
                    meaning: meaning.clone().into(),
                    remedy: remedy.clone().into(),
                    retry_after: None,
                };
                (Some(pause), words.clone())
            }
        }
    }
}

/// What a lesson changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Same,
    /// Trouble began, or its cause is another one.
    Began,
    /// One pause more of the same.
    Goes,
    /// It is over.
    Ended,
}

/// Learns from a try that `started` then; `schedule` are the pauses of the configuration.
pub fn learn(
    trouble: &mut Option<Trouble>,
    lesson: &Lesson,
    started: Instant,
    now: Instant,
    schedule: &[Duration],
) -> Change {
    let cause = match lesson {
        Lesson::Well if trouble.as_ref().is_some_and(|trouble| started >= trouble.last) => {
            *trouble = None;
            return Change::Ended;
        }
        Lesson::Well | Lesson::Busy(..) | Lesson::Local(_) => return Change::Same,
        Lesson::Server(words) => Cause::Server { words: words.clone() },
        Lesson::Account(pause, words) => Cause::Account {
            class: pause.class,
            quota: pause.quota,
            meaning: pause.meaning.clone().into_owned(),
            remedy: pause.remedy.clone().into_owned(),
            words: words.clone(),
        },
    };
    if trouble.as_ref().is_some_and(|trouble| started < trouble.last) {
        return Change::Same;
    }
    let wished = match lesson {
        Lesson::Account(pause, _) => pause.retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    let (since, pauses, change) = match trouble {
        Some(old) if same_kind(&old.cause, &cause) => {
            let change =
                if says_the_same(&old.cause, &cause) { Change::Goes } else { Change::Began };
            (old.since, old.pauses.saturating_add(1), change)
        }
        _ => (now, 1, Change::Began),
    };
    let until = now + length(&cause, pauses, schedule).max(wished);
    *trouble = Some(Trouble { since, until, pauses, cause, last: now });
    change
}

fn same_kind(a: &Cause, b: &Cause) -> bool {
    matches!(
        (a, b),
        (Cause::Server { .. }, Cause::Server { .. })
            | (Cause::Account { .. }, Cause::Account { .. })
    )
}

/// Replies hold server names and times, so the words do not count.
fn says_the_same(a: &Cause, b: &Cause) -> bool {
    match (a, b) {
        (Cause::Account { meaning: a, .. }, Cause::Account { meaning: b, .. }) => a == b,
        _ => true,
    }
}

/// The pause of this number (from 1). Where a person must act the configured schedule rules, so that
/// whoever tries mails often also looks often whether the account works again.
fn length(cause: &Cause, pauses: u32, schedule: &[Duration]) -> Duration {
    let index = usize::try_from(pauses.saturating_sub(1)).unwrap_or(usize::MAX);
    let scheduled =
        schedule.get(index).or(schedule.last()).copied().unwrap_or(Duration::from_secs(60));
    let first = schedule.first().copied().unwrap_or(LONGEST_SERVER);
    let doubled = |start: Duration| start * 2_u32.saturating_pow(pauses.saturating_sub(1).min(10));
    match cause {
        Cause::Server { .. } => {
            doubled(FIRST_SERVER).min(LONGEST_SERVER).min(first.max(FIRST_SERVER))
        }
        Cause::Account { quota: true, .. } => scheduled.min(LONGEST_QUOTA),
        Cause::Account { class: Class::Transient, .. } => {
            doubled(FIRST_TOKEN).min(LONGEST_SERVER).min(first.max(FIRST_SERVER))
        }
        Cause::Account { .. } => scheduled.min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);
    const SCHEDULE: [Duration; 3] = [MINUTE, Duration::from_secs(300), Duration::from_secs(3600)];

    fn account(class: Class, quota: bool, meaning: &'static str) -> Lesson {
        let pause =
            Pause { class, quota, meaning: meaning.into(), remedy: "".into(), retry_after: None };
        Lesson::Account(pause, "535 5.7.3".into())
    }

    /// The pauses that a probe after each of them meets.
    fn pauses(lesson: &Lesson, number: usize) -> Vec<Duration> {
        let mut now = Instant::now();
        let mut trouble = None;
        let mut seen = Vec::new();
        for _ in 0..number {
            learn(&mut trouble, lesson, now, now, &SCHEDULE);
            let until = trouble.as_ref().expect("trouble").until;
            seen.push(until - now);
            now = until;
        }
        seen
    }

    #[test]
    fn b13_pauses_grow_to_a_quarter_of_an_hour() {
        let broken = account(Class::Administrator, false, "off");
        assert_eq!(pauses(&broken, 4), [MINUTE, 5 * MINUTE, 15 * MINUTE, 15 * MINUTE]);
        let quota = account(Class::Transient, true, "quota");
        assert_eq!(pauses(&quota, 4), [MINUTE, 5 * MINUTE, 60 * MINUTE, 60 * MINUTE]);
    }

    #[test]
    fn what_passes_by_itself_is_looked_after_soon() {
        let server = Lesson::Server("refused".into());
        assert_eq!(
            pauses(&server, 8).iter().map(Duration::as_secs).collect::<Vec<_>>(),
            [1, 2, 4, 8, 16, 32, 60, 60]
        );
        let token = account(Class::Transient, false, "token endpoint down");
        assert_eq!(
            pauses(&token, 5).iter().map(Duration::as_secs).collect::<Vec<_>>(),
            [5, 10, 20, 40, 60]
        );
    }

    #[test]
    fn retry_after_is_kept() {
        let now = Instant::now();
        let mut trouble = None;
        let Lesson::Account(mut pause, words) = account(Class::Transient, false, "429") else {
            panic!()
        };
        pause.retry_after = Some(10 * MINUTE);
        learn(&mut trouble, &Lesson::Account(pause, words), now, now, &SCHEDULE);
        assert_eq!(trouble.expect("trouble").until, now + 10 * MINUTE);
    }

    #[test]
    fn tries_that_began_earlier_neither_deepen_nor_end_it() {
        let start = Instant::now();
        let broken = account(Class::Administrator, false, "off");
        let mut trouble = None;
        assert_eq!(learn(&mut trouble, &broken, start, start + SECOND, &SCHEDULE), Change::Began);
        let first = trouble.clone();
        for lesson in [&broken, &Lesson::Well] {
            assert_eq!(
                learn(&mut trouble, lesson, start, start + 2 * SECOND, &SCHEDULE),
                Change::Same
            );
            assert_eq!(trouble, first);
        }
        let probe = start + 61 * SECOND;
        assert_eq!(learn(&mut trouble, &broken, probe, probe, &SCHEDULE), Change::Goes);
        let other = account(Class::SignIn, false, "sign in");
        let probe = probe + 300 * SECOND;
        assert_eq!(learn(&mut trouble, &other, probe, probe, &SCHEDULE), Change::Began);
        assert_eq!(
            trouble.as_ref().expect("trouble").pauses,
            3,
            "another word is no reason to hurry"
        );
        assert_eq!(
            learn(&mut trouble, &Lesson::Well, probe + SECOND, probe + SECOND, &SCHEDULE),
            Change::Ended
        );
        assert_eq!(trouble, None);
        assert_eq!(learn(&mut trouble, &Lesson::Well, probe, probe, &SCHEDULE), Change::Same);
    }

    #[test]
    fn an_own_fault_or_a_crowd_is_no_trouble() {
        let now = Instant::now();
        let mut trouble = None;
        learn(&mut trouble, &Lesson::Local("disk".into()), now, now, &SCHEDULE);
        assert_eq!(trouble, None);
    }
}
