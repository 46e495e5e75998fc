//! What a server without an envelope would refuse days later is refused while the program still listens. Pure.
//!
//! It is asked about mail that may go by Graph, and looks at nothing below the header: S/MIME and all other
//! parts go as they are.

use super::Permit;
use crate::mail::addressed::{Addressees, Unfit, settle};
use crate::mail::mailbox::mailboxes;
use crate::mail::{Address, Recipient, header, pattern};

/// Why a mail cannot go by Graph. Fit for a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// Its header does not name whom it is for.
    #[error("{0}")]
    Recipients(#[from] Unfit),
    /// Exchange would answer ErrorSendAsDenied.
    #[error(
        "{field} is {address}, neither the account's mailbox nor among its senders: Graph would refuse it"
    )]
    Author {
        /// `From` or `Sender`.
        field: &'static str,
        /// What stands there.
        address: Address,
    },
    /// It is too large for one request, and does not go in several.
    #[error("message is larger than the {most} octets that Graph takes in one request, and {why}")]
    Size {
        /// Octets of one request.
        most: u64,
        /// What is in the way.
        why: &'static str,
    },
    /// Two readers could see different authors.
    #[error("the author in {0} cannot be read without doubt")]
    Unreadable(&'static str),
}

/// What a mail may lose on its way by Graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// `From:` is an alias or another mailbox, which Exchange may replace by the mailbox.
    pub alias: bool,
    /// `From:` has a display name, which Exchange may replace by that of the directory.
    pub name: bool,
}

impl Permit {
    /// Whether the mail can go by Graph, as far as its header shows. What may be lost on the way is told.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn preflight(&self, header: &[u8], to: &[Recipient]) -> Result<Losses, Unsendable> {
        let Some(graph) = self.account.transport.graph() else { return Ok(Losses::default()) };
        settle(header, Addressees { now: to, ever: to }, graph.recipients)?;
        let mut losses = Losses::default();
        for name in ["From", "Sender"] {
            let mut fields = header::fields(header).filter(|field| field.is(name));
            let Some(field) = fields.next() else { continue };
            let all = mailboxes(field.value()).map_err(|_| Unsendable::Unreadable(name))?;
            if fields.next().is_some() {
                return Err(Unsendable::Unreadable(name));
            }
            for mailbox in &all {
                self.check_author(name, &mailbox.address)?;
            }
            if let ("From", [only]) = (name, all.as_slice()) {
                losses.alias = !self.account.mailbox.is_same_mailbox(&only.address);
                losses.name = only.place.len() < field.value().trim_ascii().len();
            }
        }
        Ok(losses)
    }

    fn check_author(&self, field: &'static str, address: &Address) -> Result<(), Unsendable> {
        let is_own = self.account.mailbox.is_same_mailbox(address)
            || pattern::closest(&self.account.senders, address).is_some();
        if is_own { Ok(()) } else { Err(Unsendable::Author { field, address: address.clone() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn permit(keys: &str) -> Permit {
        let text = format!(
            "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n\
             grant = \"client_credentials\"\ntenant = \"contoso.com\"\n\
             client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\nclient_secret = \"x\"\n{keys}\n"
        );
        let config = Config::from_text("submitd.toml", &text, &[]).expect("sound");
        let account = config.accounts[0].clone();
        Permit {
            account,
            senders: Vec::new(),
            recipients: [Vec::new(), Vec::new()],
            local: config.local,
        }
    }

    fn fly(keys: &str, header: &str) -> Result<Losses, String> {
        let to = [Recipient::new(Address::parse("a@x.example").expect("address"))];
        permit(keys).preflight(header.as_bytes(), &to).map_err(|error| error.to_string())
    }

    #[test]
    fn b24_what_graph_would_refuse_is_refused_at_the_door() {
        const GRAPH: &str = "transport = \"graph\"\nsenders = [\"alias@contoso.com\"]";
        for (header, expected) in [
            ("From: eve@contoso.com\r\nTo: a@x.example\r\n", "From is eve@contoso.com"),
            ("From: erp@contoso.com\r\nSender: root\r\n", "Sender is root"),
            ("From: a@x, b@y c\r\n", "author in From"),
            ("From: erp@contoso.com\r\nFrom: erp@contoso.com\r\n", "author in From"),
            ("From: erp@contoso.com\r\nTo: e@z.example\r\n", "names e@z.example"),
            ("From: erp@contoso.com\r\nTo: <a@x.example\r\n", "To: cannot be read"),
        ] {
            let error = fly(GRAPH, header).expect_err(header);
            assert!(error.contains(expected), "{header:?}: {error}");
            assert_eq!(fly("", header), Ok(Losses::default()), "{header:?}");
            let auto = GRAPH.replace("graph", "auto");
            assert!(fly(&auto, header).is_err_and(|error| error.contains(expected)), "{header:?}");
        }
        for (header, alias, name) in [
            ("From: ERP@contoso.com\r\n", false, false),
            ("Subject: no author\r\n", false, false),
            ("From: ERP <erp@contoso.com>\r\n", false, true),
            ("From: alias@contoso.com\r\n", true, false),
        ] {
            assert_eq!(fly(GRAPH, header), Ok(Losses { alias, name }), "{header:?}");
        }
    }
}
