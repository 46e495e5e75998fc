//! Reads from a certificate who it is for and who issued it (X.509, RFC 5280 §4.1), for error messages.
//!
//! It decides nothing about trust and promises not to stumble over any octets: what cannot be read is
//! none.

/// The issuer's and the subject's names, as a person knows them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub issuer: String,
    pub subject: String,
}

const SEQUENCE: u8 = 0x30;
/// The explicit version at the front of a tbsCertificate.
const VERSION: u8 = 0xa0;
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];

impl Names {
    /// Reads a certificate in DER.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate, _) = element(der)?;
        let (_, mut rest, _) = element(certificate)?;
        if rest.first() == Some(&VERSION) {
            rest = element(rest)?.2;
        }
        let (_serial, _algorithm);
        (_, _serial, rest) = element(rest)?;
        (_, _algorithm, rest) = element(rest)?;
        let (_, issuer, rest) = element(rest)?;
        let (_, _validity, rest) = element(rest)?;
        let (_, subject, _) = element(rest)?;
        Some(Self { issuer: name(issuer), subject: name(subject) })
    }
}

/// Tag, content and what follows of the first element.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (octets, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if octets.len() > 4 {
            return None;
        }
        length = octets.iter().fold(0, |sum, octet| (sum << 8) | usize::from(*octet));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Common name and organization of a distinguished name, without control characters.
fn name(mut sets: &[u8]) -> String {
    let mut parts: Vec<String> = Vec::new();
    while let Some((_, set, rest)) = element(sets) {
        sets = rest;
        let Some((SEQUENCE, attribute, _)) = element(set) else { continue };
        let Some((_, kind, value)) = element(attribute) else { continue };
        let Some((_, value, _)) = element(value) else { continue };
        let text = String::from_utf8_lossy(value).replace(char::is_control, "?");
        match kind {
            COMMON_NAME => parts.insert(0, text),
            ORGANIZATION => parts.push(text),
            _ => {}
        }
    }
    if parts.is_empty() { "(no name)".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["mail.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Contoso \u{7}GmbH");
        params.distinguished_name.push(DnType::CommonName, "mail.example");
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn reads_both_names() {
        let names = Names::read(&certificate()).unwrap();
        assert_eq!(names.subject, "mail.example, Contoso ?GmbH");
        assert_eq!(names.issuer, names.subject);
    }

    #[test]
    fn no_octets_make_it_stumble() {
        let der = certificate();
        for cut in 0..der.len() {
            let _ = Names::read(&der[..cut]);
            let mut broken = der.clone();
            broken[cut] ^= 0xff;
            let _ = Names::read(&broken);
        }
        assert_eq!(Names::read(b""), None);
        assert_eq!(Names::read(&[0x30, 0x85, 1, 1, 1, 1, 1]), None);
    }
}
