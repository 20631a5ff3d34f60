//! Byte classification, 64 bytes at a time.
//!
//! The parser asks, for a block of 64 bytes, which of them can *not* be part of a token, a field value or a
//! request-target. Each answer is one bit in a `u64`, and the parser visits those bits with `trailing_zeros`. A
//! [`Kernel`] computes the masks. There is one kernel for each instruction set, and [`Scalar`], the table that every
//! other kernel is tested against, byte for byte. A [`Backend`] is the kernel that a parser uses, chosen at run time.
//!
//! `unsafe` code is allowed here and in one other place of the crate. Two things need it: loading vectors from memory,
//! and entering a `#[target_feature]` function. Both are sound for one reason: a value of a kernel type can only be
//! made after the processor was asked for the features.

mod backend;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use backend::Backend;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use kernel::Masks;
pub(crate) use kernel::{Class, Kernel, KernelTask, Token, Value, Visible, BLOCK};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use scalar::Scalar;
