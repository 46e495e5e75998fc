//! Words about failures: for the sender's report, for the log, for `status`. Pure.
//!
//! It promises that what a peer wrote comes out as one line without control characters.

use super::plan::Rules;
use super::verdict::explain;
use crate::diagnosis::exchange::Known;
use crate::diagnosis::fill;
use crate::smtp::{Enhanced, Reply};
use crate::upstream::{Failure, Fault};

/// Characters of a reason that are kept; Exchange writes more than a kilobyte.
const LONGEST_REASON: usize = 800;

/// What happened and what to do, for the sender.
pub fn explanation(failure: &Failure, known: Option<&'static Known>, rules: &Rules<'_>) -> String {
    let names = [("account", rules.account), ("mailbox", rules.mailbox.as_str())];
    let names = |text| fill(text, &names);
    if let Some(known) = known {
        return sentence(&format!("{}. What to do: {}", names(known.meaning), names(known.remedy)));
    }
    match (explain(failure), &failure.fault) {
        (Some(remedy), Fault::Tls(distrust)) => {
            return sentence(&format!("{}. What to do: {remedy}", clean(&distrust.what)));
        }
        (Some(remedy), Fault::Unfit(why)) => {
            return sentence(&format!(
                "{}. {}",
                clean(why),
                sentence(remedy).trim_end_matches('.')
            ));
        }
        (Some(remedy), fault @ Fault::Oversize { .. }) => {
            return sentence(&format!("{fault}. What to do: {remedy}"));
        }
        (Some(words), _) => return sentence(words),
        (None, _) => {}
    }
    match &failure.fault {
        Fault::Reply(reply) if reply.code >= 500 => {
            format!("The server refused it at {}.", failure.stage)
        }
        Fault::Reply(_) => format!("The server put it off at {}.", failure.stage),
        fault => format!("It went wrong at {}: {}.", failure.stage, clean(&fault.to_string())),
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// The upstream's own words, where it spoke.
pub fn diagnostic(failure: &Failure) -> Option<String> {
    match &failure.fault {
        Fault::Reply(reply) => Some(clean(&reply.to_string())),
        fault @ Fault::Http { .. } => Some(clean(&fault.to_string())),
        _ => None,
    }
}

/// The enhanced code of something that may pass.
pub fn temporary_status(failure: &Failure) -> Enhanced {
    match &failure.fault {
        Fault::Reply(Reply { enhanced: Some(enhanced @ Enhanced(4, ..)), .. }) => *enhanced,
        Fault::Reply(_) | Fault::Http { .. } => Enhanced(4, 0, 0),
        // RFC 3463 §3.5: no answer from host, bad connection.
        Fault::Dns(_) | Fault::Network(_) => Enhanced(4, 4, 1),
        _ => Enhanced(4, 4, 2),
    }
}

/// The enhanced code of a mail that was taken.
pub fn success_status(reply: &Reply) -> Enhanced {
    reply.enhanced.filter(|enhanced| enhanced.0 == 2).unwrap_or(Enhanced(2, 0, 0))
}

/// A peer's text as one line without control characters and without Exchange's diagnostic blob.
pub fn clean(text: &str) -> String {
    let text = match (text.find("[BeginDiagnosticData]"), text.find("[EndDiagnosticData]")) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}…{}", &text[..begin], &text[end + "[EndDiagnosticData]".len()..])
        }
        _ => text.to_owned(),
    };
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .take(LONGEST_REASON)
        .collect();
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_wrote_is_one_clean_line() {
        for (text, wanted) in [
            ("550 no", "550 no"),
            ("550 a\r\nid=forged\u{1b}[31m \u{2028}x \u{85}\0", "550 a  id=forged [31m  x"),
            (
                "554 denied [BeginDiagnosticData]1.2:00[EndDiagnosticData] [Hostname=x]",
                "554 denied … [Hostname=x]",
            ),
            (
                "[EndDiagnosticData] odd [BeginDiagnosticData]",
                "[EndDiagnosticData] odd [BeginDiagnosticData]",
            ),
            ("", ""),
        ] {
            assert_eq!(clean(text), wanted, "{text:?}");
        }
        assert_eq!(clean(&"ü".repeat(5000)).chars().count(), LONGEST_REASON);
    }
}
