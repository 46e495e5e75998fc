//! A number of something at most, or no bound. Pure.

use super::tree::{Node, Value};
use super::value::{Written, Wrong, integer, quote};

/// A limit, or the word `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// At most this many, 1 or more.
    AtMost(u32),
    /// The word `unlimited`.
    Unlimited,
}

impl Written for Limit {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        const REMEDY: &str = "write a number from 1, or \"unlimited\"";
        if let Value::Text(word) = &node.value {
            if word == "unlimited" {
                return Ok(Self::Unlimited);
            }
            if !node.is_from_environment() || word.parse::<i128>().is_err() {
                return Err(vec![Wrong::new(format!("{word:?} is not a number"), REMEDY)]);
            }
        }
        match integer(node)? {
            0 => Err(vec![Wrong::new("0 would stop all mail", REMEDY)]),
            number => u32::try_from(number)
                .map(Self::AtMost)
                .map_err(|_| vec![Wrong::new(format!("{number} is out of range"), REMEDY)]),
        }
    }
    fn write(&self) -> String {
        match self {
            Self::AtMost(number) => number.to_string(),
            Self::Unlimited => quote("unlimited"),
        }
    }
}
