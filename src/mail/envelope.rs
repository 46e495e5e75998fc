//! Who sends to whom, and what the client asked for (RFC 5321 §2.3.1, 3461, 6152, 6531).
//!
//! Parameters are kept as the client wrote them, so that they can be passed on unchanged.

use super::Address;
use serde::{Deserialize, Serialize};

/// The envelope of one mail; by default it is from and to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// MAIL FROM; none is the null sender `<>` of a report.
    pub sender: Option<Address>,
    /// What `BODY=` said.
    #[serde(default)]
    pub body: BodyKind,
    /// Whether SMTPUTF8 was asked for (RFC 6531 §3.4).
    #[serde(default)]
    pub smtputf8: bool,
    /// `RET=` (RFC 3461 §4.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// `ENVID=`, still in xtext (RFC 3461 §4.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// RCPT TO, in the client's order. At least one in a mail that was taken.
    pub recipients: Vec<Recipient>,
}

/// One RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address.
    pub address: Address,
    /// `NOTIFY=` (RFC 3461 §4.1); none = not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// `ORCPT=`, as written: type, `;`, xtext (RFC 3461 §4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
}

impl Recipient {
    /// A recipient without parameters.
    pub fn new(address: Address) -> Self {
        Self { address, notify: None, orcpt: None }
    }
}

/// What the body may hold (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// Nothing was declared. Old programs send 8 bits all the same.
    #[default]
    Undeclared,
    /// `BODY=7BIT`.
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
    /// `BODY=BINARYMIME`.
    BinaryMime,
}

/// How much of the mail a report shall hold (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ret {
    /// `RET=FULL`.
    Full,
    /// `RET=HDRS`.
    Headers,
}

/// When the sender wants a report (RFC 3461 §4.1). All false is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// `SUCCESS`.
    pub success: bool,
    /// `FAILURE`.
    pub failure: bool,
    /// `DELAY`.
    pub delay: bool,
}

impl Notify {
    /// `NOTIFY=NEVER`.
    pub const NEVER: Notify = Notify { success: false, failure: false, delay: false };

    /// Whether it is `NEVER`.
    pub fn is_never(self) -> bool {
        self == Self::NEVER
    }
}
