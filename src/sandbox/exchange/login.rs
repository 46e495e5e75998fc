//! Logins at Exchange: no password is good, a token opens its mailbox.

use super::{Next, Submission};
use crate::sandbox::fault_value::take;
use crate::sandbox::faults::{AuthRefusal, Point, Stage};
use crate::sandbox::options::Mailbox;
use crate::sandbox::texts;
use crate::secret::Secret;
use crate::smtp::Reply;
use crate::smtp::server::Credentials;
use std::time::SystemTime;

impl Submission {
    pub(super) fn authenticate(&mut self, credentials: &Credentials) -> Next {
        if self.is_cut(Point::Auth) {
            return Next::Cut;
        }
        let now = SystemTime::now();
        let fault = self.smtp_fault(|smtp| take(&mut smtp.auth));
        let (Credentials::Password { password: shown, .. }
        | Credentials::Bearer { token: shown, .. }) = credentials;
        self.world.seen().add(shown.expose());
        let (user, judged) = match credentials {
            Credentials::Password { user, .. } => {
                self.world.count(|statistics| statistics.password_logins += 1);
                (user, Err(self.session.basic_refused(now)))
            }
            Credentials::Bearer { user, token } => (user, self.check_token(user, token, now)),
        };
        let reply = match (self.scripted(Stage::Auth), fault, judged) {
            (Some(reply), _, _) => reply,
            (None, Some(refusal), _) => self.session.auth_refused(refusal, now),
            (None, None, Err(reply)) => reply,
            (None, None, Ok(mailbox)) => {
                tracing::debug!(mailbox = ?user, "sandbox: login");
                self.mailbox = Some(mailbox);
                texts::AUTHENTICATED
            }
        };
        self.answer_login(&reply)
    }

    /// The mailbox that the token opens. Whatever is wrong, Exchange says the same.
    fn check_token(&self, user: &str, token: &Secret, now: SystemTime) -> Result<Mailbox, Reply> {
        let delegates = &self.world.options.sign_ins.delegates;
        let may_open = |own: &str| {
            delegates.iter().any(|(delegate, mailbox)| {
                delegate.eq_ignore_ascii_case(own) && mailbox.eq_ignore_ascii_case(user)
            })
        };
        let by_role = self.world.options.exchange_role;
        let fault = match self.world.tokens().check(may_open, token, user, by_role, now) {
            Err(fault) => format!("{fault:?}"),
            Ok(()) => {
                let mailboxes = &self.world.options.mailboxes;
                match mailboxes.iter().find(|mailbox| mailbox.address.eq_ignore_ascii_case(user)) {
                    Some(mailbox) => return Ok(mailbox.clone()),
                    None => "NoMailbox".to_owned(),
                }
            }
        };
        tracing::info!(mailbox = ?user, %fault, "sandbox: token refused");
        Err(self.session.auth_refused(AuthRefusal::Rejected, now))
    }

    /// Ends a login with this reply and counts it.
    fn answer_login(&mut self, reply: &Reply) -> Next {
        let good = reply.code == 235;
        self.world.count(|statistics| {
            statistics.logins += u64::from(good);
            statistics.login_failures += u64::from(!good);
        });
        self.failure = (!good).then(|| reply.clone());
        self.answer(reply)
    }
}
