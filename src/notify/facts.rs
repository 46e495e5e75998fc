//! How things stand, as whoever watches the accounts tells it. Data only.

use std::time::SystemTime;

/// One account.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name.
    pub account: String,
    /// Its mailbox.
    pub mailbox: String,
    /// What a person must mend; none where nothing is known to be wrong.
    pub trouble: Option<Trouble>,
    /// A token is at hand and nothing went wrong since.
    pub has_token: bool,
    /// The upstream took or judged a mail since the last trouble, or since the start.
    pub sends: bool,
    /// What ends when.
    pub ends: Vec<End>,
}

/// Why an account needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// It shows before a connection is made: there is no token.
    pub is_of_token: bool,
    /// Who can mend it: `sign-in` or `administrator`.
    pub class: &'static str,
    /// What is wrong, in one line.
    pub what: String,
    /// What to do, in one line.
    pub remedy: String,
}

/// Something that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// `client_secret`, `certificate` or `sign_in`.
    pub of: &'static str,
    /// In words: `the client secret`.
    pub name: &'static str,
    /// When.
    pub at: SystemTime,
    /// What to do before.
    pub remedy: String,
}

/// Mail that was given up and kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// Of programs.
    pub mails: Pile,
    /// Reports of ours.
    pub reports: Pile,
    /// Notices of ours: those are never told by mail, or one would beget the next.
    pub notices: Pile,
}

/// Mails of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pile {
    /// How many.
    pub count: u64,
    /// The latest of them, the last one last.
    pub latest: Vec<crate::mail::Id>,
    /// Why the last one was given up.
    pub why: String,
}
