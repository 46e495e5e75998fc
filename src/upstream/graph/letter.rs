//! A message whose header names its envelope, read from any place, and recoded piece by piece.
//!
//! It promises that no more than a header and a few pieces of it are in memory, and that a message which is not
//! as large as was noted of it is told rather than sent.

use super::request::{Encoder, encoded_size};
use crate::mail::addressed::{self, Addressees, Strangers};
use crate::mail::header;
use crate::mail::part::Part;
use crate::mail::transfer::{Decoder, Undecodable};
use crate::upstream::{Body, Fault};
use bytes::Bytes;
use std::ops::Range;

/// Octets of a header at most; the front door takes no larger one.
const LARGEST_HEADER: usize = 512 * 1024;
/// So much is recoded at once.
const PIECE: usize = 48 * 1024;

/// The message.
pub(super) struct Letter<'a> {
    /// Header, empty line, and what came behind it.
    head: Bytes,
    /// Octets of the body that the head was made of.
    skipped: u64,
    body: &'a mut dyn Body,
    size: u64,
    /// Which octet comes next.
    at: u64,
    /// What came with the last piece, and was not given yet.
    held: Bytes,
}

impl<'a> Letter<'a> {
    /// Reads the header and makes it name the envelope.
    pub async fn open(
        body: &'a mut dyn Body,
        size: u64,
        to: Addressees<'_>,
        strangers: Strangers,
    ) -> Result<Self, Fault> {
        let mut held = Vec::new();
        let end = loop {
            let chunk = body.chunk().await.map_err(Fault::Local)?;
            held.extend_from_slice(chunk.as_deref().unwrap_or_default());
            if let Some(end) = header::find_end(&held, chunk.is_none()) {
                break end;
            }
            if held.len() > LARGEST_HEADER {
                return Err(Fault::Unfit("its header has no end".to_owned()));
            }
        };
        let (fields, rest) = held.split_at(end.header);
        let settled = addressed::settle(fields, to, strangers)
            .map_err(|unfit| Fault::Unfit(unfit.to_string()))?;
        let mut head = settled.into_owned();
        if end.needs_blank {
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(rest);
        let skipped = held.len() as u64;
        let size = size.checked_sub(skipped).ok_or_else(odd_size)? + head.len() as u64;
        Ok(Self { head: head.into(), skipped, body, size, at: 0, held: Bytes::new() })
    }

    /// Octets of all of it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next octets, [`PIECE`] at most; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let head = self.head.len() as u64;
        if self.held.is_empty() && self.at < head {
            self.held = self.head.slice(usize::try_from(self.at).unwrap_or_default()..);
        }
        if self.held.is_empty() {
            match self.body.chunk().await.map_err(Fault::Local)? {
                Some(chunk) => self.held = chunk,
                None if self.at == self.size => return Ok(None),
                None => return Err(odd_size()),
            }
        }
        let piece = self.held.split_to(self.held.len().min(PIECE));
        self.at += piece.len() as u64;
        if self.at > self.size { Err(odd_size()) } else { Ok(Some(piece)) }
    }

    /// Goes to this octet.
    pub fn again(&mut self, from: u64) -> Result<(), Fault> {
        if from == self.at {
            return Ok(());
        }
        let behind = from.saturating_sub(self.head.len() as u64);
        self.body.again(self.skipped + behind).map_err(Fault::Local)?;
        self.held = Bytes::new();
        self.at = from;
        Ok(())
    }
}

pub(super) fn odd_size() -> Fault {
    Fault::Local("the body is not as large as was noted of it".to_owned())
}

/// What goes out of a letter: some places of it, decoded where they were encoded, encoded where the request
/// wants it, between two texts.
pub(super) struct Pieces<'l, 'a> {
    letter: &'l mut Letter<'a>,
    places: std::vec::IntoIter<Range<u64>>,
    /// Octets of this place that are still to come.
    left: u64,
    decoder: Option<Decoder>,
    encoder: Option<Encoder>,
    before: Bytes,
    /// None once it was given.
    after: Option<Bytes>,
    held: Bytes,
    size: u64,
}

