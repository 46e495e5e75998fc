//! Every known error code and text as data: cause, class, remedy. Pure.
//!
//! Used by whoever has to judge or explain. Rows stand in `entra` and `exchange`.

pub mod entra;
pub mod exchange;

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It passes by itself.
    Transient,
    /// The user must sign in again.
    SignIn,
    /// An administrator must change something.
    Administrator,
}
