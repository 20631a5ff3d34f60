//! The descriptors of servers that are serving, of which a process forked meanwhile lets go.
//!
//! An application may fork without exec, as Python's `multiprocessing` does. Its child has copies of everything: clients
//! would not see their connections end, epoll would go on telling of connections that were closed, and the port would
//! stay taken for as long as the child lives. So, in such a child, each of these descriptors is put on the null device
//! before anything else runs (`pthread_atfork(3)`). Listening sockets that no server was made of are left alone: they may
//! be meant for children that are to make one.

#[cfg(unix)]
pub(crate) use unix::{keep_in_child, ForkGuard, ProcessMark};

#[cfg(unix)]
mod unix {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::Once;

    use crate::server::sys;

    /// More than that a process has open only where `fs.nr_open` was raised; those are left alone.
    const MOST: usize = 1 << 20;
    const BITS: usize = u64::BITS as usize;

    static GUARDED: [AtomicU64; MOST / BITS] = [const { AtomicU64::new(0) }; MOST / BITS];
    /// No word from here on was ever used.
    static USED: AtomicUsize = AtomicUsize::new(0);
    /// How many forks ago this process was the one that everything began in.
    static FORKS: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static KEEP: Cell<bool> = const { Cell::new(false) };
    }

    /// Stands beside a descriptor that is served; dropped before that is closed, since its number is somebody else's then.
    #[derive(Debug)]
    pub(crate) struct ForkGuard(sys::Raw);

    impl ForkGuard {
        pub(crate) fn new(fd: sys::Raw) -> ForkGuard {
            if let Some((word, bit)) = place(fd) {
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
            if let Some((word, bit)) = place(self.0) {
                GUARDED[word].fetch_and(!bit, Ordering::Relaxed);
            }
        }
    }

    fn place(fd: sys::Raw) -> Option<(usize, u64)> {
        let number = usize::try_from(fd).ok().filter(|&number| number < MOST)?;
        Some((number / BITS, 1 << (number % BITS)))
    }

    /// The process that something began in.
    #[derive(Debug)]
    pub(crate) struct ProcessMark(usize);

    impl ProcessMark {
        /// This one. From now on a process that is forked from it lets go of what is guarded.
        pub(crate) fn here() -> ProcessMark {
            static REGISTERED: Once = Once::new();
            // Without memory for it, things are as they are in other servers.
            REGISTERED.call_once(|| sys::at_fork(in_child));
            ProcessMark(FORKS.load(Ordering::Relaxed))
        }

        /// Is this another one, forked by others than its servers?
        pub(crate) fn is_forked(&self) -> bool {
            FORKS.load(Ordering::Relaxed) != self.0
        }
    }

    /// Forks, and the child is to go on with what is open.
    pub(crate) fn keep_in_child<R>(fork: impl FnOnce() -> R) -> R {
        KEEP.set(true);
        let forked = fork();
        KEEP.set(false);
        forked
    }

    /// Runs in a process that is a copy of one with many threads: no allocation, no lock.
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

        fn is_noted(fd: sys::Raw) -> bool {
            let (word, bit) = place(fd).unwrap();
            GUARDED[word].load(Ordering::Relaxed) & bit != 0
        }

        #[test]
        fn a_descriptor_is_noted_for_as_long_as_it_is_served() {
            // Numbers that no process of tests has open.
            for fd in [MOST as sys::Raw - 64, MOST as sys::Raw - 1] {
                let guarded = ForkGuard::new(fd);
                assert!(is_noted(fd) && !is_noted(fd - 1));
                drop(guarded);
                assert!(!is_noted(fd));
            }
            // Beyond what is kept: nothing, and no panic.
            for fd in [MOST as sys::Raw, sys::Raw::MAX, -1] {
                assert!(place(fd).is_none());
                drop(ForkGuard::new(fd));
            }
        }

        #[test]
        fn what_is_redirect_to_null_ends_for_the_other_side_and_keeps_its_number() {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            let (mut kept, mut other) = UnixStream::pair().unwrap();
            sys::redirect_to_null(|| iter::once(ours.as_raw_fd()));
            assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "it is closed");
            // Whoever still has the number does no harm with it.
            let _ = ours.write(b"lost");
            assert_eq!(ours.read(&mut [0]).unwrap_or(0), 0);
            kept.write_all(b"x").unwrap();
            assert_eq!(other.read(&mut [0]).unwrap(), 1);
        }
    }
}

#[cfg(not(unix))]
pub(crate) use other_systems::{ForkGuard, ProcessMark};

#[cfg(not(unix))]
mod other_systems {
    //! No system without forking needs to know.

    use crate::server::sys;

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
