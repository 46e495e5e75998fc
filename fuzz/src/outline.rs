//! The parts of a message: found the same however it is cut, and taken apart so that nothing is lost.

use super::input::Input;
use submitd::mail::apart::take_apart;
use submitd::mail::outline::{Outline, Parts};
use submitd::mail::transfer::Decoder;

/// First octet: how large the pieces are; second: how much may stay; then the message.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let (piece, share) = (usize::from(input.octet()) + 1, u64::from(input.octet()));
    let message = input.rest();
    let found = outline(message, message.len().max(1));
    assert_eq!(outline(message, piece), found, "in pieces of {piece}");
    let size = message.len() as u64;
    assert_eq!(found.size, size);
    let most = size * share / 256;
    let Ok(apart) = take_apart(found, most) else { return };
    let mut at = 0;
    for place in &apart.stays {
        assert!(at <= place.start && place.start < place.end && place.end <= size);
        at = place.end;
    }
    for file in &apart.files {
        assert!(file.name.is_some() && file.content.end <= file.place.end);
        let within = |at: u64| apart.stays.iter().any(|place| place.contains(&at));
        assert!(!file.content.clone().any(within), "an octet of a file stays");
        let content = &message[file.content.start as usize..file.content.end as usize];
        let (mut decoder, mut out) = (Decoder::new(file.transfer), Vec::new());
        for piece in content.chunks(piece) {
            decoder.take(piece, &mut out).expect("decoded before");
        }
        decoder.finish(&mut out).expect("decoded before");
        assert_eq!(out.len() as u64, file.size);
    }
}

fn outline(message: &[u8], piece: usize) -> Parts {
    let mut outline = Outline::default();
    message.chunks(piece).for_each(|piece| outline.feed(piece));
    outline.finish()
}
