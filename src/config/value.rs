//! How single values are written: text, numbers, durations, sizes, limits, words.
//!
//! It promises that what [`Written::write`] gives is read back as the same value. A refusal names what
//! was found and what to write instead.

use super::tree::{Node, Origin, Value};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Why a value cannot be taken; it holds no secret.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The element of a list that is wrong; none = the whole value.
    pub at: Option<Origin>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

impl Wrong {
    /// A refusal of the whole value.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at: None, what: what.into(), remedy: remedy.into() }
    }
}

/// A value of the configuration as it is written in TOML.
pub(super) trait Written: Sized {
    /// Reads what was written.
    fn read(node: &Node) -> Result<Self, Vec<Wrong>>;
    /// Writes it in TOML.
    fn write(&self) -> String;
}

fn expected(what: &str, node: &Node) -> Wrong {
    let remedy = match node.value {
        Value::Text(_) => format!("write {what}, without quotes"),
        _ => format!("write {what}"),
    };
    Wrong::new(format!("expected {what}, found {}", node.kind()), remedy)
}

/// Text, not empty, on one line.
pub(super) fn text(node: &Node) -> Result<&str, Wrong> {
    match &node.value {
        Value::Text(text) if text.trim().is_empty() => {
            Err(Wrong::new("is empty", "write a value or leave the key out"))
        }
        Value::Text(text) if text.contains(char::is_control) => Err(Wrong::new(
            "holds a line break or another control character",
            "write it on one line",
        )),
        Value::Text(text) if node.is_from_environment() && text.contains('\u{fffd}') => {
            Err(Wrong::new("is not UTF-8 text", "write the variable in UTF-8"))
        }
        Value::Text(text) => Ok(text),
        _ => {
            let what = format!("expected text, found {}", node.kind());
            Err(Wrong::new(what, "write it in quotes"))
        }
    }
}

pub(super) fn integer(node: &Node) -> Result<i128, Wrong> {
    match &node.value {
        Value::Integer(Some(number)) => Ok(*number),
        Value::Integer(None) => Err(Wrong::new("number too large", "write a smaller number")),
        Value::Text(text) if node.is_from_environment() => text
            .parse()
            .map_err(|_| Wrong::new(format!("{text:?} is not a number"), "write a number")),
        _ => Err(expected("a number", node)),
    }
}

/// The elements of a list; a single text is a list of one; in the environment commas part them.
fn elements(node: &Node, what: &str) -> Result<Vec<Node>, Vec<Wrong>> {
    match &node.value {
        Value::List(items) => Ok(items.clone()),
        Value::Text(text) if node.is_from_environment() => Ok(text
            .split(',')
            .map(|part| Node {
                value: Value::Text(part.trim().to_owned()),
                origin: node.origin.clone(),
            })
            .collect()),
        Value::Text(_) | Value::Integer(_) => Ok(vec![node.clone()]),
        _ => Err(vec![expected(what, node)]),
    }
}

/// Reads every element, so that all bad ones are told.
pub(super) fn each<T>(
    node: &Node,
    what: &str,
    read: impl Fn(&Node) -> Result<T, Wrong>,
) -> Result<Vec<T>, Vec<Wrong>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for item in elements(node, what)? {
        match read(&item) {
            Ok(value) => good.push(value),
            Err(wrong) => bad.push(Wrong { at: wrong.at.or(Some(item.origin)), ..wrong }),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// TOML's basic string.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Written for String {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        Ok(text(node)?.to_owned())
    }
    fn write(&self) -> String {
        quote(self)
    }
}

impl Written for PathBuf {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        Ok(Self::from(text(node)?))
    }
    fn write(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

impl Written for bool {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        match &node.value {
            Value::Bool(truth) => Ok(*truth),
            Value::Text(text) if node.is_from_environment() => text.parse().map_err(|_| {
                vec![Wrong::new(
                    format!("{text:?} is neither true nor false"),
                    "write true or false",
                )]
            }),
            _ => Err(vec![expected("true or false", node)]),
        }
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

impl Written for usize {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let number = integer(node)?;
        Self::try_from(number).map_err(|_| {
            vec![Wrong::new(format!("{number} is out of range"), "write a number from 1")]
        })
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

/// A TCP port, 1 to 65535.
impl Written for u16 {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let number = integer(node)?;
        match Self::try_from(number) {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(vec![Wrong::new(
                format!("{number} is not a port"),
                "write a number from 1 to 65535",
            )]),
        }
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

/// Names.
impl Written for Vec<String> {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        let all = each(node, "a list of names", |node| text(node).map(str::to_owned))?;
        if all.is_empty() {
            return Err(vec![Wrong::new("is empty", "write a name, or leave the key out")]);
        }
        Ok(all)
    }
    fn write(&self) -> String {
        list(self.iter().map(|name| quote(name)))
    }
}

impl Written for Duration {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        Ok(duration(node)?)
    }
    fn write(&self) -> String {
        let seconds = self.as_secs();
        if self.subsec_millis() > 0 {
            return quote(&format!("{}ms", self.as_millis()));
        }
        let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
        match units.iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit)) {
            Some((unit, name)) => quote(&format!("{}{name}", seconds / unit)),
            None => quote(&format!("{seconds}s")),
        }
    }
}

