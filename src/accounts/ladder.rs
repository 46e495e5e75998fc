//! Which account a mail goes through. Pure.
//!
//! By user, by network, by sender address, by default, in this order. User and network say which
//! accounts are granted; the sender only chooses among these, so that a mere MAIL FROM never opens an
//! account that was kept for others.

use crate::config::Account;
use crate::mail::Address;
use crate::mail::pattern::{self, Fit};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a client and its mail.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Accounts its login grants, the usual one first; empty: none in particular.
    pub granted: &'a [String],
    /// Its address; none over a Unix socket.
    pub peer: Option<IpAddr>,
    /// MAIL FROM; none is `<>`.
    pub sender: Option<&'a Address>,
    /// The listener's account.
    pub default: Option<&'a str>,
    /// Accounts that users name.
    pub reserved: &'a HashSet<String>,
}

/// The account; none where nothing says which.
pub fn choose<'a>(accounts: &'a [Arc<Account>], asker: &Asker<'_>) -> Option<&'a Arc<Account>> {
    let named = |name: &str| accounts.iter().find(|account| account.name == name);
    let default = asker.default.and_then(named);
    let of_user: Vec<_> = asker.granted.iter().filter_map(|name| named(name)).collect();
    if let Some(usual) = of_user.first() {
        return by_sender(&of_user, asker.sender).or(Some(usual));
    }
    let of_network = by_network(accounts, asker.peer);
    if !of_network.is_empty() {
        let among =
            |default: &&Arc<Account>| of_network.iter().any(|one| Arc::ptr_eq(one, default));
        let only = of_network.first().copied().filter(|_| of_network.len() == 1);
        return by_sender(&of_network, asker.sender).or(only).or(default.filter(among));
    }
    let is_kept = |account: &Account| {
        !account.networks.is_empty()
            || (accounts.len() > 1 && asker.reserved.contains(&account.name))
    };
    let is_default = |account: &Account| Some(account.name.as_str()) == asker.default;
    let open: Vec<_> =
        accounts.iter().filter(|account| is_default(account) || !is_kept(account)).collect();
    let only = open.first().copied().filter(|_| accounts.len() == 1);
    by_sender(&open, asker.sender).or(default).or(only)
}

/// The accounts of the smallest network that holds the address.
fn by_network(accounts: &[Arc<Account>], peer: Option<IpAddr>) -> Vec<&Arc<Account>> {
    let Some(peer) = peer else { return Vec::new() };
    let prefix = |account: &Account| {
        let holds = account.networks.iter().filter(|network| network.contains(peer));
        holds.map(|network| network.prefix).max()
    };
    let longest = accounts.iter().filter_map(|account| prefix(account)).max();
    let Some(longest) = longest else { return Vec::new() };
    accounts.iter().filter(|account| prefix(account) == Some(longest)).collect()
}

