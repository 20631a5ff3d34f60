//! The kernels for x86-64: SSE2 and AVX2.
#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::*;

use super::kernel::{Kernel, KernelTask, BLOCK};
use super::scalar::{COLUMNS, ROWS};

/// 16 bytes at a time, with instructions that every x86-64 processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sse2(());

impl Sse2 {
    /// The kernel; SSE2 is part of x86-64 itself.
    pub(super) fn new() -> Sse2 {
        Sse2(())
    }
}

/// Applies `classify` to the four vectors of a block; a result byte of 0xFF sets its bit.
#[inline(always)]
fn sse2_mask(block: &[u8; BLOCK], classify: impl Fn(__m128i) -> __m128i) -> u64 {
    let mut mask = 0;
    for (i, part) in block.chunks_exact(16).enumerate() {
        // SAFETY: `part` is 16 readable bytes and the load needs no alignment; SSE2 is part of x86-64.
        let bits = unsafe { _mm_movemask_epi8(classify(_mm_loadu_si128(part.as_ptr().cast()))) };
        mask |= u64::from(bits as u32) << (16 * i);
    }
    mask
}

/// 0xFF where `low <= byte <= high`. After `low` is subtracted, the byte is in the range if it equals its minimum with
/// the width of the range.
#[inline(always)]
fn sse2_between(bytes: __m128i, low: u8, high: u8) -> __m128i {
    // SAFETY: arithmetic on values; SSE2 is part of x86-64.
    unsafe {
        let shifted = _mm_sub_epi8(bytes, _mm_set1_epi8(low as i8));
        _mm_cmpeq_epi8(_mm_min_epu8(shifted, _mm_set1_epi8((high - low) as i8)), shifted)
    }
}

#[inline(always)]
fn sse2_any<const N: usize>(bytes: __m128i, ranges: [(u8, u8); N]) -> __m128i {
    // SAFETY: arithmetic on values; SSE2 is part of x86-64.
    unsafe {
        let mut any = _mm_setzero_si128();
        for (low, high) in ranges {
            any = _mm_or_si128(any, sse2_between(bytes, low, high));
        }
        any
    }
}

impl Kernel for Sse2 {
    #[inline(always)]
    fn not_token(self, block: &[u8; BLOCK]) -> u64 {
        // SSE2 has no byte shuffle (SSSE3 has), so this tests the ranges of all bytes that are not a tchar.
        sse2_mask(block, |bytes| {
            sse2_any(
                bytes,
                [
                    (0x00, b' '),
                    (b'"', b'"'),
                    (b'(', b')'),
                    (b',', b','),
                    (b'/', b'/'),
                    (b':', b'@'),
                    (b'[', b']'),
                    (b'{', b'{'),
                    (b'}', b'}'),
                    (0x7f, 0xff),
                ],
            )
        })
    }
    #[inline(always)]
    fn not_value(self, block: &[u8; BLOCK]) -> u64 {
        sse2_mask(block, |bytes| sse2_any(bytes, [(0x00, 0x08), (0x0a, 0x1f), (0x7f, 0x7f)]))
    }
    #[inline(always)]
    fn not_visible(self, block: &[u8; BLOCK]) -> u64 {
        sse2_mask(block, |bytes| sse2_any(bytes, [(0x00, b' '), (0x7f, 0xff)]))
    }
}

/// 32 bytes at a time. A value of this type proves that the processor has AVX2, BMI1, BMI2 and LZCNT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The kernel, or `None` if the processor lacks AVX2, BMI1, BMI2 or LZCNT.
    pub(super) fn new() -> Option<Avx2> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt"))
        .then_some(Avx2(()))
    }
}

