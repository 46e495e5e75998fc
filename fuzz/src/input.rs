//! Octets taken apart: a few switches in front, the wire behind them, and where the wire is cut.
//!
//! The switches come first and have fixed places, so that a corpus file is a dialogue one can read and a
//! fuzzer that copies lines about copies lines.

/// Octets from the front on. Where they end, zeros follow.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of them.
    pub fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next octet.
    pub fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// What was not taken.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Whether bit `number` of a switch is set.
pub fn bit(switch: u8, number: u32) -> bool {
    switch >> number & 1 == 1
}

/// The pieces of `wire`: of one octet each for an odd seed, otherwise of lengths that the seed makes.
pub fn cut(wire: &[u8], seed: u8) -> Vec<&[u8]> {
    if seed % 2 == 1 {
        return wire.chunks(1).collect();
    }
    let mut state = u32::from(seed) + 1;
    let mut rest = wire;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        // Numerical Recipes' generator: any will do that is the same everywhere.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let longest = if bit(seed, 1) { 4 } else { 40 };
        let length = (state >> 16) as usize % longest + 1;
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Whether each CR and LF is part of a CRLF.
pub fn is_clean(octets: &[u8]) -> bool {
    let lone = |at: usize| match octets[at] {
        b'\n' => at == 0 || octets[at - 1] != b'\r',
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    !(0..octets.len()).any(lone)
}
