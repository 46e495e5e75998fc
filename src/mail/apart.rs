//! A message that is too large for one request, taken apart: what stays of it, and the files beside it.
//!
//! It promises that what stays is the message to the octet but for the files that were cut out, that no text is
//! cut out, and that nothing signed or encrypted is taken apart. It works on the places that [`super::outline`]
//! found, and sees no octet of the message.

use super::outline::Parts;
use super::part::Part;
use std::collections::HashMap;
use std::ops::Range;

/// The end of a header and the empty line: what stays of the header of a file that leaves its container empty.
const HEADER_END: u64 = 4;

/// A message taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apart {
    /// The places in the message that stay, in their order.
    pub stays: Vec<Range<u64>>,
    /// The files, in their order; each has a name.
    pub files: Vec<Part>,
}

impl Apart {
    /// Octets of what stays.
    pub fn size(&self) -> u64 {
        self.stays.iter().map(length).sum()
    }
}

/// Cuts out the largest files until at most so many octets are left, or a little more.
///
/// # Errors
/// Why it cannot be done, fit for a peer.
pub fn take_apart(found: Parts, most: u64) -> Result<Apart, &'static str> {
    let Parts { size, parts, containers, described, is_sealed, is_unclear } = found;
    if is_unclear {
        return Err("its parts cannot be told apart without doubt");
    }
    if is_sealed {
        return Err("it is signed or encrypted, and cannot be taken apart");
    }
    let mut files: Vec<Part> = parts.into_iter().filter(|part| part.is_file).collect();
    files.sort_by_key(|file| std::cmp::Reverse(length(&file.place)));
    let mut left = size;
    files.retain(|file| {
        let is_cut = left > most;
        left -= if is_cut { length(&file.place) } else { 0 };
        is_cut
    });
    if left > most {
        return Err("its text alone is larger than that");
    }
    files.sort_by_key(|file| file.place.start);
    name(&mut files);
    let stays = match files.as_slice() {
        [only] if only.within.is_none() => without(0..only.content.start, described),
        _ => without(0..size, cuts(&files, &containers)),
    };
    Ok(Apart { stays, files })
}

fn length(place: &Range<u64>) -> u64 {
    place.end - place.start
}

/// What is left of a stretch without these; all in their order.
fn without(whole: Range<u64>, cuts: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut at = whole.start;
    let mut stays = Vec::with_capacity(cuts.len() + 1);
    for cut in cuts {
        stays.push(at..cut.start);
        at = cut.end;
    }
    stays.push(at..whole.end);
    stays.retain(|place| !place.is_empty());
    stays
}

/// What is cut out. A container must not be left without parts (RFC 2046 §5.1.1): its first file leaves an
/// empty text behind.
fn cuts(files: &[Part], containers: &[usize]) -> Vec<Range<u64>> {
    let mut taken: HashMap<usize, usize> = HashMap::new();
    for place in files.iter().filter_map(|file| file.within) {
        *taken.entry(place).or_default() += 1;
    }
    let mut cuts = Vec::with_capacity(files.len());
    for file in files {
        let Part { place, header, content, within, .. } = file;
        let all = within.and_then(|place| Some((*containers.get(place)?, taken.remove(&place)?)));
        match all {
            Some((all, taken)) if all == taken => {
                cuts.push(*header..content.start - HEADER_END);
                cuts.push(content.start..place.end);
            }
            _ => cuts.push(place.clone()),
        }
    }
    cuts
}

