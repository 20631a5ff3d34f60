//! SSE2 and AVX2.
#![allow(unsafe_code)]

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
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    fn inside<W: Walk>(kernel: Avx2, work: W) -> W::Output {
        work.walk(kernel)
    }
    // SAFETY: an `Avx2` exists only after `Avx2::new` found every feature that `inside` enables.
    unsafe { inside(kernel, work) }
}

#[inline(always)]
fn avx2_mask(block: &[u8; BLOCK], classify: impl Fn(__m256i) -> __m256i) -> u64 {
    let (low, high) = block.split_at(32);
    // SAFETY: `low` and `high` are 32 readable bytes each and the loads ask for no alignment; callers hold an `Avx2`.
    unsafe {
        let low = _mm256_movemask_epi8(classify(_mm256_loadu_si256(low.as_ptr().cast())));
        let high = _mm256_movemask_epi8(classify(_mm256_loadu_si256(high.as_ptr().cast())));
        u64::from(low as u32) | u64::from(high as u32) << 32
    }
}

impl Kernel for Avx2 {
    #[inline(always)]
    fn not_token(self, block: &[u8; BLOCK]) -> u64 {
        // Two table look-ups: the low nibble selects the set of high nibbles with which it forms a tchar, the high
        // nibble selects its bit. A shuffle yields zero for an index with its top bit set, so 0x80.. needs no care.
        avx2_mask(block, |bytes| {
            // SAFETY: arithmetic on values; `self` proves AVX2.
            unsafe {
                let table = |bytes: &[u8; 16]| {
                    // `bytes` is 16 readable bytes and the load asks for no alignment.
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast()))
                };
                let (columns, rows) = (table(&COLUMNS), table(&ROWS));
                let nibble = _mm256_set1_epi8(0x0f);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
                let hit = _mm256_and_si256(_mm256_shuffle_epi8(columns, bytes), _mm256_shuffle_epi8(rows, high));
                _mm256_cmpeq_epi8(hit, _mm256_setzero_si256())
            }
        })
    }
    #[inline(always)]
    fn not_value(self, block: &[u8; BLOCK]) -> u64 {
        avx2_mask(block, |bytes| {
            // SAFETY: arithmetic on values; `self` proves AVX2.
            unsafe {
                let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
                let tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\t' as i8));
                let del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
                _mm256_or_si256(_mm256_andnot_si256(tab, control), del)
            }
        })
    }
    #[inline(always)]
    fn not_visible(self, block: &[u8; BLOCK]) -> u64 {
        avx2_mask(block, |bytes| {
            // SAFETY: arithmetic on values; `self` proves AVX2.
            unsafe {
                // Signed: 0x80.. are negative, so "greater than SP" leaves 0x21 to 0x7F.
                let above = _mm256_cmpgt_epi8(bytes, _mm256_set1_epi8(b' ' as i8));
                let del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
                _mm256_xor_si256(_mm256_andnot_si256(del, above), _mm256_set1_epi8(-1))
            }
        })
    }
}
