//! An account that nobody has signed in for, as a fault. Pure.

use crate::diagnosis::Class;
use crate::oauth::response::Fault;

impl Fault {
    /// Nobody has signed in for an account that needs it, or it was revoked.
    pub fn nobody_signed_in() -> Self {
        let what = "nobody has signed in for this account yet".to_owned();
        Self::Local { class: Class::SignIn, what, remedy: "{sign_in}" }
    }

    /// Whether nothing helps but a sign-in, so that asking again is idle.
    pub fn waits_for_sign_in(&self) -> bool {
        matches!(self, Fault::Local { class: Class::SignIn, .. })
    }
}
