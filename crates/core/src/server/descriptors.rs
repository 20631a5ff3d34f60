//! The descriptors of servers that are serving, of which a process forked meanwhile lets go.
//!
//! An application may fork without exec, as Python's `multiprocessing` does. Its child has copies of everything: clients
//! would not see their connections end, epoll would go on telling of connections that were closed, and the port would
//! stay taken for as long as the child lives. So, in such a child, each of these descriptors is put on the null device
//! before anything else runs (`pthread_atfork(3)`). Listening sockets that no server was made of are left alone: they may
//! be meant for children that are to make one.

#[cfg(unix)]
pub(super) use unix::{keep_in_child, Home, Noted};

#[cfg(unix)]
mod unix {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::Once;

    use super::super::sys;

    /// More than that a process has open only where `fs.nr_open` was raised; those are left alone.
    const MOST: usize = 1 << 20;
    const BITS: usize = u64::BITS as usize;

    static NOTED: [AtomicU64; MOST / BITS] = [const { AtomicU64::new(0) }; MOST / BITS];
    /// No word from here on was ever used.
    static USED: AtomicUsize = AtomicUsize::new(0);
    /// How many forks ago this process was the one that everything began in.
    static FORKS: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static KEEP: Cell<bool> = const { Cell::new(false) };
    }

    /// Stands beside a descriptor that is served; dropped before that is closed, since its number is somebody else's then.
    #[derive(Debug)]
    pub(in crate::server) struct Noted(sys::Raw);

    impl Noted {
        pub(in crate::server) fn new(fd: sys::Raw) -> Noted {
            if let Some((word, bit)) = place(fd) {
                USED.fetch_max(word + 1, Ordering::Relaxed);
                NOTED[word].fetch_or(bit, Ordering::Relaxed);
            }
            Noted(fd)
        }

        pub(in crate::server) fn of_file(file: &std::fs::File) -> Noted {
            Noted::new(std::os::fd::AsRawFd::as_raw_fd(file))
        }
    }

    impl Drop for Noted {
        fn drop(&mut self) {
            if let Some((word, bit)) = place(self.0) {
                NOTED[word].fetch_and(!bit, Ordering::Relaxed);
            }
        }
    }

    fn place(fd: sys::Raw) -> Option<(usize, u64)> {
        let number = usize::try_from(fd).ok().filter(|&number| number < MOST)?;
        Some((number / BITS, 1 << (number % BITS)))
    }

    /// The process that something began in.
    #[derive(Debug)]
    pub(in crate::server) struct Home(usize);

    impl Home {
        /// This one. From now on a process that is forked from it lets go of what is noted.
        pub(in crate::server) fn here() -> Home {
            static REGISTERED: Once = Once::new();
            // Without memory for it, things are as they are in other servers.
            REGISTERED.call_once(|| sys::at_fork(in_child));
            Home(FORKS.load(Ordering::Relaxed))
        }

        /// Is this another one, forked by others than its servers?
        pub(in crate::server) fn is_elsewhere(&self) -> bool {
            FORKS.load(Ordering::Relaxed) != self.0
        }
    }

    /// Forks, and the child is to go on with what is open.
    pub(in crate::server) fn keep_in_child<R>(fork: impl FnOnce() -> R) -> R {
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
        let noted = || {
            let words = NOTED[..USED.load(Ordering::Relaxed).min(NOTED.len())].iter().enumerate();
            words.flat_map(|(index, word)| {
                let word = word.load(Ordering::Relaxed);
                (0..BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| (index * BITS + bit) as sys::Raw)
            })
        };
        sys::put_on_null(noted);
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
            NOTED[word].load(Ordering::Relaxed) & bit != 0
        }

        #[test]
        fn a_descriptor_is_noted_for_as_long_as_it_is_served() {
            // Numbers that no process of tests has open.
            for fd in [MOST as sys::Raw - 64, MOST as sys::Raw - 1] {
                let noted = Noted::new(fd);
                assert!(is_noted(fd) && !is_noted(fd - 1));
                drop(noted);
                assert!(!is_noted(fd));
            }
            // Beyond what is kept: nothing, and no panic.
            for fd in [MOST as sys::Raw, sys::Raw::MAX, -1] {
                assert!(place(fd).is_none());
                drop(Noted::new(fd));
            }
        }

        #[test]
        fn what_is_put_on_null_ends_for_the_other_side_and_keeps_its_number() {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            let (mut kept, mut other) = UnixStream::pair().unwrap();
            sys::put_on_null(|| iter::once(ours.as_raw_fd()));
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
pub(super) use elsewhere::{Home, Noted};

#[cfg(not(unix))]
mod elsewhere {
    //! No system without forking needs to know.

    use super::super::sys;

    #[derive(Debug)]
    pub(in crate::server) struct Noted(());

    impl Noted {
        pub(in crate::server) fn new(_: sys::Raw) -> Noted {
            Noted(())
        }

        pub(in crate::server) fn of_file(_: &std::fs::File) -> Noted {
            Noted(())
        }
    }

    #[derive(Debug)]
    pub(in crate::server) struct Home;

    impl Home {
        pub(in crate::server) fn here() -> Home {
            Home
        }

        pub(in crate::server) fn is_elsewhere(&self) -> bool {
            false
        }
    }
}
