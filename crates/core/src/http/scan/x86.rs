//! SSE2 and AVX2.
#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::*;

use super::scalar::{COLUMNS, ROWS};
use super::{Kernel, Walk, BLOCK};

/// 16 bytes at a time, with what every x86-64 processor has.
#[derive(Clone, Copy, Debug)]
pub struct Sse2(());

impl Sse2 {
    /// SSE2 is part of x86-64 itself.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Sse2 {
        Sse2(())
    }
}

/// Applies `classify` to the four vectors of a block; a byte of 0xFF sets its bit.
#[inline(always)]
fn sse2_mask(block: &[u8; BLOCK], classify: impl Fn(__m128i) -> __m128i) -> u64 {
    let mut mask = 0;
    for (i, part) in block.chunks_exact(16).enumerate() {
        // SAFETY: `part` is 16 readable bytes and the load asks for no alignment; SSE2 is part of x86-64.
        let bits = unsafe { _mm_movemask_epi8(classify(_mm_loadu_si128(part.as_ptr().cast()))) };
        mask |= u64::from(bits as u32) << (16 * i);
    }
    mask
}

/// 0xFF where `low <= byte <= high`: shifted to start at zero, the byte is its own minimum with the width.
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
        // There is no byte shuffle before SSSE3, so the complement of tchar as ranges.
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

/// 32 bytes at a time. A value of this type proves that the processor has AVX2, BMI1 and LZCNT.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// `None` where the processor lacks AVX2, BMI1, BMI2 or LZCNT.
    pub fn new() -> Option<Avx2> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt"))
        .then_some(Avx2(()))
    }
}

/// Runs `work` inside a function compiled for AVX2.
#[inline(always)]
pub fn with_avx2<W: Walk>(kernel: Avx2, work: W) -> W::Output {
    /// # Safety
    /// The processor has the features. The function does nothing else that is unsafe: it is marked because Rust 1.85,
    /// which Debian 12 has, lets no safe function enable features.
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    unsafe fn inside<W: Walk>(kernel: Avx2, work: W) -> W::Output {
        work.walk(kernel)
    }
    // SAFETY: an `Avx2` exists only after `Avx2::new` found every feature that `inside` enables.
    unsafe { inside(kernel, work) }
}

/// The two halves of a block. Reading them asks for no alignment.
#[inline(always)]
fn halves(block: &[u8; BLOCK]) -> [__m256i; 2] {
    let start: *const __m256i = block.as_ptr().cast();
    // SAFETY: 64 readable bytes are two times 32; callers hold an `Avx2`.
    unsafe { [_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))] }
}

/// One bit for each byte of 0xFF.
#[inline(always)]
fn bits(low: __m256i, high: __m256i) -> u64 {
    // SAFETY: arithmetic on values; callers hold an `Avx2`. The empty assembly touches nothing: it only keeps LLVM
    // from merging the two masks into one vector of 64 bits, which it then takes apart bit by bit (three times slower
    // for the whole parse).
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
    // selects its bit. A shuffle yields zero for an index with its top bit set, so 0x80.. needs no care.
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
        // Signed: 0x80.. are negative, so "no greater than SP" takes them in.
        let above = _mm256_cmpgt_epi8(bytes, _mm256_set1_epi8(b' ' as i8));
        let del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
        _mm256_xor_si256(_mm256_andnot_si256(del, above), _mm256_set1_epi8(-1))
    }
}

impl Kernel for Avx2 {
    // No closures here: they would not be compiled for AVX2, and every intrinsic in them would be a call.
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
