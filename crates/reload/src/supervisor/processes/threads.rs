//! The threads beside a child: one waits for its end, one reads its control socket, one copies its stderr. None of them
//! decides anything; each ends with the child.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::process::ChildStderr;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use rustix::process::{waitid, Pid, WaitId, WaitIdOptions};

use super::super::passing::Passing;
use super::super::Event;
use crate::control::{Control, Message, Step};

/// How much of a child's stderr is kept, in bytes: a compiler's page or a long traceback.
const KEPT_OUTPUT: usize = 64 * 1024;

/// How long after a child's end its last words are waited for; a program that it left behind may keep them open.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Connections that were read from children and not looked at yet. Beyond, a child waits with the next: it may have
/// thousands, and each costs a descriptor.
const UNSEEN: usize = 64;

/// Lets so many connections through at a time.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// `None` when nobody looks at them any more.
    unseen: Mutex<Option<usize>>,
    seen: Condvar,
}

impl Gate {
    pub(super) fn new() -> Gate {
        Gate { unseen: Mutex::new(Some(0)), seen: Condvar::new() }
    }

    /// Waits for room; false when there will be none.
    fn enter(&self) -> bool {
        let unseen = self.unseen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let full = |unseen: &mut Option<usize>| unseen.is_some_and(|count| count >= UNSEEN);
        let mut unseen = self.seen.wait_while(unseen, full).unwrap_or_else(|poisoned| poisoned.into_inner());
        unseen.as_mut().map(|count| *count += 1).is_some()
    }

    fn change(&self, change: impl FnOnce(&mut Option<usize>)) {
        change(&mut self.unseen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        self.seen.notify_all();
    }

    /// One was looked at.
    pub(super) fn leave(&self) {
        self.change(|unseen| *unseen = unseen.map(|count| count.saturating_sub(1)));
    }

    pub(super) fn close(&self) {
        self.change(|unseen| *unseen = None);
    }
}

/// Hears a child until it has nothing more to say, or can't be understood: the supervisor has other ways to tell such a
/// one to go.
pub(super) fn listen(
    id: u64,
    mut control: Control,
    passing: &Passing,
    gate: &Gate,
    events: &Sender<Event>,
    _heard: Sender<()>,
) {
    let mut arriving: Vec<RawFd> = Vec::new();
    while control.wait().is_ok() {
        let mut known = passing.lock();
        let step = control.step();
        // What was there may have gone with a message that nobody understands.
        for descriptor in arriving.drain(..) {
            known.remove(&descriptor);
        }
        match &step {
            Ok(Step::Message(message)) => arriving.extend(message.descriptors().map(|there| there.as_raw_fd())),
            _ => arriving.extend(control.arriving().map(|there| there.as_raw_fd())),
        }
        known.extend(&arriving);
        drop(known);
        let event = match step {
            Ok(Step::Message(message @ Message::Connection { .. })) => {
                arriving.clear();
                let connection = passing.message(message);
                if !gate.enter() {
                    return;
                }
                Event::Connection(id, connection)
            }
            Ok(Step::Message(message)) => Event::Message(id, message),
            Ok(Step::More) => continue,
            Ok(Step::End) | Err(_) => break,
        };
        if events.send(event).is_err() {
            return;
        }
    }
    let mut known = passing.lock();
    for descriptor in &arriving {
        known.remove(descriptor);
    }
    // While nobody forks.
    drop(control);
}

pub(super) fn copy(mut errors: ChildStderr, kept: &Mutex<Vec<u8>>, _heard: Sender<()>) {
    let mut piece = [0; 8192];
    loop {
        let count = match errors.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let _ = io::stderr().write_all(&piece[..count]);
        let mut kept = kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.extend(&piece[..count]);
        let excess = kept.len().saturating_sub(KEPT_OUTPUT);
        kept.drain(..excess);
    }
}

pub(super) fn wait(id: u64, pid: Pid, events: &Sender<Event>, all_heard: &Receiver<()>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    let _ = all_heard.recv_timeout(LAST_WORDS);
    let _ = events.send(Event::Exited(id));
}
