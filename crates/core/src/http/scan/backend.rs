//! The kernel in use, chosen once for a parser.

use super::kernel::KernelTask;
#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::scalar::Scalar;
#[cfg(target_arch = "x86_64")]
use super::x86::{with_avx2, Avx2, Sse2};

/// The kernel that a parser uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    /// One byte at a time, by a table look-up; runs on every processor.
    #[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), allow(dead_code))]
    Scalar(Scalar),
    /// 16 bytes at a time; every x86-64 processor has SSE2.
    #[cfg(target_arch = "x86_64")]
    Sse2(Sse2),
    /// 32 bytes at a time.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// 16 bytes at a time; every aarch64 processor has NEON.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

impl Backend {
    /// The fastest kernel that this processor can run.
    pub(crate) fn best() -> Backend {
        #[cfg(target_arch = "x86_64")]
        {
            match Avx2::new() {
                Some(kernel) => Backend::Avx2(kernel),
                None => Backend::Sse2(Sse2::new()),
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            Backend::Neon(Neon::new())
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            Backend::Scalar(Scalar)
        }
    }

    /// Every kernel that this processor can run, for tests that compare them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn all() -> Vec<Backend> {
        #[allow(unused_mut)]
        let mut all = vec![Backend::Scalar(Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            all.push(Backend::Sse2(Sse2::new()));
            all.extend(Avx2::new().map(Backend::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Backend::Neon(Neon::new()));
        all
    }

    /// Runs a task that has a slower equivalent, if this is one of the kernels that current processors use.
    ///
    /// With the other kernels the slower equivalent does all of the work. That keeps small programs small, and allows
    /// comparing the two.
    #[inline(always)]
    pub(crate) fn run_if_wide<W: KernelTask<Output = Option<T>>, T>(self, task: W) -> Option<T> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2(kernel) => with_avx2(kernel, task),
            #[cfg(target_arch = "aarch64")]
            Backend::Neon(kernel) => task.run(kernel),
            _ => None,
        }
    }

    /// Runs a task with this kernel, inside a function that is compiled for its instruction set.
    #[inline(always)]
    pub(crate) fn run<W: KernelTask>(self, task: W) -> W::Output {
        match self {
            Backend::Scalar(kernel) => task.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Backend::Sse2(kernel) => task.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2(kernel) => with_avx2(kernel, task),
            #[cfg(target_arch = "aarch64")]
            Backend::Neon(kernel) => task.run(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{Masks, BLOCK};
    use super::*;

    #[test]
    fn every_kernel_agrees_with_the_table_on_every_byte_at_every_position_and_alignment() {
        let table = Backend::Scalar(Scalar);
        let mut memory = [b'a'; BLOCK * 2];
        for backend in Backend::all() {
            for alignment in 0..BLOCK {
                for position in 0..BLOCK {
                    for byte in 0..=255u8 {
                        memory[alignment + position] = byte;
                        let block: &[u8; BLOCK] = memory[alignment..alignment + BLOCK].try_into().unwrap();
                        assert_eq!(
                            backend.run(Masks(block)),
                            table.run(Masks(block)),
                            "{backend:?}, byte {byte:#04x} at {position}, alignment {alignment}"
                        );
                    }
                    memory[alignment + position] = b'a';
                }
                // A block of nearly equal bytes could hide a bit at the wrong position: test different bytes as well.
                if alignment % 16 == 0 {
                    for start in 0..=255u8 {
                        let block: [u8; BLOCK] = std::array::from_fn(|i| start.wrapping_add((i * 7) as u8));
                        assert_eq!(backend.run(Masks(&block)), table.run(Masks(&block)));
                    }
                }
            }
        }
    }
}