/// Runs a task inside a function that is compiled for AVX2.
#[inline(always)]
pub(super) fn with_avx2<W: KernelTask>(kernel: Avx2, task: W) -> W::Output {
    /// # Safety
    /// The processor must have the features. Nothing else in the function is unsafe: it is marked because Rust 1.85,
    /// the version of Debian 12, does not allow a safe function to enable features.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    unsafe fn inside<W: KernelTask>(kernel: Avx2, task: W) -> W::Output {
        task.run(kernel)
    }
    // SAFETY: an `Avx2` exists only after `Avx2::new` found every feature that `inside` enables.
    unsafe { inside(kernel, task) }
}

/// The two halves of a block. Loading them needs no alignment.
#[inline(always)]
fn halves(block: &[u8; BLOCK]) -> [__m256i; 2] {
    let start: *const __m256i = block.as_ptr().cast();
    // SAFETY: 64 readable bytes are two times 32; callers hold an `Avx2`.
    unsafe { [_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))] }
}

/// One bit for each byte of 0xFF.
#[inline(always)]
fn bits(low: __m256i, high: __m256i) -> u64 {
    // SAFETY: arithmetic on values; callers hold an `Avx2`. The empty assembly has no effect of its own: it prevents
    // LLVM from merging the two masks into one vector of 64 bits, which LLVM then reads bit by bit (measured: the whole
    // parse takes three times as long).
    unsafe {
        let mut low = _mm256_movemask_epi8(low) as u32;
        let mut high = _mm256_movemask_epi8(high) as u32;
        asm!("/* {0:e} {1:e} */", inout(reg) low, inout(reg) high, options(pure, nomem, nostack, preserves_flags));
        u64::from(low) | u64::from(high) << 32
    }
}

#[inline(always)]
fn not_token(bytes: __m256i) -> __m256i {
    // Two table look-ups: the low nibble selects the set of high nibbles with which it forms a tchar, the high nibble
    // selects its bit. A shuffle yields zero for an index with its top bit set, so bytes from 0x80 on need no special
    // case.
    //
    // SAFETY: the two loads read 16 bytes each from tables of 16; the rest is arithmetic. Callers hold an `Avx2`.
    unsafe {
        let columns = _mm256_broadcastsi128_si256(_mm_loadu_si128(COLUMNS.as_ptr().cast()));
        let rows = _mm256_broadcastsi128_si256(_mm_loadu_si128(ROWS.as_ptr().cast()));
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(0x0f));
        let hit = _mm256_and_si256(_mm256_shuffle_epi8(columns, bytes), _mm256_shuffle_epi8(rows, high));
        _mm256_cmpeq_epi8(hit, _mm256_setzero_si256())
    }
}

#[inline(always)]
fn not_value(bytes: __m256i) -> __m256i {
    // SAFETY: arithmetic on values; callers hold an `Avx2`.
    unsafe {
        let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        let tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\t' as i8));
        let del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
        _mm256_or_si256(_mm256_andnot_si256(tab, control), del)
    }
}

#[inline(always)]
fn not_visible(bytes: __m256i) -> __m256i {
    // SAFETY: arithmetic on values; callers hold an `Avx2`.
    unsafe {
        // The comparison is signed: bytes from 0x80 on are negative and therefore not greater than SP.
        let above = _mm256_cmpgt_epi8(bytes, _mm256_set1_epi8(b' ' as i8));
        let del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
        _mm256_xor_si256(_mm256_andnot_si256(del, above), _mm256_set1_epi8(-1))
    }
}

impl Kernel for Avx2 {
    // No closures here: a closure would not be compiled for AVX2, and every intrinsic in it would be a call.
    #[inline(always)]
    fn not_token(self, block: &[u8; BLOCK]) -> u64 {
        let [low, high] = halves(block);
        bits(not_token(low), not_token(high))
    }
    #[inline(always)]
    fn not_value(self, block: &[u8; BLOCK]) -> u64 {
        let [low, high] = halves(block);
        bits(not_value(low), not_value(high))
    }
    #[inline(always)]
    fn not_visible(self, block: &[u8; BLOCK]) -> u64 {
        let [low, high] = halves(block);
        bits(not_visible(low), not_visible(high))
    }
}
