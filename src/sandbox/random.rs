//! Randomness in the shapes that the imitated services use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

/// So many random octets. Should the system have none, they are zero: nothing here guards anything.
pub(super) fn octets<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    let _ = SystemRandom::new().fill(&mut octets);
    octets
}

/// A random number.
pub(super) fn number() -> u32 {
    u32::from_be_bytes(octets())
}

/// Upper-case hexadecimal digits, two an octet: `08DE2A6028D26C22`.
pub(super) fn hex<const N: usize>() -> String {
    octets::<N>().iter().map(|octet| format!("{octet:02X}")).collect()
}

/// A random GUID of version 4, in lower case.
pub(super) fn guid() -> String {
    let mut octets = octets::<16>();
    octets[6] = octets[6] & 0x0f | 0x40;
    octets[8] = octets[8] & 0x3f | 0x80;
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// URL-safe base 64 of so many random octets.
pub(super) fn base64url<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(octets::<N>())
}

/// Whether the text is a GUID.
pub(super) fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, octet)| match index {
            8 | 13 | 18 | 23 => octet == b'-',
            _ => octet.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_look_like_guids() {
        let guid = guid();
        assert!(is_guid(&guid), "{guid}");
        assert_ne!(guid, super::guid());
        for text in [
            "",
            "contoso",
            "0f8fad5b-d9cb-469f-a165-70867728950",
            "0f8fad5b_d9cb-469f-a165-70867728950e",
        ] {
            assert!(!is_guid(text), "{text}");
        }
    }
}