/// `30s`, `4h 30m`, `5d`, or seconds as a number.
fn duration(node: &Node) -> Result<Duration, Wrong> {
    const REMEDY: &str =
        "write it like \"30s\", \"15m\", \"4h\", \"5d\", or as a number of seconds";
    let seconds = match &node.value {
        Value::Text(text) => match text.trim().parse::<i128>() {
            Ok(seconds) => seconds,
            // humantime reads `M` as months; nobody means that by 5M
            Err(_) if text.split(|c: char| !c.is_alphabetic()).any(is_month_or_year) => {
                return Err(Wrong::new(format!("{text:?} is not a duration"), REMEDY));
            }
            Err(_) => {
                return humantime::parse_duration(text)
                    .map_err(|_| Wrong::new(format!("{text:?} is not a duration"), REMEDY));
            }
        },
        Value::Integer(_) => integer(node)?,
        _ => return Err(expected("a duration", node)),
    };
    u64::try_from(seconds)
        .map(Duration::from_secs)
        .map_err(|_| Wrong::new(format!("{seconds} is out of range"), REMEDY))
}

fn is_month_or_year(unit: &str) -> bool {
    unit == "M" || ["month", "y"].iter().any(|start| unit.starts_with(start))
}

/// A day, `2027-05-31`, or a moment of it: the day's beginning in UTC, so that nothing ends before it is
/// told to.
impl Written for SystemTime {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        const REMEDY: &str = "write the day, such as \"2027-05-31\"";
        let (Value::Text(text) | Value::Date(text)) = &node.value else {
            return Err(vec![expected("a date", node)]);
        };
        let day = text.trim();
        let day = if day.len() == 10 { format!("{day}T00:00:00Z") } else { day.to_owned() };
        humantime::parse_rfc3339(&day)
            .map_err(|_| vec![Wrong::new(format!("{text:?} is not a date"), REMEDY)])
    }
    fn write(&self) -> String {
        let text = humantime::format_rfc3339_seconds(*self).to_string();
        quote(text.strip_suffix("T00:00:00Z").unwrap_or(&text))
    }
}

/// Pauses between tries.
impl Written for Vec<Duration> {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        each(node, "a list of durations", duration)
    }
    fn write(&self) -> String {
        list(self.iter().map(Written::write))
    }
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Octets: a number, or `35 MB` where 1 MB is 1,048,576.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub u64);

