//! DER as far as certificates and PKCS#12 need it (X.690 §8.1, §10.1). Pure.
//!
//! It promises never to read beyond what it was given. It reads definite lengths only.

/// Tags of ours.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed: what is tagged explicitly stands inside.
pub(super) const ZERO: u8 = 0xa0;

/// Tag, content and what follows.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let octets = usize::from(first & 0x7f);
        if octets == 0 || octets > 3 {
            return None;
        }
        let (long, after) = rest.split_at_checked(octets)?;
        length = long.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// What is read one after another.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a>(pub &'a [u8]);

impl<'a> Walk<'a> {
    /// The next element, whatever it is.
    pub fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, content, rest) = element(self.0)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next, which must have this tag.
    pub fn one(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        match self.any() {
            Some((found, content)) if found == tag => Some(content),
            _ => {
                self.0 = before;
                None
            }
        }
    }

    /// The next, a sequence, to be walked in its turn.
    pub fn inside(&mut self) -> Option<Walk<'a>> {
        self.one(SEQUENCE).map(Walk)
    }

    /// The next, a whole number from 0 on that is not large.
    pub fn number(&mut self) -> Option<u32> {
        let octets = self.one(INTEGER)?;
        let octets = octets.strip_prefix(&[0]).unwrap_or(octets);
        (octets.len() <= 4)
            .then(|| octets.iter().fold(0, |all, octet| all << 8 | u32::from(*octet)))
    }

    /// Whether nothing is left.
    pub fn is_done(self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_within_their_bounds() {
        for (der, expected) in [
            (&[0x04, 0x02, 1, 2, 3][..], Some((4, &[1, 2][..], &[3][..]))),
            (&[0x30, 0x81, 0x01, 9], Some((0x30, &[9], &[]))),
            (&[0x04, 0x82, 0x00, 0x01, 7], Some((4, &[7], &[]))),
            (&[0x04, 0x00], Some((4, &[], &[]))),
            (&[0x04, 0x03, 1, 2], None),
            (&[0x04, 0x80, 1, 0, 0], None),
            (&[0x04, 0x84, 0, 0, 0, 1, 7], None),
            (&[0x04], None),
            (&[], None),
        ] {
            assert_eq!(element(der), expected, "{der:?}");
        }
    }

    #[test]
    fn numbers_are_small_and_positive() {
        for (der, expected) in [
            (&[0x02, 0x01, 0x03][..], Some(3)),
            (&[0x02, 0x02, 0x08, 0x00], Some(2048)),
            (&[0x02, 0x02, 0x00, 0xff], Some(255)),
            (&[0x02, 0x05, 0x00, 0xff, 0xff, 0xff, 0xff], Some(u32::MAX)),
            (&[0x02, 0x05, 0x01, 0, 0, 0, 0], None),
            (&[0x04, 0x01, 0x03], None),
        ] {
            assert_eq!(Walk(der).number(), expected, "{der:?}");
        }
    }
}
