//! Whose mail comes next within one account: one of each sender in turn, the oldest of each first. Pure.
//!
//! It promises that no sender waits for more than one mail of each other sender, however many those have.

use crate::mail::Address;
use std::collections::{BTreeMap, VecDeque};

/// Stands for the null sender; no address is written so.
const NOBODY: &str = "<>";

/// What a sender is called in the store, never empty. Exchange does not tell `ERP@` from `erp@`.
pub(super) fn key(sender: Option<&Address>) -> String {
    sender.map_or_else(|| NOBODY.to_owned(), |sender| sender.as_str().to_ascii_lowercase())
}

/// At most `most` of them: one of each sender in turn, beginning with the one behind `after`. Those of one
/// sender stay in their order.
pub(super) fn in_turn<T>(mails: Vec<(String, T)>, after: &str, most: usize) -> Vec<T> {
    let mut lines: BTreeMap<String, VecDeque<T>> = BTreeMap::new();
    for (sender, mail) in mails {
        lines.entry(sender).or_default().push_back(mail);
    }
    let (before, behind): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|(sender, _)| sender.as_str() <= after);
    let mut lines: Vec<VecDeque<T>> =
        behind.into_iter().chain(before).map(|(_, line)| line).collect();
    let mut order = Vec::new();
    while order.len() < most && !lines.is_empty() {
        let next: Vec<T> = lines.iter_mut().filter_map(VecDeque::pop_front).collect();
        order.extend(next);
        lines.retain(|line| !line.is_empty());
    }
    order.truncate(most);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b22_one_of_each_sender_in_turn_beginning_behind_the_last() {
        let mails = || {
            let mails = ["a1", "b1", "a2", "a3", "c1", "b2"];
            mails.map(|mail| (mail[..1].to_owned(), mail)).to_vec()
        };
        for (after, most, wanted) in [
            ("", 9, "a1 b1 c1 a2 b2 a3"),
            ("a", 9, "b1 c1 a1 b2 a2 a3"),
            ("a", 2, "b1 c1"),
            ("bb", 9, "c1 a1 b1 a2 b2 a3"),
            ("z", 3, "a1 b1 c1"),
            ("", 0, ""),
        ] {
            assert_eq!(in_turn(mails(), after, most).join(" "), wanted, "{after:?} {most}");
        }
        assert!(in_turn::<u8>(Vec::new(), "a", 3).is_empty());
    }

    #[test]
    fn a_sender_is_one_however_it_is_spelt_and_nobody_has_a_key_too() {
        let sender = |text| Address::parse(text).unwrap();
        assert_eq!(key(Some(&sender("ERP@Contoso.com"))), key(Some(&sender("erp@contoso.com"))));
        assert_eq!(key(None), "<>");
    }
}
