//! Everything secret that came by: given out or shown to us, worth something still or not.
//!
//! For whoever looks whether a secret turns up where none belongs: what is taken back or used up must not be
//! shown either. Kept in memory only, and only the newest.

use super::entra::Form;
use crate::secret::Secret;
use std::collections::{HashSet, VecDeque};

/// So many are kept.
const KEPT: usize = 10_000;

/// Fields of a form that only who sends it and the endpoint may know (RFC 6749, 7521, 7636, 8628).
const FIELDS: [&str; 9] = [
    "client_secret",
    "client_assertion",
    "assertion",
    "password",
    "refresh_token",
    "code",
    "code_verifier",
    "device_code",
    "token",
];

/// The secrets, each once.
#[derive(Default)]
pub(super) struct Seen {
    known: HashSet<String>,
    order: VecDeque<String>,
}

/// A number only.
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seen({})", self.order.len())
    }
}

impl Seen {
    /// Remembers a secret.
    pub(super) fn add(&mut self, text: &str) {
        if text.is_empty() || !self.known.insert(text.to_owned()) {
            return;
        }
        self.order.push_back(text.to_owned());
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Remembers what a form holds of them.
    pub(super) fn add_form(&mut self, form: &Form) {
        for text in FIELDS.iter().filter_map(|name| form.get(*name)) {
            self.add(text);
        }
    }

    /// All that are kept, oldest first.
    pub(super) fn all(&self) -> Vec<Secret> {
        self.order.iter().map(Secret::new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once_and_only_the_newest_are() {
        let mut seen = Seen::default();
        let form = [("code", "c1"), ("state", "s"), ("client_secret", ""), ("assertion", "a")];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        seen.add_form(&form);
        seen.add_form(&form);
        let all: Vec<_> = seen.all().iter().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(all, ["a", "c1"]);
        for number in 0..KEPT {
            seen.add(&format!("n{number}"));
        }
        assert_eq!((seen.all().len(), seen.all()[0].expose()), (KEPT, "n0"));
        seen.add("a");
        assert_eq!(seen.all()[KEPT - 1].expose(), "a", "forgotten and seen again");
        assert_eq!(format!("{seen:?}"), "Seen(10000)");
    }
}
