//! Protection of a server's descriptors from processes that the application forks.
//!
//! An application may fork without `exec`, as Python's `multiprocessing` does. The child has copies of all descriptors.
//! Without protection, clients would not see their connections end, epoll would go on reporting connections that were
//! closed, and the port would stay in use while the child lives. So in such a child, before any other code runs
//! (`pthread_atfork(3)`), each guarded descriptor is redirected to the null device. A listening socket is guarded only
//! while a server accepts from it: before that, it may be meant for children that make servers of their own.

#[cfg(unix)]
pub(crate) use unix::{install, keep_in_child, ForkGuard, ProcessMark};

#[cfg(unix)]
mod unix {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::Once;

    use crate::server::sys;

    /// Descriptors from this number on are not guarded. A process has them only where `fs.nr_open` was raised.
    const MAX_GUARDED: usize = 1 << 20;
    const BITS: usize = u64::BITS as usize;

    /// One bit for each descriptor number.
    static GUARDED: [AtomicU64; MAX_GUARDED / BITS] = [const { AtomicU64::new(0) }; MAX_GUARDED / BITS];
    /// The number of words of `GUARDED` that have been used so far.
    static USED: AtomicUsize = AtomicUsize::new(0);
    /// The number of forks by the application between the first process and this one.
    static FORKS: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        /// Whether a process that this thread forks now keeps the guarded descriptors.
        static KEEP: Cell<bool> = const { Cell::new(false) };
    }

    /// The protection of one descriptor. Must be dropped before the descriptor is closed, because its number may be reused
    /// then.
    #[derive(Debug)]
    pub(crate) struct ForkGuard(sys::Raw);

    impl ForkGuard {
        pub(crate) fn new(fd: sys::Raw) -> ForkGuard {
            if let Some((word, bit)) = bit_position(fd) {
                USED.fetch_max(word + 1, Ordering::Relaxed);
                GUARDED[word].fetch_or(bit, Ordering::Relaxed);
            }
            ForkGuard(fd)
        }

        pub(crate) fn of_file(file: &std::fs::File) -> ForkGuard {
            ForkGuard::new(std::os::fd::AsRawFd::as_raw_fd(file))
        }
    }

    impl Drop for ForkGuard {
        fn drop(&mut self) {
            if let Some((word, bit)) = bit_position(self.0) {
                GUARDED[word].fetch_and(!bit, Ordering::Relaxed);
            }
        }
    }

    /// Returns the index of the descriptor's word in `GUARDED`, and its bit.
    fn bit_position(fd: sys::Raw) -> Option<(usize, u64)> {
        let number = usize::try_from(fd).ok().filter(|&number| number < MAX_GUARDED)?;
        Some((number / BITS, 1 << (number % BITS)))
    }

    /// The identity of a process, to find out later whether this is a forked copy of it.
    #[derive(Debug)]
    pub(crate) struct ProcessMark(usize);

    impl ProcessMark {
        /// Returns the mark of this process.
        pub(crate) fn here() -> ProcessMark {
            ProcessMark(FORKS.load(Ordering::Relaxed))
        }

        /// Whether this process is a copy that the application has forked, not a `ForkingWsgiServer`. Always false unless
        /// the fork handler is [installed](install).
        pub(crate) fn is_forked(&self) -> bool {
            FORKS.load(Ordering::Relaxed) != self.0
        }
    }

    /// Installs the fork handler: from now on, a process forked from this one gives up the guarded descriptors.
    pub(crate) fn install() {
        static REGISTERED: Once = Once::new();
        // When there is no memory to register the handler, forked processes keep the descriptors, as with any server that
        // does not guard them.
        REGISTERED.call_once(|| sys::at_fork(in_child));
    }

    /// Calls `fork`, whose child keeps the guarded descriptors.
    pub(crate) fn keep_in_child<R>(fork: impl FnOnce() -> R) -> R {
        KEEP.set(true);
        let forked = fork();
        KEEP.set(false);
        forked
    }

    /// The handler of `pthread_atfork(3)`. The process may be a copy of one with many threads, so this code must neither
    /// allocate nor lock.
    extern "C" fn in_child() {
        if KEEP.get() {
            return;
        }
        FORKS.fetch_add(1, Ordering::Relaxed);
        let guarded = || {
            let words = GUARDED[..USED.load(Ordering::Relaxed).min(GUARDED.len())].iter().enumerate();
            words.flat_map(|(index, word)| {
                let word = word.load(Ordering::Relaxed);
                (0..BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| (index * BITS + bit) as sys::Raw)
            })
        };
        sys::redirect_to_null(guarded);
    }

    #[cfg(test)]
    mod tests {
        use std::io::{Read, Write};
        use std::iter;
        use std::os::fd::AsRawFd;
        use std::os::unix::net::UnixStream;

        use super::*;

        fn is_guarded(fd: sys::Raw) -> bool {
            let (word, bit) = bit_position(fd).unwrap();
            GUARDED[word].load(Ordering::Relaxed) & bit != 0
        }

        #[test]
        fn a_descriptor_is_guarded_until_its_guard_is_dropped() {
            // Numbers that are not open in a test process.
            for fd in [MAX_GUARDED as sys::Raw - 64, MAX_GUARDED as sys::Raw - 1] {
                let guard = ForkGuard::new(fd);
                assert!(is_guarded(fd) && !is_guarded(fd - 1));
                drop(guard);
                assert!(!is_guarded(fd));
            }
            // Numbers outside of the bitmap are ignored without a panic.
            for fd in [MAX_GUARDED as sys::Raw, sys::Raw::MAX, -1] {
                assert!(bit_position(fd).is_none());
                drop(ForkGuard::new(fd));
            }
        }

        #[test]
        fn a_redirected_descriptor_closes_its_connection_and_keeps_its_number() {
            let (mut redirected, mut peer) = UnixStream::pair().unwrap();
            let (mut kept, mut kept_peer) = UnixStream::pair().unwrap();
            sys::redirect_to_null(|| iter::once(redirected.as_raw_fd()));
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the connection is closed");
            // Code that still uses the number writes to and reads from the null device.
            let _ = redirected.write(b"lost");
            assert_eq!(redirected.read(&mut [0]).unwrap_or(0), 0);
            kept.write_all(b"x").unwrap();
            assert_eq!(kept_peer.read(&mut [0]).unwrap(), 1);
        }
    }
}

#[cfg(not(unix))]
pub(crate) use other_systems::{install, ForkGuard, ProcessMark};

#[cfg(not(unix))]
mod other_systems {
    //! Without `fork`, there is nothing to guard.

    use crate::server::sys;

    pub(crate) fn install() {}

    #[derive(Debug)]
    pub(crate) struct ForkGuard(());

    impl ForkGuard {
        pub(crate) fn new(_: sys::Raw) -> ForkGuard {
            ForkGuard(())
        }

        pub(crate) fn of_file(_: &std::fs::File) -> ForkGuard {
            ForkGuard(())
        }
    }

    #[derive(Debug)]
    pub(crate) struct ProcessMark;

    impl ProcessMark {
        pub(crate) fn here() -> ProcessMark {
            ProcessMark
        }

        pub(crate) fn is_forked(&self) -> bool {
            false
        }
    }
}
