//! Who was promised what, what came, and whether every promise was kept: counted by mail and recipient.
//!
//! One mail is handed in once, whatever its answer: a double is never of the client's own making.

use super::load::mail;
use std::collections::BTreeMap;
use std::fmt;

/// A mail that the upstream took.
pub struct Arrival {
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

/// What a run leaves behind.
#[derive(Default)]
pub struct Tally {
    /// Mails that clients began to hand in.
    pub begun: usize,
    /// The mails that got their 250, with its words.
    pub acknowledged: BTreeMap<usize, String>,
    /// What the upstream took.
    pub arrivals: Vec<Arrival>,
    /// How often each queue id was said to be of unknown fate.
    pub uncertain: BTreeMap<String, usize>,
}

/// What the counting came to. The breaches are empty where every promise was kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub begun: usize,
    pub acknowledged: usize,
    /// Pairs of mail and recipient that were promised, and of these the ones that came.
    pub promised: usize,
    pub delivered: usize,
    /// Pairs that came although nobody had said 250: the answer was lost, the mail was not.
    pub unpromised: usize,
    /// Pairs that came more than once, and the most copies of one.
    pub doubles: usize,
    pub most_copies: usize,
    /// Mails that were said to be of unknown fate.
    pub uncertain: usize,
    pub lost: Vec<String>,
    /// Came more often than its uncertain moments allow.
    pub unexplained: Vec<String>,
    /// Did not arrive as it was handed in.
    pub broken: Vec<String>,
}

impl Tally {
    pub fn judge(&self) -> Verdict {
        let mut verdict = Verdict {
            begun: self.begun,
            acknowledged: self.acknowledged.len(),
            uncertain: self.uncertain.len(),
            ..Verdict::default()
        };
        let mut copies: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let mut ids: BTreeMap<usize, String> = BTreeMap::new();
        for arrival in &self.arrivals {
            let Some((number, id)) = mail::read(&arrival.raw) else {
                verdict.broken.push(format!("{:?}: not a mail of ours", arrival.recipients));
                continue;
            };
            if let Some(what) = mail::difference(number, &arrival.raw) {
                verdict.broken.push(format!("mail {number}: {what}"));
            }
            ids.insert(number, id);
            for recipient in &arrival.recipients {
                *copies.entry((number, recipient)).or_default() += 1;
            }
        }
        for (&number, words) in &self.acknowledged {
            for recipient in mail::recipients(number) {
                verdict.promised += 1;
                if copies.contains_key(&(number, recipient.as_str())) {
                    verdict.delivered += 1;
                } else {
                    verdict.lost.push(format!("mail {number} to {recipient}: {words:?}"));
                }
            }
        }
        for ((number, recipient), count) in copies {
            verdict.most_copies = verdict.most_copies.max(count);
            verdict.unpromised += usize::from(!self.acknowledged.contains_key(&number));
            verdict.doubles += usize::from(count > 1);
            let moments = self.uncertain.get(&ids[&number]).copied().unwrap_or(0);
            if count > 1 + moments {
                let id = &ids[&number];
                verdict.unexplained.push(format!(
                    "mail {number} ({id}) to {recipient}: {count} times, uncertain {moments} times"
                ));
            }
        }
        verdict
    }
}

impl Verdict {
    /// Fails where a promise was broken.
    pub fn assert_kept(&self) {
        let breaches = [("lost", &self.lost), ("unexplained", &self.unexplained)];
        for (what, breach) in breaches.into_iter().chain([("broken", &self.broken)]) {
            assert!(breach.is_empty(), "{what}: {}", breach.join("\n"));
        }
        assert!(self.delivered > 0, "nothing was tried");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun, acknowledged, promised, delivered, unpromised, .. } = self;
        writeln!(f, "mails begun                         {begun:>8}")?;
        writeln!(f, "mails acknowledged                  {acknowledged:>8}")?;
        writeln!(f, "deliveries promised                 {promised:>8}")?;
        writeln!(f, "  of these made                     {delivered:>8}")?;
        writeln!(f, "  of these lost                     {:>8}", self.lost.len())?;
        writeln!(f, "deliveries nobody had said 250 to   {unpromised:>8}")?;
        writeln!(f, "mails said to be uncertain          {:>8}", self.uncertain)?;
        writeln!(f, "deliveries made more than once      {:>8}", self.doubles)?;
        writeln!(f, "  of these not said to be uncertain {:>8}", self.unexplained.len())?;
        writeln!(f, "  most copies of one                {:>8}", self.most_copies)?;
        write!(f, "mails that came changed             {:>8}", self.broken.len())
    }
}

/// Copies of mail `number` for all its recipients, as they would come under this queue id.
fn arrivals(number: usize, id: &str, count: usize) -> impl Iterator<Item = Arrival> {
    let mut raw =
        format!("Received: from a by b (submitd) with ESMTP id {id};\r\n Sat, 1\r\n").into_bytes();
    raw.extend_from_slice(&mail::octets(number));
    let copy = move |_| Arrival { recipients: mail::recipients(number), raw: raw.clone() };
    (0..count).map(copy)
}

fn said(numbers: &[usize]) -> BTreeMap<usize, String> {
    numbers.iter().map(|&number| (number, "250 2.0.0 OK".to_owned())).collect()
}

const ID: &str = "0123456789ABCDEF";

#[test]
fn a_mail_that_came_once_keeps_the_promise() {
    let tally = Tally {
        begun: 2,
        acknowledged: said(&[1]),
        arrivals: arrivals(1, ID, 1).collect(),
        uncertain: BTreeMap::new(),
    };
    let verdict = tally.judge();
    verdict.assert_kept();
    assert_eq!((verdict.promised, verdict.delivered), (verdict.promised, verdict.promised));
}

#[test]
fn a_mail_that_is_lost_is_seen_and_so_is_one_recipient_of_many() {
    let many = (0..100).find(|number| mail::recipients(*number).len() > 1).unwrap();
    let mut tally = Tally { begun: 200, acknowledged: said(&[many, 150]), ..Tally::default() };
    tally.arrivals = arrivals(many, ID, 1).collect();
    tally.arrivals[0].recipients.pop();
    let lost = tally.judge().lost;
    assert_eq!(lost.len(), 1 + mail::recipients(150).len(), "{lost:?}");
}

#[test]
fn a_double_needs_an_uncertain_moment_for_each_copy() {
    let mut tally = Tally {
        begun: 10,
        acknowledged: said(&[3]),
        arrivals: arrivals(3, ID, 2).collect(),
        uncertain: BTreeMap::new(),
    };
    assert!(!tally.judge().unexplained.is_empty());
    tally.uncertain.insert(ID.into(), 1);
    tally.judge().assert_kept();
    tally.arrivals.extend(arrivals(3, ID, 1));
    assert!(!tally.judge().unexplained.is_empty(), "three copies, one moment");
}

#[test]
fn a_mail_that_came_changed_or_cut_is_seen() {
    let mut tally = Tally { begun: 10, acknowledged: said(&[3]), ..Tally::default() };
    tally.arrivals = arrivals(3, ID, 1).collect();
    tally.arrivals[0].raw.pop();
    assert_eq!(tally.judge().broken.len(), 1);
}
