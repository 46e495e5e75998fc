//! A message without an envelope: whatever the header holds, whoever receives it is exactly who was meant.

use super::input::{Input, bit};
use bytes::Bytes;
use mail_parser::{HeaderValue, MessageParser};
use std::collections::BTreeSet;
use submitd::mail::addressed::{Addressees, Strangers, settle};
use submitd::mail::{Address, Recipient, header, recipients};
use submitd::smtp::data::LineEnds;

const PEOPLE: [&str; 5] =
    ["a@x", "b@y.example", "C@z.example", "o'neill+tag@x", "gr\u{fc}n@b\u{e4}cker.example"];

/// First octet: who it is for, and what happens to strangers; then the header.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let switch = input.octet();
    let chosen = PEOPLE.iter().enumerate().filter(|(place, _)| bit(switch, *place as u32));
    let now: Vec<Recipient> =
        chosen.map(|(_, text)| Recipient::new(Address::parse(text).expect("address"))).collect();
    let strangers = if bit(switch, 5) { Strangers::Rewrite } else { Strangers::Refuse };
    let to = Addressees { now: &now, ever: &now };
    // As it is: nothing may be sent of it but what is read without doubt.
    let _ = settle(input.rest(), to, strangers);
    let message = LineEnds::default().mend(Bytes::copy_from_slice(input.rest()), true).to_vec();
    let end = header::find_end(&message, true).expect("nothing follows");
    let fields = &message[..end.header];
    let Ok(settled) = settle(fields, to, strangers) else { return };
    let wanted: BTreeSet<String> = now.iter().map(|one| lower(one.address.as_str())).collect();
    assert_eq!(receivers(&settled), wanted, "{}", settled.escape_ascii());
    let is_delivered =
        |name: &str| ["to", "cc", "bcc"].iter().any(|one| one.eq_ignore_ascii_case(name));
    for field in header::fields(&settled).filter(|field| is_delivered(field.name)) {
        let all = recipients::list(field.value()).expect("read without doubt");
        assert!(all.iter().all(|one| wanted.contains(&lower(one.as_str()))));
    }
    // Again it is as it is.
    let again = settle(&settled, to, Strangers::Refuse).expect("settled");
    assert_eq!(again, settled);
}

fn lower(text: &str) -> String {
    text.to_lowercase()
}

/// To, Cc and Bcc as a whole message shows them.
fn receivers(fields: &[u8]) -> BTreeSet<String> {
    let message = [fields, b"\r\ntext\r\n"].concat();
    let Some(message) = MessageParser::default().parse(&message) else { return BTreeSet::new() };
    let is_delivered =
        |name: &str| ["to", "cc", "bcc"].iter().any(|one| one.eq_ignore_ascii_case(name));
    let all = message.headers().iter().filter(|field| is_delivered(field.name.as_str()));
    let addresses = all.filter_map(|field| match &field.value {
        HeaderValue::Address(all) => Some(all),
        _ => None,
    });
    let texts = addresses.flat_map(|all| all.iter()).filter_map(|one| one.address.as_deref());
    texts.map(lower).collect()
}