/// Names those that have none.
fn name(files: &mut [Part]) {
    for (number, file) in files.iter_mut().enumerate() {
        let ending = if file.content_type == "message/rfc822" { ".eml" } else { "" };
        file.name.get_or_insert_with(|| format!("attachment-{}{ending}", number + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::outline::Outline;

    fn found(message: &str) -> Parts {
        let mut outline = Outline::default();
        outline.feed(message.as_bytes());
        outline.finish()
    }

    fn apart(message: &str, most: u64) -> Result<(String, Vec<String>), &'static str> {
        let apart = take_apart(found(message), most)?;
        let text = |place: &Range<u64>| &message[place.start as usize..place.end as usize];
        let stays: String = apart.stays.iter().map(text).collect();
        assert_eq!(stays.len() as u64, apart.size());
        Ok((stays, apart.files.into_iter().filter_map(|file| file.name).collect()))
    }

    fn message(pdf: usize, csv: &str) -> String {
        format!(
            "From: a@x\r\nTo: b@y\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"B\"\r\n\r\n\
             preamble\r\n--B\r\nContent-Type: text/plain\r\n\r\nHello\r\n\
             --B\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"a.pdf\"\r\n\r\n{}\r\n\
             --B\r\nContent-Type: text/csv\r\nContent-Disposition: attachment\r\n\r\n{csv}\r\n\
             --B--\r\n",
            "QUJD".repeat(pdf)
        )
    }

    #[test]
    fn b24_the_largest_files_are_cut_out_and_the_rest_stays() {
        let raw = message(1000, "a;b\r\nc;\u{e4}");
        let start = raw.find("--B\r\nContent-Type: application/pdf").expect("there");
        let end = raw.find("--B\r\nContent-Type: text/csv").expect("there");
        let rest = format!("{}{}", &raw[..start], &raw[end..]);
        assert_eq!(apart(&raw, 1000), Ok((rest.clone(), vec!["a.pdf".to_owned()])));
        assert_eq!(apart(&raw, rest.len() as u64), Ok((rest.clone(), vec!["a.pdf".to_owned()])));
        let (least, names) = apart(&raw, rest.len() as u64 - 1).expect("taken apart");
        assert_eq!(names, ["a.pdf", "attachment-2"]);
        assert!(least.ends_with("Hello\r\n--B--\r\n"), "{least}");
        assert_eq!(apart(&raw, raw.len() as u64), Ok((raw.clone(), Vec::new())));
    }

    #[test]
    fn b24_no_container_is_left_without_parts() {
        let raw = message(1000, "x").replace("text/plain", "image/png; name=i.png");
        let (rest, names) = (0..).find_map(|most| apart(&raw, most).ok()).expect("taken apart");
        assert_eq!(names, ["i.png", "a.pdf", "attachment-3"]);
        assert!(rest.ends_with("preamble\r\n--B\r\n\r\n\r\n--B--\r\n"), "{rest:?}");
        let again = found(&rest);
        assert_eq!(again.parts.len(), 1);
        assert_eq!((again.parts[0].content_type.as_str(), again.parts[0].size), ("text/plain", 0));
    }

    #[test]
    fn b24_a_message_that_is_one_file_keeps_its_header() {
        let raw = format!(
            "From: a@x\r\nContent-Type: application/pdf;\r\n name=scan.pdf\r\nTo: b@y\r\nContent-Transfer-Encoding: base64\r\n\
             Subject: s\r\n\r\n{}\r\n",
            "QUJD".repeat(500)
        );
        let expected = "From: a@x\r\nTo: b@y\r\nSubject: s\r\n\r\n".to_owned();
        assert_eq!(apart(&raw, 1000), Ok((expected, vec!["scan.pdf".to_owned()])));
    }

    #[test]
    fn b24_what_cannot_be_taken_apart_is_told() {
        let plain = format!("From: a@x\r\n\r\n{}\r\n", "x".repeat(5000));
        assert!(apart(&plain, 1000).is_err_and(|why| why.contains("text alone")));
        let signed = message(5000, "x").replace("multipart/mixed", "multipart/signed");
        assert!(apart(&signed, 1000).is_err_and(|why| why.contains("signed")));
        // Its octets are not clear: it stays as it is.
        let broken = message(5000, "x").replacen("QUJD", "QUJD=", 1);
        assert!(apart(&broken, 1000).is_err_and(|why| why.contains("text alone")));
    }

    #[test]
    fn b24_a_message_cut_anywhere_is_taken_apart_or_refused() {
        let raw = message(300, "x;y");
        for end in 0..raw.len() {
            if let Ok((rest, _)) = apart(&raw[..end], 300) {
                assert!(rest.len() <= end, "{end}");
            }
        }
    }
}
