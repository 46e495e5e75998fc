//! How mail addresses, patterns of them and domains are written.

use super::tree::Node;
use super::value::{Written, Wrong, each, list, quote, text};
use crate::mail::{Address, Pattern};

impl Written for Address {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let text = text(node)?;
        let remedy = "write user@domain";
        match Self::parse(text) {
            Ok(address) if address.domain().is_some() => Ok(address),
            Ok(_) => Err(vec![Wrong::new(format!("{text:?} has no domain"), remedy)]),
            Err(error) => Err(vec![Wrong::new(format!("{text:?}: {error}"), remedy)]),
        }
    }
    fn write(&self) -> String {
        quote(self.as_str())
    }
}

/// Patterns of addresses.
impl Written for Vec<Pattern> {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        const REMEDY: &str = "write \"user@domain\", \"@domain\" or \"*\"";
        let all = each(node, "a list of addresses", |node| {
            let text = text(node)?;
            let wrong = || Wrong::new(format!("{text:?} is no address or domain"), REMEDY);
            Pattern::parse(text).ok_or_else(wrong)
        })?;
        if all.is_empty() {
            return Err(vec![Wrong::new("allows nobody", REMEDY)]);
        }
        Ok(all)
    }
    fn write(&self) -> String {
        list(self.iter().map(|pattern| quote(&pattern.to_string())))
    }
}

/// The domain of an address.
pub(super) struct Domain(pub String);

impl Written for Domain {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let text = text(node)?;
        let address = Address::parse(&format!("a@{text}")).ok();
        let domain = address.as_ref().and_then(Address::domain);
        if domain != Some(text) {
            let what = format!("{text:?} is no domain");
            return Err(Wrong::new(what, "write a domain such as \"contoso.com\"").into());
        }
        Ok(Self(text.to_owned()))
    }
    fn write(&self) -> String {
        quote(&self.0)
    }
}
