//! The threads of one worker: one reads its control socket, one copies its stderr, one waits for its end. They make no
//! decisions, and end with the worker.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::process::ChildStderr;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{waitid, Pid, WaitId, WaitIdOptions};

use super::fd_registry::FdRegistry;
use super::input::Input;
use super::semaphore::Semaphore;
use crate::process::{ControlMessage, ControlSocket, Received};
use crate::sync::lock;

/// The maximum number of bytes of a worker's stderr that are kept: enough for a page of compiler output or a long
/// traceback.
const MAX_CAPTURED: usize = 64 * 1024;

/// How long after a worker's end the rest of its output and messages is awaited (250 ms). A program that the worker
/// left running may keep the pipes open.
const OUTPUT_GRACE: Duration = Duration::from_millis(250);

/// Reads a worker's messages until the stream ends or is invalid; the supervisor can still stop the worker by signals.
///
/// `_open` is dropped when everything has been read.
pub(super) fn read_control(
    id: u64,
    mut control: ControlSocket,
    registry: &FdRegistry,
    semaphore: &Semaphore,
    inputs: &Sender<Input>,
    _open: Sender<()>,
) {
    let mut partial: Vec<RawFd> = Vec::new();
    while control.wait_readable().is_ok() {
        let mut registered = registry.lock();
        let received = control.read_once();
        // The descriptors of an unknown message have been closed with it.
        for descriptor in partial.drain(..) {
            registered.remove(&descriptor);
        }
        match &received {
            Ok(Received::Message(message)) => {
                partial.extend(message.descriptors().map(|descriptor| descriptor.as_raw_fd()));
            }
            _ => partial.extend(control.partial_descriptors().map(|descriptor| descriptor.as_raw_fd())),
        }
        registered.extend(&partial);
        drop(registered);
        let input = match received {
            Ok(Received::Message(message @ ControlMessage::Connection { .. })) => {
                partial.clear();
                let connection = registry.track(message);
                if !semaphore.acquire() {
                    return;
                }
                Input::Connection(id, connection)
            }
            Ok(Received::Message(message)) => Input::Message(id, message),
            Ok(Received::Incomplete) => continue,
            Ok(Received::Closed) | Err(_) => break,
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
    let mut registered = registry.lock();
    for descriptor in &partial {
        registered.remove(descriptor);
    }
    // Closed while the registry is locked, so that no fork happens in between.
    drop(control);
}

/// Copies a worker's stderr to the supervisor's, and keeps the last part of it. `_open` is dropped at the end.
pub(super) fn copy_stderr(mut stderr: ChildStderr, captured: &Mutex<Vec<u8>>, _open: Sender<()>) {
    let mut piece = [0; 8192];
    loop {
        let count = match stderr.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let _ = io::stderr().write_all(&piece[..count]);
        let mut captured = lock(captured);
        captured.extend(&piece[..count]);
        let excess = captured.len().saturating_sub(MAX_CAPTURED);
        captured.drain(..excess);
    }
}

/// Waits for a worker's end and then for its last output, and reports the end. Does not reap the worker: its process id
/// stays reserved until the supervisor's thread reaps it, so no signal can hit an unrelated process.
pub(super) fn wait_for_exit(id: u64, pid: Pid, inputs: &Sender<Input>, all_read: &Receiver<()>) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
    let _ = all_read.recv_timeout(OUTPUT_GRACE);
    let _ = inputs.send(Input::Exited(id));
}
