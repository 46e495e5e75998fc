//! An EHLO reply: nothing is offered twice or made up, and our own offer is read as it was meant.

use submitd::smtp::Reply;
use submitd::smtp::extension::Extension;
use submitd::smtp::offer::Offer;
use submitd::smtp::sasl::Mechanism;

const MECHANISMS: &[Mechanism] =
    &[Mechanism::Plain, Mechanism::Login, Mechanism::XOAuth2, Mechanism::OAuthBearer];
const EXTENSIONS: &[Extension] = &[
    Extension::Auth,
    Extension::BinaryMime,
    Extension::Chunking,
    Extension::Dsn,
    Extension::EightBitMime,
    Extension::EnhancedStatusCodes,
    Extension::Pipelining,
    Extension::Size,
    Extension::SmtpUtf8,
    Extension::StartTls,
];

/// The text of the reply, its lines parted by LF.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets).into_owned();
    let offer = Offer::read(&Reply { code: 250, enhanced: None, text: text.clone().into() });
    let upper = text.to_ascii_uppercase();
    for (at, extension) in offer.extensions.iter().enumerate() {
        assert!(!offer.extensions[..at].contains(extension), "{extension:?} twice");
        assert!(upper.contains(extension.keyword()), "{extension:?} was not offered");
    }
    for (at, mechanism) in offer.mechanisms.iter().enumerate() {
        assert!(!offer.mechanisms[..at].contains(mechanism), "{mechanism} twice");
        assert!(offer.has_mechanism(mechanism) && upper.contains(mechanism.as_str()));
    }
    assert!(offer.mechanisms.is_empty() || offer.has(Extension::Auth));
    assert!(offer.max_size.is_none() || offer.has(Extension::Size));
    assert_ne!(offer.max_size, Some(0), "0 means no limit (RFC 1870 §3)");
    ours(octets);
}

/// The octets choose extensions and size.
fn ours(octets: &[u8]) {
    let size = 1 + octets
        .iter()
        .fold(0_u64, |sum, octet| sum.wrapping_mul(31).wrapping_add((*octet).into()))
        / 2;
    let mut extensions: Vec<Extension> = Vec::new();
    for octet in octets.iter().take(12) {
        let extension = EXTENSIONS[usize::from(*octet) % EXTENSIONS.len()];
        if !extensions.contains(&extension) {
            extensions.push(extension);
        }
    }
    let mechanisms = &MECHANISMS[..octets.len() % (MECHANISMS.len() + 1)];
    let lines = extensions.iter().map(|extension| extension.line(mechanisms, size));
    let text = std::iter::once("relay.example hello".to_owned()).chain(lines).collect::<Vec<_>>();
    let offer = Offer::read(&Reply { code: 250, enhanced: None, text: text.join("\n").into() });
    assert_eq!(offer.extensions, extensions);
    let has = |extension| extensions.contains(&extension);
    assert_eq!(offer.max_size, has(Extension::Size).then_some(size));
    let names: Vec<&str> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
    assert_eq!(offer.mechanisms, if has(Extension::Auth) { names } else { vec![] });
}
