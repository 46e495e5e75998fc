//! Whether a mail that is too large for one request of Graph can go there as a draft with files: its parts say so,
//! which are looked at while they come. Pure.

use super::{Permit, Unsendable};
use crate::config::Upload;
use crate::mail::apart::take_apart;
use crate::mail::outline::Outline;

/// A look at a mail that passes by.
#[derive(Debug)]
pub struct Inspection {
    outline: Outline,
    /// Octets of a message that goes in one request.
    most: u64,
}

impl Permit {
    /// To be shown mail that may go by Graph from its first octet, where its parts decide; none where they do
    /// not.
    pub fn inspection(&self) -> Option<Inspection> {
        match self.account.transport.graph() {
            Some(graph) if graph.upload == Upload::On => {
                Some(Inspection { outline: Outline::default(), most: graph.max_size })
            }
            _ => None,
        }
    }
}

impl Inspection {
    /// The next octets of the mail.
    pub fn feed(&mut self, octets: &[u8]) {
        self.outline.feed(octets);
    }

    /// The mail has ended; it was of so many octets when it came.
    ///
    /// # Errors
    /// [`Unsendable::Size`].
    pub fn finish(self, size: u64) -> Result<(), Unsendable> {
        let Self { outline, most } = self;
        if size <= most {
            return Ok(());
        }
        match take_apart(outline.finish(), most) {
            Ok(_) => Ok(()),
            Err(why) => Err(Unsendable::Size { most, why }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn permit(keys: &str) -> Permit {
        let text = format!(
            "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\ngrant = \"client_credentials\"\n\
             tenant = \"contoso.com\"\nclient_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\nclient_secret = \"x\"\n{keys}\n"
        );
        let config = Config::from_text("submitd.toml", &text, &[]).expect("sound");
        let account = config.accounts[0].clone();
        let recipients = [Vec::new(), Vec::new()];
        Permit { account, senders: Vec::new(), recipients, local: config.local }
    }

    #[test]
    fn b24_only_mail_that_graph_would_take_apart_is_looked_at() {
        for keys in
            ["", "transport = \"graph\"", "transport = \"auto\"\n[account.graph]\nupload = \"on\""]
        {
            assert!(permit(keys).inspection().is_none(), "{keys}");
        }
    }

    #[test]
    fn b24_what_cannot_be_taken_apart_is_refused_where_it_is_too_large() {
        let mixed = format!(
            "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\ntext\r\n--B\r\nContent-Type: x/y\r\n\r\n{}\r\n--B--\r\n",
            "x".repeat(70_000)
        );
        let plain = format!("Subject: s\r\n\r\n{}\r\n", "x".repeat(70_000));
        let signed = mixed.replace("multipart/mixed", "multipart/signed");
        let keys = "transport = \"graph\"\n[account.graph]\nupload = \"on\"\nmax_size = \"64 KB\"";
        for (mail, expected) in [
            (&mixed, None),
            (
                &plain,
                Some(
                    "message is larger than the 65536 octets that Graph takes in one request, and its text alone",
                ),
            ),
            (
                &signed,
                Some(
                    "message is larger than the 65536 octets that Graph takes in one request, and it is signed",
                ),
            ),
        ] {
            for (size, expected) in [(mail.len() as u64, expected), (65_536, None)] {
                let mut inspection = permit(keys).inspection().expect("looked at");
                mail.as_bytes().chunks(1000).for_each(|piece| inspection.feed(piece));
                let found = inspection.finish(size).map_err(|why| why.to_string());
                let is =
                    |expected: &str| found.as_ref().is_err_and(|why| why.starts_with(expected));
                assert!(expected.map_or(found.is_ok(), is), "{found:?}");
            }
        }
    }
}