const UNITS: [(&str, u32); 4] = [("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)];

impl Written for Size {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        const REMEDY: &str =
            "write it like \"35 MB\", \"64 KB\", \"2 GB\", or as a number of octets";
        let (number, shift) = match &node.value {
            Value::Text(text) => {
                let text = text.trim();
                let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
                let unit = digits.trim().to_ascii_uppercase();
                let number = text[..text.len() - digits.len()].parse::<i128>();
                let known = |(name, _): &&(&str, u32)| {
                    unit == *name || unit == name[..1] || unit == format!("{}IB", &name[..1])
                };
                let shift = match unit.as_str() {
                    "" | "B" => Some(0),
                    _ => UNITS.iter().find(known).map(|(_, shift)| *shift),
                };
                match (number, shift) {
                    (Ok(number), Some(shift)) => (number, shift),
                    _ => return Err(vec![Wrong::new(format!("{text:?} is not a size"), REMEDY)]),
                }
            }
            Value::Integer(_) => (integer(node)?, 0),
            _ => return Err(vec![expected("a size", node)]),
        };
        let octets = number.checked_mul(1 << shift).and_then(|octets| u64::try_from(octets).ok());
        octets
            .filter(|octets| *octets < 1 << 60)
            .map(Self)
            .ok_or_else(|| vec![Wrong::new(format!("{number} is out of range"), REMEDY)])
    }
    fn write(&self) -> String {
        let fits = |(_, shift): &&(&str, u32)| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match UNITS.iter().find(fits) {
            Some((name, shift)) => quote(&format!("{} {name}", self.0 >> shift)),
            None => self.0.to_string(),
        }
    }
}

/// An enum whose variants are words; `later` are words of the contract that this version lacks.
macro_rules! words {
    ($type:ty { $($word:literal => $variant:ident),+ $(,)? } later { $($later:literal => $remedy:literal),* $(,)? }) => {
        impl crate::config::value::Written for $type {
            fn read(node: &crate::config::tree::Node) -> Result<Self, Vec<crate::config::value::Wrong>> {
                let word = crate::config::value::text(node)?;
                match word {
                    $($word => return Ok(Self::$variant),)+
                    $($later => return Err(vec![crate::config::value::Wrong::new(
                        format!("{word:?} is not available in this version"), $remedy)]),)*
                    _ => {}
                }
                Err(vec![crate::config::value::unknown_word(word, &[$($word),+])])
            }
            fn write(&self) -> String {
                match self { $(Self::$variant => crate::config::value::quote($word),)+ }
            }
        }
    };
}
pub(super) use words;

/// The refusal of a word, with the nearest one.
pub(super) fn unknown_word(word: &str, known: &[&str]) -> Wrong {
    let lower = word.to_lowercase().replace('_', "-");
    let near = known.iter().find(|known| known.replace('_', "-") == lower).or_else(|| {
        known
            .iter()
            .min_by_key(|known| strsim::osa_distance(&lower, known))
            .filter(|known| strsim::osa_distance(&lower, known) <= 1.max(lower.len() / 3))
    });
    let list = known.iter().map(|known| format!("{known:?}")).collect::<Vec<_>>();
    let remedy = match (near, list.split_last()) {
        (Some(near), _) => format!("did you mean {near:?}?"),
        (None, Some((last, [_, ..]))) => {
            format!("write {} or {last}", list[..list.len() - 1].join(", "))
        }
        _ => format!("write {}", list.concat()),
    };
    Wrong::new(format!("{word:?} is not known here"), remedy)
}

impl From<Wrong> for Vec<Wrong> {
    fn from(wrong: Wrong) -> Self {
        vec![wrong]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limit;
    use crate::config::{ListenAddress, Network};

    /// Reads TOML text as a value; writes it again.
    fn through<T: Written>(text: &str) -> Option<String> {
        let table = crate::config::file::parse(&format!("x = {text}"), &mut Vec::new());
        let node = table.entry("x").map(|entry| entry.node.clone())?;
        T::read(&node).ok().map(|value| value.write())
    }

    #[test]
    fn durations_sizes_and_limits_are_written_as_people_write_them() {
        for (text, expected) in [
            ("30", "\"30s\""),
            ("\"30\"", "\"30s\""),
            ("\"90s\"", "\"90s\""),
            ("\"120s\"", "\"2m\""),
            ("\"1h 30m\"", "\"90m\""),
            ("\"5 days\"", "\"5d\""),
            ("\"500ms\"", "\"500ms\""),
            ("0", "\"0s\""),
        ] {
            assert_eq!(through::<Duration>(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["\"5M\"", "\"1y\"", "\"2 months\"", "\"\"", "-1", "1.5", "\"h\"", "\"5 d x\""]
        {
            assert_eq!(through::<Duration>(text), None, "{text}");
        }
        for (text, expected) in [
            ("35", "35"),
            ("\"35 MB\"", "\"35 MB\""),
            ("36700160", "\"35 MB\""),
            ("\"35mib\"", "\"35 MB\""),
            ("\"1024K\"", "\"1 MB\""),
            ("\"2 GB\"", "\"2 GB\""),
            ("0x10", "16"),
            ("0", "0"),
        ] {
            assert_eq!(through::<Size>(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["\"MB\"", "\"1.5 MB\"", "-1", "\"1 XB\"", "\"99999999999 TB\"", "true"] {
            assert_eq!(through::<Size>(text), None, "{text}");
        }
        assert_eq!(through::<Limit>("\"unlimited\"").as_deref(), Some("\"unlimited\""));
        assert_eq!(through::<Limit>("3").as_deref(), Some("3"));
        for text in ["0", "-1", "\"3\"", "4294967296", "99999999999999999999999999999999999999999"]
        {
            assert_eq!(through::<Limit>(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_written_one_by_one() {
        for (text, expected) in [
            ("\"localhost:25\"", r#"["127.0.0.1:25", "[::1]:25"]"#),
            ("[\"[::1]:25\", \"10.0.0.1:26\"]", r#"["[::1]:25", "10.0.0.1:26"]"#),
            ("\"unix:/run/a b.sock\"", r#"["unix:/run/a b.sock"]"#),
        ] {
            assert_eq!(through::<Vec<ListenAddress>>(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "[]",
            "\"unix:smtp.sock\"",
            "\"unix:\"",
            "\"unix:/run/\"",
            "2525",
            "\"2525\"",
            "\"::1:25\"",
            "\"localhost\"",
            "\"1.2.3.4:99999\"",
        ] {
            assert_eq!(through::<Vec<ListenAddress>>(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("127.0.0.0/8", "127.255.0.1", "128.0.0.1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "fe80::1", "10.0.0.1"),
            ("fd00::/9", "fd7f::1", "fd80::1"),
            ("::1", "::1", "::2"),
        ] {
            let text = through::<Vec<Network>>(&format!("\"{network}\""));
            assert_eq!(text, Some(format!("[\"{network}\"]")));
            let node = Node { value: Value::Text(network.to_owned()), origin: Origin::File(0..0) };
            let read = Vec::<Network>::read(&node).ok().and_then(|all| all.first().copied());
            let read = read.expect(network);
            assert!(read.contains(inside.parse().expect(inside)), "{network} {inside}");
            assert!(!read.contains(outside.parse().expect(outside)), "{network} {outside}");
        }
        for text in
            ["\"10.0.0.0/33\"", "\"10.0.0.1/8\"", "\"::1/-1\"", "\"x\"", "\"10.0.0.0/\"", "[]"]
        {
            assert_eq!(through::<Vec<Network>>(text), None, "{text}");
        }
    }
}
