//! Whose mail goes next where accounts share a mailbox. Pure.

use std::collections::VecDeque;

/// One of each account in turn, beginning behind the one that was last served.
pub(super) fn in_turn<E>(mut found: Vec<VecDeque<E>>, turn: usize) -> Vec<(usize, E)> {
    let seats = found.len();
    let mut order = Vec::with_capacity(found.iter().map(VecDeque::len).sum());
    let mut left = true;
    while left {
        left = false;
        for step in 0..seats {
            let seat = (turn + step) % seats;
            if let Some(entry) = found.get_mut(seat).and_then(VecDeque::pop_front) {
                order.push((seat, entry));
                left = true;
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_take_turns_and_no_mail_is_left_out() {
        let found = || vec![VecDeque::from(["a1", "a2", "a3"]), VecDeque::new(), ["c1"].into()];
        assert_eq!(in_turn(found(), 0), [(0, "a1"), (2, "c1"), (0, "a2"), (0, "a3")]);
        assert_eq!(in_turn(found(), 7), [(2, "c1"), (0, "a1"), (0, "a2"), (0, "a3")]);
        assert_eq!(in_turn(Vec::<VecDeque<u8>>::new(), 3), []);
    }
}
