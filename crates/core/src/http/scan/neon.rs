//! The kernel for aarch64: NEON, which every aarch64 processor has.
#![allow(unsafe_code)]

use core::arch::aarch64::*;

use super::kernel::{Kernel, BLOCK};
use super::scalar::{COLUMNS, ROWS};

/// 16 bytes at a time, with instructions that every aarch64 processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neon(());

impl Neon {
    /// The kernel; NEON is part of aarch64 itself.
    pub(super) fn new() -> Neon {
        Neon(())
    }
}

/// Applies `classify` to the four vectors of a block; a result byte of 0xFF sets its bit.
#[inline(always)]
fn mask(block: &[u8; BLOCK], classify: impl Fn(uint8x16_t) -> uint8x16_t) -> u64 {
    const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: the five loads read 16 bytes each from arrays that hold them (`block` has four times 16); the rest is
    // arithmetic on values. NEON is part of aarch64.
    unsafe {
        let bits = vld1q_u8(BITS.as_ptr());
        let part = |i: usize| vandq_u8(classify(vld1q_u8(block.as_ptr().add(16 * i))), bits);
        // NEON has no movemask: keep one bit in each byte, then add neighbours three times.
        let low = vpaddq_u8(part(0), part(1));
        let high = vpaddq_u8(part(2), part(3));
        let sum = vpaddq_u8(low, high);
        vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sum, sum)))
    }
}

impl Kernel for Neon {
    #[inline(always)]
    fn not_token(self, block: &[u8; BLOCK]) -> u64 {
        // The same two look-ups as for AVX2; `tbl` yields zero for an index of 16 or more.
        mask(block, |bytes| {
            // SAFETY: two loads of 16 bytes from arrays of 16, and arithmetic on values. NEON is part of aarch64.
            unsafe {
                let columns = vqtbl1q_u8(vld1q_u8(COLUMNS.as_ptr()), vandq_u8(bytes, vdupq_n_u8(0x0f)));
                let rows = vqtbl1q_u8(vld1q_u8(ROWS.as_ptr()), vshrq_n_u8::<4>(bytes));
                vceqzq_u8(vandq_u8(columns, rows))
            }
        })
    }
    #[inline(always)]
    fn not_value(self, block: &[u8; BLOCK]) -> u64 {
        mask(block, |bytes| {
            // SAFETY: arithmetic on values. NEON is part of aarch64.
            unsafe {
                let control = vcltq_u8(bytes, vdupq_n_u8(0x20));
                let tab = vceqq_u8(bytes, vdupq_n_u8(b'\t'));
                let del = vceqq_u8(bytes, vdupq_n_u8(0x7f));
                vorrq_u8(vbicq_u8(control, tab), del)
            }
        })
    }
    #[inline(always)]
    fn not_visible(self, block: &[u8; BLOCK]) -> u64 {
        mask(block, |bytes| {
            // SAFETY: arithmetic on values. NEON is part of aarch64.
            unsafe { vorrq_u8(vcltq_u8(bytes, vdupq_n_u8(0x21)), vcgtq_u8(bytes, vdupq_n_u8(0x7e))) }
        })
    }
}
