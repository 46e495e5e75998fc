//! A pattern of addresses as `senders` and `recipients` have it: `a@b`, `@domain`, `*`.
//!
//! It promises that a pattern never takes more than is written: `@contoso.com` is that domain and none
//! below it, quotes and trailing dots part addresses. Only case does not count.

use super::Address;

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This address.
    Exact(Address),
    /// Every address of this domain; in small letters, without the `@`.
    Domain(Box<str>),
    /// Every address.
    Any,
}

/// How closely a pattern fits: the smaller, the closer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The address itself is written.
    Exact,
    /// Its domain is written.
    Domain,
    /// `*` is written.
    Any,
}

impl Pattern {
    /// Reads `a@b`, `@b` or `*`; none where it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        match text.strip_prefix('@') {
            // A local part is lent so that the domain is judged as an address's is.
            Some(domain) => Address::parse(&format!("a@{domain}"))
                .ok()
                .filter(|address| address.domain() == Some(domain))
                .map(|_| Self::Domain(domain.to_lowercase().into())),
            None => Address::parse(text).ok().map(Self::Exact),
        }
    }

    /// How closely it fits an address; none where it does not.
    pub fn fit(&self, address: &Address) -> Option<Fit> {
        let (fits, how) = match self {
            Self::Exact(own) => (own.is_same_mailbox(address), Fit::Exact),
            Self::Domain(own) => {
                let domain = address.domain().map(str::to_lowercase);
                (domain.as_deref() == Some(own), Fit::Domain)
            }
            Self::Any => (true, Fit::Any),
        };
        fits.then_some(how)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(address) => f.write_str(address.as_str()),
            Self::Domain(domain) => write!(f, "@{domain}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// The closest fit of several patterns.
pub fn closest(patterns: &[Pattern], address: &Address) -> Option<Fit> {
    patterns.iter().filter_map(|pattern| pattern.fit(address)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a23_a_pattern_takes_what_is_written_and_no_more() {
        for (pattern, address, expected) in [
            ("erp@contoso.com", "ERP@Contoso.COM", Some(Fit::Exact)),
            ("erp@contoso.com", "\"erp\"@contoso.com", None),
            ("erp@contoso.com", "erp@contoso.com.", None),
            ("erp@contoso.com", "xerp@contoso.com", None),
            ("@contoso.com", "any@contoso.COM", Some(Fit::Domain)),
            ("@Contoso.com", "any@contoso.com", Some(Fit::Domain)),
            ("@contoso.com", "any@mail.contoso.com", None),
            ("@contoso.com", "any@notcontoso.com", None),
            ("@contoso.com", "\"a@contoso.com\"@evil.example", None),
            ("@contoso.com", "root", None),
            ("root", "root", Some(Fit::Exact)),
            ("*", "root", Some(Fit::Any)),
            ("*", "a@b", Some(Fit::Any)),
        ] {
            let found = Pattern::parse(pattern).expect(pattern);
            let address = Address::parse(address).expect(address);
            assert_eq!(found.fit(&address), expected, "{pattern} {address}");
        }
        for text in ["", "@", "@a..b", "a@", "a b@c", "@a@b", "**@", "@b c"] {
            assert_eq!(Pattern::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_closest_pattern_counts() {
        let all: Vec<_> =
            ["*", "@b", "a@b"].iter().filter_map(|text| Pattern::parse(text)).collect();
        let address = |text| Address::parse(text).expect("address");
        assert_eq!(closest(&all, &address("a@b")), Some(Fit::Exact));
        assert_eq!(closest(&all, &address("c@b")), Some(Fit::Domain));
        assert_eq!(closest(&all, &address("c@d")), Some(Fit::Any));
        assert_eq!(closest(&all[1..], &address("c@d")), None);
    }
}
