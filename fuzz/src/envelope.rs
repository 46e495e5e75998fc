//! Envelopes as they lie in the queue: what is on the disk is read or refused, never guessed, and what was
//! read is written to the same.

use submitd::mail::{Envelope, Id};

/// JSON.
pub fn check(octets: &[u8]) {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(octets) {
        let json = serde_json::to_string(&envelope).expect("JSON");
        assert_eq!(serde_json::from_str::<Envelope>(&json).ok(), Some(envelope), "{json}");
    }
    if let Ok(id) = serde_json::from_slice::<Id>(octets) {
        let json = serde_json::to_string(&id).expect("JSON");
        assert_eq!(serde_json::from_str::<Id>(&json).ok(), Some(id), "{json}");
    }
}
