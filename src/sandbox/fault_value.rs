//! The values that faults have in JSON: counted, switched, an Entra error, a reply.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// A fault with an optional number of times. In JSON the bare value, or `{"what": value, "times": 2}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault<T> {
    /// What happens.
    pub what: T,
    /// How often it still happens; none is always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

impl<T> Fault<T> {
    /// Until it is switched off.
    pub fn always(what: T) -> Self {
        Self { what, times: None }
    }

    /// So many times.
    pub fn times(what: T, times: u32) -> Self {
        Self { what, times: Some(times) }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fault<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written<T> {
            Counted {
                what: T,
                #[serde(default)]
                times: Option<u32>,
            },
            Bare(T),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Counted { what, times } => Self { what, times },
            Written::Bare(what) => Self::always(what),
        })
    }
}

/// Takes one time off the fault; gone when it was the last.
pub(super) fn take<T: Clone>(slot: &mut Option<Fault<T>>) -> Option<T> {
    let fault = slot.as_mut()?;
    match &mut fault.times {
        None => Some(fault.what.clone()),
        Some(left) => {
            *left = left.saturating_sub(1);
            let (over, what) = (*left == 0, fault.what.clone());
            if over {
                *slot = None;
            }
            Some(what)
        }
    }
}

/// As [`take`], for a fault in a table.
pub(super) fn take_from<K, Q, T>(table: &mut BTreeMap<K, Fault<T>>, key: &Q) -> Option<T>
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
    T: Clone,
{
    let fault = table.get_mut(key)?;
    let what = fault.what.clone();
    if let Some(left) = &mut fault.times {
        *left = left.saturating_sub(1);
        if *left == 0 {
            table.remove(key);
        }
    }
    Some(what)
}

/// On, off, or on for a number of times. In JSON `true`, `false` or the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// It does not happen.
    #[default]
    Off,
    /// It always happens.
    On,
    /// It happens so many times more.
    Times(u32),
}

impl Switch {
    /// Whether it happens now; counts it.
    pub(super) fn take(&mut self) -> bool {
        match *self {
            Self::Off | Self::Times(0) => false,
            Self::On => true,
            Self::Times(1) => {
                *self = Self::Off;
                true
            }
            Self::Times(left) => {
                *self = Self::Times(left - 1);
                true
            }
        }
    }
}

impl Serialize for Switch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Off => serializer.serialize_bool(false),
            Self::On => serializer.serialize_bool(true),
            Self::Times(left) => serializer.serialize_u32(left),
        }
    }
}

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Always(bool),
            Times(u32),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Always(true) => Self::On,
            Written::Always(false) | Written::Times(0) => Self::Off,
            Written::Times(times) => Self::Times(times),
        })
    }
}

/// The number of an Entra error; in JSON `"AADSTS50196"` or the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aadsts(pub u32);

impl Serialize for Aadsts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("AADSTS{}", self.0))
    }
}

impl<'de> Deserialize<'de> for Aadsts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => text
                .trim_start_matches("AADSTS")
                .parse()
                .map(Self)
                .map_err(|_| D::Error::custom("an Entra error is written AADSTS50196")),
        }
    }
}

/// A whole reply, `451 4.7.500 Server busy`; further lines behind `\n`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ReplyText(String);

impl ReplyText {
    /// Takes a reply; none where it is no three-digit code from 200 to 599 and a text.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let code: u16 = text.get(..3)?.parse().ok()?;
        let space = text.as_bytes().get(3).is_none_or(|octet| *octet == b' ');
        let clean = !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
        ((200..600).contains(&code) && space && clean).then_some(Self(text))
    }

    /// The reply for the machine: everything behind the code is text, an enhanced code too.
    pub(super) fn to_reply(&self) -> crate::smtp::Reply {
        let code = self.0[..3].parse().unwrap_or(451);
        let text = self.0.get(4..).unwrap_or_default().to_owned();
        crate::smtp::Reply { code, enhanced: None, text: text.into() }
    }
}

impl<'de> Deserialize<'de> for ReplyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a reply is written \"451 4.7.0 text\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_down_and_is_gone() {
        let mut slot = Some(Fault::times(1, 2));
        assert_eq!([take(&mut slot), take(&mut slot), take(&mut slot)], [Some(1), Some(1), None]);
        let mut switch = Switch::Times(2);
        assert_eq!([switch.take(), switch.take(), switch.take()], [true, true, false]);
        let mut table = BTreeMap::from([("a".to_owned(), Fault::times(1, 1))]);
        assert_eq!([take_from(&mut table, "a"), take_from(&mut table, "a")], [Some(1), None]);
        let mut always = Some(Fault::always(1));
        assert_eq!([take(&mut always), take(&mut always)], [Some(1), Some(1)]);
    }
}
