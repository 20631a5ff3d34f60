//! The classes as a table: the definition that every other kernel is proven equal to.

use super::{Kernel, BLOCK};

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const VISIBLE: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        // RFC 9110 §5.6.2: tchar
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            class |= TOKEN;
        }
        // RFC 9110 §5.5: field-vchar = VCHAR / obs-text, and between them SP and HTAB
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class |= VALUE;
        }
        if b.is_ascii_graphic() {
            class |= VISIBLE;
        }
        table[byte] = class;
        byte += 1;
    }
    table
};

/// For each low nibble, the set of high nibbles with which it forms a `tchar`: what byte shuffles look up.
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

/// Is this byte a `tchar` (RFC 9110 §5.6.2)?
#[inline]
pub const fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// May this byte stand in a field value (RFC 9110 §5.5)?
#[inline]
pub const fn is_value(byte: u8) -> bool {
    CLASSES[byte as usize] & VALUE != 0
}

/// Is this a name of one `tchar` or more (RFC 9110 §5.6.2, `token`)?
#[inline]
pub fn is_token_slice(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token(byte))
}

/// The portable kernel.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

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
