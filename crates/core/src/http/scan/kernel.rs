//! The interface of a kernel, and of the tasks that run with one.

/// How many bytes a kernel classifies at once.
pub(crate) const BLOCK: usize = 64;

/// Classifies blocks of 64 bytes. Bit *i* of each mask stands for byte *i*.
///
/// The classes are those of RFC 9110 §5.6.2 (`tchar`) and §5.5 (`field-vchar`, SP and HTAB), and VCHAR of RFC 5234.
pub(crate) trait Kernel: Copy {
    /// The bytes that are not a `tchar`.
    fn not_token(self, block: &[u8; BLOCK]) -> u64;
    /// The bytes that may not stand in a field value: controls except HTAB, and DEL.
    fn not_value(self, block: &[u8; BLOCK]) -> u64;
    /// The bytes that are not visible ASCII (0x21 to 0x7E).
    fn not_visible(self, block: &[u8; BLOCK]) -> u64;
}

/// One of the three byte classes of [`Kernel`]. It is a type and not a closure, because a closure would not be compiled
/// for the kernel's instruction set.
pub(crate) trait Class {
    /// The bytes of a block that are outside the class.
    fn outside<K: Kernel>(kernel: K, block: &[u8; BLOCK]) -> u64;
}

/// The class of [`Kernel::not_token`].
pub(crate) struct Token;
/// The class of [`Kernel::not_value`].
pub(crate) struct Value;
/// The class of [`Kernel::not_visible`].
pub(crate) struct Visible;

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

/// A task that needs a kernel, written once and compiled for each instruction set.
///
/// `run` has to be `#[inline(always)]`, so that it becomes part of a function that carries the target features.
pub(crate) trait KernelTask {
    /// The result of the task.
    type Output;
    /// Runs the task with `kernel`.
    fn run<K: Kernel>(self, kernel: K) -> Self::Output;
}

/// Computes all three masks of one block (not token, not value, not visible), for tests that compare kernels.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct Masks<'a>(pub(crate) &'a [u8; BLOCK]);

#[cfg(any(test, feature = "fuzzing"))]
impl KernelTask for Masks<'_> {
    type Output = [u64; 3];

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> [u64; 3] {
        [kernel.not_token(self.0), kernel.not_value(self.0), kernel.not_visible(self.0)]
    }
}
