//! Pseudo-random choices that depend only on the input, so that every run with the same input is the same.

/// A xorshift generator, seeded with bytes of the input.
pub(super) struct Prng(u64);

impl Prng {
    pub(super) fn new(seed: &[u8]) -> Prng {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for &byte in seed {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // A xorshift generator never leaves the state 0.
        Prng(state | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    /// `true` in about half of the calls.
    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
