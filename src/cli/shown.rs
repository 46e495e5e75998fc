//! How things are written for people: safe for a terminal, short, in words. Pure.
//!
//! It promises that no control character and nothing that turns the reading direction reaches a terminal,
//! whoever chose the text.

use crate::admin::wire::Time;
use crate::observe::redact::one_line;
use std::time::{Duration, SystemTime};

/// Characters of a text of somebody else.
const LONGEST: usize = 300;

/// Somebody's text in one harmless line.
pub fn safe(text: &str) -> String {
    one_line(text, LONGEST)
}

/// Octets, `4.2 KB`.
pub fn size(octets: u64) -> String {
    let units = ["KB", "MB", "GB", "TB"];
    if octets < 1024 {
        return format!("{octets} B");
    }
    let mut tenths = octets.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < units.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// A duration by its largest unit, `4m`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago.
pub fn age(time: Time, now: SystemTime) -> String {
    span(now.duration_since(time.0).unwrap_or_default())
}

/// In how long; `now` where that has passed.
pub fn wait(time: Time, now: SystemTime) -> String {
    match time.0.duration_since(now) {
        Ok(left) if left.as_secs() > 0 => format!("in {}", span(left)),
        _ => "now".to_owned(),
    }
}

/// `1 mail`, `2 mails`.
pub fn mails(count: u64) -> String {
    if count == 1 { "1 mail".to_owned() } else { format!("{count} mails") }
}

/// Rows as wide as their cells; the last column is not filled up.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// What a terminal would obey is shown, as `^[` for ESC; for octets that come in pieces.
#[derive(Debug, Default)]
pub struct Tamed {
    /// The first octet of what may be a control character beyond ASCII.
    lead: bool,
}

impl Tamed {
    /// The octets as a terminal may have them.
    pub fn tame(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(octets.len());
        for &octet in octets {
            if std::mem::take(&mut self.lead) {
                // U+0080 to U+009F are C2 80 to C2 9F in UTF-8.
                match octet {
                    0x80..=0x9f => {
                        out.extend(format!("\\u{{{octet:x}}}").into_bytes());
                        continue;
                    }
                    _ => out.push(0xc2),
                }
            }
            match octet {
                b'\n' | b'\t' => out.push(octet),
                b'\r' => {}
                0..=0x1f => out.extend([b'^', octet + 64]),
                0x7f => out.extend(b"^?"),
                0xc2 => self.lead = true,
                _ => out.push(octet),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn sizes_and_times_are_short() {
        for (octets, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (4_300, "4.1 KB"),
            (1 << 20, "1.0 MB"),
            (35 << 20, "35.0 MB"),
            (u64::MAX, "1677721.5 TB"),
        ] {
            assert_eq!(size(octets), shown);
        }
        for (seconds, shown) in
            [(0, "0s"), (59, "59s"), (60, "1m"), (7_199, "1h"), (172_800, "2d"), (864_000, "10d")]
        {
            assert_eq!(span(Duration::from_secs(seconds)), shown);
        }
        let now = UNIX_EPOCH + Duration::from_secs(600);
        assert_eq!(age(Time(UNIX_EPOCH), now), "10m");
        assert_eq!(age(Time(now), UNIX_EPOCH), "0s", "a clock that was set back");
        assert_eq!(wait(Time(now), UNIX_EPOCH), "in 10m");
        assert_eq!(wait(Time(UNIX_EPOCH), now), "now");
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["A", "B", "C"]), row(["erp", "ü", ""]), row(["x", "yyy", "z"])]);
        assert_eq!(text, "A    B    C\nerp  ü\nx    yyy  z\n");
    }

    #[test]
    fn a17_no_octet_that_a_terminal_obeys_passes_wherever_the_pieces_end() {
        let text = "a\x1b[31m\u{9b}2J\u{85}é\r\n\tb\x7f\0".as_bytes();
        let expected = "a^[[31m\\u{9b}2J\\u{85}é\n\tb^?^@".as_bytes();
        for cut in 0..text.len() {
            let mut tamed = Tamed::default();
            let mut out = tamed.tame(&text[..cut]);
            out.extend(tamed.tame(&text[cut..]));
            assert_eq!(out, expected, "{cut}");
        }
    }
}
