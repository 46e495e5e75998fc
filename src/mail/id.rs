//! The queue id: what logs, replies and the command line call a mail.
//!
//! Sixteen characters of lower-case Crockford base 32: ten of the time in milliseconds, six random.
//! Ids of later mails sort behind earlier ones.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 16;

/// A queue id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id([u8; LENGTH]);

/// The text is no queue id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a queue id: 16 characters of 0-9 and a-z are expected")]
pub struct IdError;

impl Id {
    /// An id for this moment; only the low 30 bits of `random` count.
    pub fn new(now: SystemTime, random: u32) -> Self {
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
        let mut value = (millis << 30) | u128::from(random & ((1 << 30) - 1));
        let mut text = [0; LENGTH];
        for slot in text.iter_mut().rev() {
            *slot = ALPHABET[(value & 31) as usize];
            value >>= 5;
        }
        Self(text)
    }

    /// The sixteen characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().map_err(|_| IdError)?;
        if bytes.iter().all(|byte| ALPHABET.contains(byte)) {
            Ok(Self(bytes))
        } else {
            Err(IdError)
        }
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_sorts_by_time() {
        let early = Id::new(UNIX_EPOCH + Duration::from_millis(1_700_000_000_000), u32::MAX);
        let late = Id::new(UNIX_EPOCH + Duration::from_millis(1_700_000_000_001), 0);
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(late.as_str().len(), 16);
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "0", "0123456789abcdeI", "0123456789abcde\n", "0123456789abcdeff"] {
            assert_eq!(text.parse::<Id>(), Err(IdError), "{text:?}");
        }
    }
}
