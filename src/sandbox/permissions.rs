//! What people allowed which application, service by service: a token for anything else is refused.

use super::token::{is_graph, is_outlook};
use std::collections::{HashMap, HashSet};

/// By application and person; who never signed in for one allowed it everything.
#[derive(Default)]
pub(super) struct Consents(HashMap<(String, String), HashSet<String>>);

impl Consents {
    /// Somebody allowed an application this, besides what was allowed before.
    pub(super) fn allow(&mut self, client_id: &str, user: &str, scope: &str) {
        let words = scope.split_whitespace().filter_map(permission);
        self.0.entry(key(client_id, user)).or_default().extend(words);
    }

    /// Whether all of a scope was allowed.
    pub(super) fn allows(&self, client_id: &str, user: &str, scope: &str) -> bool {
        let Some(known) = self.0.get(&key(client_id, user)) else { return true };
        let service = |word: &str| word.split_once(' ').map(|(service, _)| service.to_owned());
        scope.split_whitespace().filter_map(permission).all(|word| {
            match word.ends_with(".default") {
                true => known.iter().any(|known| service(known) == service(&word)),
                false => known.contains(&word),
            }
        })
    }
}

fn key(client_id: &str, user: &str) -> (String, String) {
    (client_id.to_lowercase(), user.to_lowercase())
}

/// A word of a scope as `service name`, however the service is written; none for what belongs to none.
fn permission(word: &str) -> Option<String> {
    let (service, name) = match word.rsplit_once('/') {
        None if ["offline_access", "openid", "profile", "email"].contains(&word) => return None,
        None => ("graph", word),
        Some((own, name)) if is_graph(own) => ("graph", name),
        Some((own, name)) if is_outlook(own) => ("outlook", name),
        Some((own, name)) => (own, name),
    };
    Some(format!("{service} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b24_what_was_allowed_for_one_service_is_nothing_for_another() {
        let mut consents = Consents::default();
        assert!(consents.allows("app", "ann", "Mail.Send"), "who never signed in");
        consents.allow("APP", "Ann", "https://outlook.office.com/SMTP.Send offline_access");
        for (scope, expected) in [
            ("https://outlook.office365.com/SMTP.Send offline_access", true),
            ("https://outlook.office365.com/.default", true),
            ("https://graph.microsoft.com/Mail.Send", false),
            ("https://graph.microsoft.com/.default", false),
            ("Mail.Send", false),
            ("openid", true),
        ] {
            assert_eq!(consents.allows("app", "ann", scope), expected, "{scope}");
        }
        consents.allow("app", "ann", "https://graph.microsoft.com/Mail.Send");
        assert!(consents.allows("app", "ann", "Mail.Send"));
        assert!(!consents.allows("app", "ann", "Mail.ReadWrite"));
        assert!(consents.allows("app", "ann", "https://outlook.office.com/SMTP.Send"));
    }
}
