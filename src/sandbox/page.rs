//! The page for people: the mails, newest first. Pure.
//!
//! Everything from a mail is a stranger's text and is escaped.

use super::messages::Message;
use super::submission;
use super::world::Statistics;
use std::fmt::Write as _;
use std::sync::Arc;

/// Mails shown; older ones are in the JSON list.
const SHOWN: usize = 200;

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>submitd sandbox</title>\n\
<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3rem .6rem;text-align:left}\
td{overflow-wrap:anywhere}</style></head><body>\n<h1>submitd sandbox</h1>\n";

/// Writes the page.
pub(super) fn write(messages: &[Arc<Message>], statistics: &Statistics) -> String {
    let mut page = HEAD.to_owned();
    // Writing into a String cannot fail.
    let _ = writeln!(
        page,
        "<p>{} mails taken, {} refused; {} tokens given, {} requests refused; {} connections, {} at once at most. \
         <a href=\"/sandbox/statistics\">all counters</a> · <a href=\"/sandbox/faults\">faults</a> · \
         <a href=\"/sandbox/limits\">limits</a></p>",
        statistics.messages,
        statistics.message_refusals,
        statistics.tokens,
        statistics.token_refusals,
        statistics.connections,
        statistics.max_open_connections,
    );
    page.push_str("<table><tr><th>#</th><th>received</th><th>mailbox</th><th>from</th><th>to</th><th>subject</th><th>octets</th></tr>\n");
    for message in messages.iter().rev().take(SHOWN) {
        row(&mut page, message);
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

fn row(page: &mut String, message: &Message) {
    let sender = message.envelope.sender.as_ref().map_or("<>", |sender| sender.as_str());
    let subject = submission::header(&message.raw, "subject").unwrap_or_default();
    let _ = writeln!(
        page,
        "<tr><td><a href=\"/sandbox/messages/{n}\">{n}</a> <a href=\"/sandbox/messages/{n}/envelope\">envelope</a></td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        escape(&message.received),
        escape(&message.mailbox),
        escape(sender),
        escape(&message.recipients().join(", ")),
        escape(&subject),
        message.size,
        n = message.number,
    );
}

/// As text between tags and in quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_stays_text() {
        assert_eq!(
            escape("<b>\"a\" & 'b'\u{1b}"),
            "&lt;b&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}"
        );
    }
}
