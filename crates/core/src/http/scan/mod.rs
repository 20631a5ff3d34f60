//! Byte classification, 64 bytes at a time.
//!
//! A head is parsed by asking, for a block of 64 bytes, which of them can *not* be part of a token, a field value or a
//! request-target; each answer is one bit in a `u64`, and the parser walks those bits with `trailing_zeros`. A
//! [`Kernel`] computes the masks; there is one for each instruction set and [`scalar::Scalar`], the table that every
//! other kernel is tested against, byte for byte.
//!
//! This is one of the two places where `unsafe` may live. Two things need it: loading vectors from memory, and
//! entering a `#[target_feature]` function. Both are sound for one reason: a value of a kernel type can only be
//! made after the processor was asked for the features.

pub mod scalar;

#[cfg(target_arch = "aarch64")]
pub mod neon;
#[cfg(target_arch = "x86_64")]
pub mod x86;

/// How many bytes a kernel classifies at once.
pub const BLOCK: usize = 64;

/// Classifies blocks of 64 bytes. Bit *i* of each mask speaks of byte *i*.
///
/// The classes are those of RFC 9110 §5.6.2 (`tchar`) and §5.5 (`field-vchar`, SP and HTAB), and VCHAR of RFC 5234.
pub trait Kernel: Copy {
    /// Bytes that are no `tchar`.
    fn not_token(self, block: &[u8; BLOCK]) -> u64;
    /// Bytes that may not stand in a field value: controls except HTAB, and DEL.
    fn not_value(self, block: &[u8; BLOCK]) -> u64;
    /// Bytes that are not visible ASCII (0x21 to 0x7E).
    fn not_visible(self, block: &[u8; BLOCK]) -> u64;
}

/// One of the three classes, as a type: closures would not be compiled for the kernel's instruction set.
pub trait Class {
    /// The bytes of a block that are outside the class.
    fn outside<K: Kernel>(kernel: K, block: &[u8; BLOCK]) -> u64;
}

/// [`Kernel::not_token`]
pub struct Token;
/// [`Kernel::not_value`]
pub struct Value;
/// [`Kernel::not_visible`]
pub struct Visible;

impl Class for Token {
    #[inline(always)]
    fn outside<K: Kernel>(kernel: K, block: &[u8; BLOCK]) -> u64 {
        kernel.not_token(block)
    }
}

impl Class for Value {
    #[inline(always)]
    fn outside<K: Kernel>(kernel: K, block: &[u8; BLOCK]) -> u64 {
        kernel.not_value(block)
    }
}

impl Class for Visible {
    #[inline(always)]
    fn outside<K: Kernel>(kernel: K, block: &[u8; BLOCK]) -> u64 {
        kernel.not_visible(block)
    }
}

/// Work that wants a kernel, written once and compiled for each instruction set.
///
/// `walk` has to be `#[inline(always)]`, so that it becomes part of a function that carries the target features.
pub trait Walk {
    /// What the work results in.
    type Output;
    /// Does the work with `kernel`.
    fn walk<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// All three masks of one block, for tests that compare kernels: not token, not value, not visible.
pub struct Masks<'a>(pub &'a [u8; BLOCK]);

impl Walk for Masks<'_> {
    type Output = [u64; 3];

    #[inline(always)]
    fn walk<K: Kernel>(self, kernel: K) -> [u64; 3] {
        [kernel.not_token(self.0), kernel.not_value(self.0), kernel.not_visible(self.0)]
    }
}

/// The kernel in use, chosen once for a parser.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    /// The table; runs everywhere.
    Scalar(scalar::Scalar),
    /// 16 bytes at a time; every x86-64 processor has it.
    #[cfg(target_arch = "x86_64")]
    Sse2(x86::Sse2),
    /// 32 bytes at a time.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// 16 bytes at a time; every aarch64 processor has it.
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

impl Choice {
    /// The fastest kernel this processor can run.
    pub fn best() -> Choice {
        #[cfg(target_arch = "x86_64")]
        {
            match x86::Avx2::new() {
                Some(kernel) => Choice::Avx2(kernel),
                None => Choice::Sse2(x86::Sse2::new()),
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            Choice::Neon(neon::Neon::new())
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            Choice::Scalar(scalar::Scalar)
        }
    }

    /// Every kernel this processor can run, for tests that compare them.
    pub fn all() -> Vec<Choice> {
        #[allow(unused_mut)]
        let mut all = vec![Choice::Scalar(scalar::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            all.push(Choice::Sse2(x86::Sse2::new()));
            all.extend(x86::Avx2::new().map(Choice::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Choice::Neon(neon::Neon::new()));
        all
    }

    /// Runs work that has a slower twin, if this kernel is one that today's processors use. For the others the twin
    /// does, which keeps small programs small, and the two comparable.
    #[inline(always)]
    pub fn run_if_wide<W: Walk<Output = Option<T>>, T>(self, work: W) -> Option<T> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(kernel) => x86::with_avx2(kernel, work),
            #[cfg(target_arch = "aarch64")]
            Choice::Neon(kernel) => work.walk(kernel),
            _ => None,
        }
    }

    /// Runs `work` with this kernel, inside a function compiled for its instruction set.
    #[inline(always)]
    pub fn run<W: Walk>(self, work: W) -> W::Output {
        match self {
            Choice::Scalar(kernel) => work.walk(kernel),
            #[cfg(target_arch = "x86_64")]
            Choice::Sse2(kernel) => work.walk(kernel),
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(kernel) => x86::with_avx2(kernel, work),
            #[cfg(target_arch = "aarch64")]
            Choice::Neon(kernel) => work.walk(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_agrees_with_the_table_on_every_byte_at_every_position_and_alignment() {
        let mut memory = [b'a'; BLOCK * 2];
        for kernel in Choice::all() {
            for alignment in 0..BLOCK {
                for position in 0..BLOCK {
                    for byte in 0..=255u8 {
                        memory[alignment + position] = byte;
                        let block: &[u8; BLOCK] = memory[alignment..alignment + BLOCK].try_into().unwrap();
                        assert_eq!(
                            kernel.run(Masks(block)),
                            Choice::Scalar(scalar::Scalar).run(Masks(block)),
                            "{kernel:?}, byte {byte:#04x} at {position}, alignment {alignment}"
                        );
                    }
                    memory[alignment + position] = b'a';
                }
                // A miscount in one position could hide behind 'a': all bytes different, too.
                if alignment % 16 == 0 {
                    for start in 0..=255u8 {
                        let block: [u8; BLOCK] = std::array::from_fn(|i| start.wrapping_add((i * 7) as u8));
                        assert_eq!(kernel.run(Masks(&block)), Choice::Scalar(scalar::Scalar).run(Masks(&block)));
                    }
                }
            }
        }
    }
}
