//! Addresses: printed as they were read, in a command line, in JSON, in a report.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use submitd::mail::Address;
use submitd::smtp::command;

/// The text of an address; with a line end in it, two.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let found: Vec<Address> = text
        .split('\n')
        .filter_map(|text| Address::parse(text).ok().inspect(|a| one(a, text)))
        .collect();
    if let [a, b, ..] = &found[..] {
        assert_eq!(a.is_same_mailbox(b), b.is_same_mailbox(a));
        assert_eq!(a == b, hash(a) == hash(b));
        assert!(a != b || a.is_same_mailbox(b));
    }
}

fn one(address: &Address, text: &str) {
    assert_eq!(address.as_str(), text);
    assert_eq!(address.to_string().parse::<Address>().as_ref(), Ok(address));
    let parts = match address.domain() {
        Some(domain) => format!("{}@{domain}", address.local()),
        None => address.local().to_owned(),
    };
    assert_eq!(parts, text);
    // As it goes upstream, it is that mailbox there and nothing else.
    let line = format!("MAIL FROM:<{address}> SIZE=1");
    let Ok(command::Command::Mail(argument)) = command::parse(&line) else {
        panic!("{line:?} is no MAIL");
    };
    assert_eq!(command::sender(argument), Ok((Some(address.clone()), "SIZE=1")));
    let json = serde_json::to_string(address).expect("JSON");
    assert_eq!(serde_json::from_str::<Address>(&json).ok().as_ref(), Some(address));
    assert!(address.is_same_mailbox(address));
}

fn hash(address: &Address) -> u64 {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    hasher.finish()
}
