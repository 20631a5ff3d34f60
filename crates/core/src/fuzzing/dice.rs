//! Choices that depend on nothing but the input, so that every run of it is the same.

/// A xorshift generator, seeded from bytes of the input.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: &[u8]) -> Dice {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for &byte in seed {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // Zero is the one state that never changes.
        Dice(state | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Takes `N` bytes off the front; zeros when there are not so many.
pub(super) fn take<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    match data.split_first_chunk::<N>() {
        Some((first, rest)) => (*first, rest),
        None => ([0; N], b""),
    }
}

/// A place in `0..=length`, from two bytes.
pub(super) fn place(bytes: [u8; 2], length: usize) -> usize {
    usize::from(u16::from_le_bytes(bytes)) % (length + 1)
}