/// The account whose mailbox or `senders` fit closest; of equals the first.
fn by_sender<'a>(
    granted: &[&'a Arc<Account>],
    sender: Option<&Address>,
) -> Option<&'a Arc<Account>> {
    let sender = sender?;
    let fit = |account: &Account| {
        if account.mailbox.is_same_mailbox(sender) {
            return Some(Fit::Exact);
        }
        pattern::closest(&account.senders, sender)
    };
    let fitting = granted.iter().filter_map(|account| Some((fit(account)?, *account)));
    fitting.min_by_key(|(fit, _)| *fit).map(|(_, account)| account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Accounts by name and further keys.
    fn accounts(all: &[(&str, &str)]) -> Vec<Arc<Account>> {
        let text: String = all
            .iter()
            .map(|(name, keys)| {
                format!(
                    "[[account]]\nname = {name:?}\nmailbox = \"{name}@contoso.com\"\n\
                     grant = \"client_credentials\"\ntenant = \"contoso.com\"\n\
                     client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\n\
                     client_secret = \"x\"\n{keys}\n"
                )
            })
            .collect();
        Config::from_text("submitd.toml", &text, &[]).expect("sound").accounts
    }

    /// User's accounts, address, sender, listener's account, and what is chosen.
    type Row<'a> = (&'a [&'a str], &'a str, &'a str, Option<&'a str>, Option<&'a str>);

    fn check(accounts: &[Arc<Account>], reserved: &[&str], rows: &[Row<'_>]) {
        let reserved = reserved.iter().map(|name| (*name).to_owned()).collect();
        for row in rows {
            let (granted, peer, sender, default, expected) = *row;
            let granted: Vec<String> = granted.iter().map(|name| (*name).to_owned()).collect();
            let sender = Address::parse(sender).ok();
            let asker = Asker {
                granted: &granted,
                peer: peer.parse().ok(),
                sender: sender.as_ref(),
                default,
                reserved: &reserved,
            };
            let found = choose(accounts, &asker).map(|account| account.name.as_str());
            assert_eq!(found, expected, "{row:?}");
        }
    }

    #[test]
    fn a_single_account_takes_all_but_what_its_networks_shut_out() {
        let here = "127.0.0.1";
        check(
            &accounts(&[("erp", "")]),
            &["erp"],
            &[
                (&[], here, "x@y", None, Some("erp")),
                (&[], here, "", None, Some("erp")),
                (&[], "", "x@y", None, Some("erp")),
                (&["erp"], here, "x@y", None, Some("erp")),
            ],
        );
        check(
            &accounts(&[("erp", "networks = \"10.0.0.0/8\"")]),
            &[],
            &[
                (&[], "10.1.1.1", "x@y", None, Some("erp")),
                (&[], here, "x@y", None, None),
                (&[], here, "erp@contoso.com", None, None),
                (&["erp"], here, "x@y", None, Some("erp")),
                (&[], here, "x@y", Some("erp"), Some("erp")),
            ],
        );
    }

    #[test]
    fn user_before_network_before_sender_before_default() {
        let all = accounts(&[
            ("erp", "senders = [\"*\"]"),
            ("hr", "senders = [\"jobs@contoso.com\", \"@hr.contoso.com\"]"),
            ("print", "networks = [\"10.0.0.0/8\"]"),
            ("floor2", "networks = [\"10.2.0.0/16\"]"),
            ("plotter", "networks = [\"10.2.0.0/16\"]\nsenders = [\"plot@contoso.com\"]"),
            ("payroll", ""),
        ]);
        let here = "127.0.0.1";
        let both: &[&str] = &["hr", "payroll"];
        check(
            &all,
            &["payroll", "hr"],
            &[
                // The user's accounts, whatever address and listener say.
                (&["payroll"], "10.2.0.1", "hr@contoso.com", Some("erp"), Some("payroll")),
                (both, here, "payroll@contoso.com", Some("erp"), Some("payroll")),
                (both, here, "x@hr.contoso.com", None, Some("hr")),
                (both, here, "x@y", Some("erp"), Some("hr")),
                (both, here, "", None, Some("hr")),
                // The smallest network, among its accounts by sender.
                (&[], "10.9.9.9", "hr@contoso.com", Some("erp"), Some("print")),
                (&[], "10.2.9.9", "plot@contoso.com", Some("erp"), Some("plotter")),
                (&[], "10.2.9.9", "x@y", Some("plotter"), Some("plotter")),
                (&[], "10.2.9.9", "x@y", Some("erp"), None),
                (&[], "::ffff:10.9.9.9", "x@y", None, Some("print")),
                // By sender among what is open to all; hr and payroll are kept for their users.
                (&[], here, "x@y", None, Some("erp")),
                (&[], here, "jobs@contoso.com", None, Some("erp")),
                (&[], here, "payroll@contoso.com", None, Some("erp")),
                (&[], here, "plot@contoso.com", None, Some("erp")),
                (&[], here, "jobs@contoso.com", Some("hr"), Some("hr")),
                (&[], here, "", None, None),
                (&[], here, "", Some("payroll"), Some("payroll")),
            ],
        );
    }

    #[test]
    fn exact_before_domain_before_any_and_the_first_of_equals() {
        let all = accounts(&[
            ("any", "senders = [\"*\"]"),
            ("domain", "senders = [\"@contoso.com\"]"),
            ("exact", "senders = [\"a@contoso.com\"]"),
            ("also", "senders = [\"a@contoso.com\", \"*\"]"),
        ]);
        let here = "127.0.0.1";
        check(
            &all,
            &[],
            &[
                (&[], here, "A@contoso.com", None, Some("exact")),
                (&[], here, "also@contoso.com", None, Some("also")),
                (&[], here, "b@contoso.com", None, Some("domain")),
                (&[], here, "b@example.org", Some("exact"), Some("any")),
                (&["also", "exact"], here, "a@contoso.com", None, Some("also")),
            ],
        );
        check(
            &accounts(&[("a", ""), ("b", "")]),
            &[],
            &[
                (&[], here, "b@contoso.com", Some("a"), Some("b")),
                (&[], here, "x@y", Some("a"), Some("a")),
                (&[], here, "x@y", None, None),
            ],
        );
    }
}
