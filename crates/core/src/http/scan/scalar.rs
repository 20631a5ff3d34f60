//! The portable kernel, which looks up each byte in the table of [`syntax`](super::super::syntax), and the same table
//! in the form that byte shuffles need.

use super::super::syntax::{CLASSES, TOKEN, VALUE, VISIBLE};
use super::kernel::{Kernel, BLOCK};

/// For each low nibble, the set of high nibbles with which it forms a `tchar`: the table for byte shuffles.
#[allow(dead_code)] // only kernels with a byte shuffle use it
pub(super) const COLUMNS: [u8; 16] = {
    let mut columns = [0; 16];
    let mut byte = 0;
    while byte < 128 {
        if CLASSES[byte] & TOKEN != 0 {
            columns[byte & 15] |= 1 << (byte >> 4);
        }
        byte += 1;
    }
    columns
};

/// For each high nibble, its bit in [`COLUMNS`]; none from 0x80 on.
#[allow(dead_code)] // only kernels with a byte shuffle use it
pub(super) const ROWS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

/// The portable kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalar;

#[inline(always)]
fn without(class: u8, block: &[u8; BLOCK]) -> u64 {
    let mut mask = 0;
    for (i, &byte) in block.iter().enumerate() {
        mask |= u64::from(CLASSES[byte as usize] & class == 0) << i;
    }
    mask
}

impl Kernel for Scalar {
    #[inline(always)]
    fn not_token(self, block: &[u8; BLOCK]) -> u64 {
        without(TOKEN, block)
    }
    #[inline(always)]
    fn not_value(self, block: &[u8; BLOCK]) -> u64 {
        without(VALUE, block)
    }
    #[inline(always)]
    fn not_visible(self, block: &[u8; BLOCK]) -> u64 {
        without(VISIBLE, block)
    }
}