impl<'l, 'a> Pieces<'l, 'a> {
    fn new(letter: &'l mut Letter<'a>, places: Vec<Range<u64>>, size: u64) -> Self {
        Self {
            letter,
            places: places.into_iter(),
            left: 0,
            decoder: None,
            encoder: None,
            before: Bytes::new(),
            after: Some(Bytes::new()),
            held: Bytes::new(),
            size,
        }
    }

    /// These places as base64.
    pub fn encoded(letter: &'l mut Letter<'a>, places: Vec<Range<u64>>) -> Self {
        let size = places.iter().map(|place| place.end - place.start).sum();
        let encoder = Some(Encoder::default());
        Self { encoder, ..Self::new(letter, places, encoded_size(size)) }
    }

    /// What the file holds.
    pub fn content(letter: &'l mut Letter<'a>, file: &Part) -> Self {
        let decoder = Some(Decoder::new(file.transfer));
        Self { decoder, ..Self::new(letter, vec![file.content.clone()], file.size) }
    }

    /// What the file holds as base64, between these texts.
    pub fn framed(letter: &'l mut Letter<'a>, file: &Part, before: String, after: String) -> Self {
        let size = encoded_size(file.size) + before.len() as u64 + after.len() as u64;
        let encoder = Some(Encoder::default());
        let pieces = Self::content(letter, file);
        Self { encoder, before: before.into(), after: Some(after.into()), size, ..pieces }
    }

    /// Octets of all that comes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next octets, so many at most; none at the end.
    pub async fn next(&mut self, most: u64) -> Result<Option<Bytes>, Fault> {
        while self.held.is_empty() {
            match self.recode().await? {
                Some(piece) => self.held = piece,
                None => return Ok(None),
            }
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(Some(self.held.split_to(self.held.len().min(most))))
    }

    /// One more piece, which may be empty.
    async fn recode(&mut self) -> Result<Option<Bytes>, Fault> {
        if !self.before.is_empty() {
            return Ok(Some(std::mem::take(&mut self.before)));
        }
        let octets = self.read().await?;
        let is_end = octets.is_none();
        if is_end && self.after.is_none() {
            return Ok(None);
        }
        let octets = self.decode(octets.unwrap_or_default(), is_end)?;
        let octets = self.encode(octets, is_end);
        if is_end && let Some(after) = self.after.take() {
            return Ok(Some([octets, after].concat().into()));
        }
        Ok(Some(octets))
    }

    fn decode(&mut self, octets: Bytes, is_end: bool) -> Result<Bytes, Fault> {
        let Some(mut decoder) = self.decoder.take() else { return Ok(octets) };
        let mut out = Vec::with_capacity(octets.len());
        decoder.take(&octets, &mut out).map_err(changed)?;
        if is_end {
            decoder.finish(&mut out).map_err(changed)?;
        } else {
            self.decoder = Some(decoder);
        }
        Ok(out.into())
    }

    fn encode(&mut self, octets: Bytes, is_end: bool) -> Bytes {
        let Some(mut encoder) = self.encoder.take() else { return octets };
        let code = encoder.take(&octets);
        if is_end {
            return [code, encoder.finish()].concat().into();
        }
        self.encoder = Some(encoder);
        code
    }

    /// The next octets of the places.
    async fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        while self.left == 0 {
            let Some(place) = self.places.next() else { return self.end().await };
            self.letter.again(place.start)?;
            self.left = place.end - place.start;
        }
        let Some(mut octets) = self.letter.next().await? else { return Err(odd_size()) };
        octets.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= octets.len() as u64;
        Ok(Some(octets))
    }

    /// Where the places ended with the letter, nothing may follow.
    async fn end(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.letter.at == self.letter.size {
            true => self.letter.next().await,
            false => Ok(None),
        }
    }
}

/// It was decoded once, to learn its size.
fn changed(error: Undecodable) -> Fault {
    Fault::Local(format!("a part of the body has changed since it was read first: {error}"))
}
