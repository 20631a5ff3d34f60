//! The thread that runs Python's TLS objects.

use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use amboss::{HandshakeInfo, Log};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::format_traceback;
use crate::runtime::ffi::attach;
use crate::runtime::sync::lock;
use crate::ssl::channel::{Channel, ChannelState};

/// The thread that runs the TLS objects of a context, and the channels that have work for it.
pub(super) struct Engine {
    context: Py<PyAny>,
    queue: Mutex<Queue>,
    changed: Condvar,
    log: Arc<dyn Log>,
}

#[derive(Default)]
struct Queue {
    channels: Vec<Arc<Channel>>,
    is_running: bool,
    /// Whether the thread waits to be notified, which costs a system call.
    is_waiting: bool,
    /// Whether the server is gone, so that the thread ends.
    is_over: bool,
}

/// What one step of a TLS object has given: decrypted bytes, encrypted bytes to send, whether the client sends nothing more,
/// what is known after the handshake, and why the connection has failed.
type Stepped<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, bool, Option<SessionInfo>, Option<String>);
/// The protocol, the cipher, and the client's certificate (PEM).
type SessionInfo = (String, String, Option<String>);

impl Engine {
    pub(super) fn new(context: Py<PyAny>, log: Arc<dyn Log>) -> Arc<Engine> {
        Arc::new(Engine { context, queue: Mutex::default(), changed: Condvar::new(), log })
    }

    /// Makes the engine process a channel, whose state the caller has locked.
    pub(super) fn submit(self: &Arc<Engine>, channel: &Arc<Channel>, state: &mut ChannelState) {
        if std::mem::replace(&mut state.is_queued, true) {
            state.has_more = true;
            return;
        }
        let mut queue = lock(&self.queue);
        queue.channels.push(channel.clone());
        if !std::mem::replace(&mut queue.is_running, true) {
            let engine = self.clone();
            // Started with the first connection, in the process that serves.
            let started = thread::Builder::new().name("amboss-ssl".into()).spawn(move || engine.run());
            if let Err(error) = started {
                queue.is_running = false;
                self.log.error(&format!("can't start the thread for TLS, so its connections wait: {error}"));
            }
        }
        if std::mem::take(&mut queue.is_waiting) {
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// Ends the thread when it has processed what it has.
    pub(super) fn stop(&self) {
        lock(&self.queue).is_over = true;
        self.changed.notify_one();
    }

    fn run(&self) {
        loop {
            let channels = {
                let mut queue = lock(&self.queue);
                while queue.channels.is_empty() {
                    if queue.is_over {
                        return;
                    }
                    queue.is_waiting = true;
                    queue = self.changed.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
                }
                std::mem::take(&mut queue.channels)
            };
            attach(|py| {
                for channel in &channels {
                    self.process(py, channel);
                }
            });
            for channel in channels {
                self.finish(channel);
            }
        }
    }

    /// Runs the TLS object of a channel on what has arrived.
    fn process(&self, py: Python<'_>, channel: &Channel) {
        let (session, received, has_ended, data, closes) = {
            let mut state = channel.state();
            state.has_more = false;
            let (received, data) = (std::mem::take(&mut state.received), std::mem::take(&mut state.to_encrypt));
            let session = state.session.as_ref().map(|session| session.clone_ref(py));
            (session, received, state.has_ended, data, state.closes)
        };
        let stepped = session.map_or_else(|| self.begin_session(py, channel), Ok).and_then(|session| {
            let (received, data) = (PyBytes::new(py, &received), PyBytes::new(py, &data));
            let stepped = session.bind(py).call_method1("step", (received, has_ended, data, closes))?;
            // `stepped` keeps its bytes alive while they are copied below.
            let (decrypted, encrypted, closed, info, failure): Stepped<'_> = stepped.extract()?;
            let mut state = channel.state();
            state.decrypted.extend(decrypted.as_bytes());
            state.outgoing.extend_from_slice(encrypted.as_bytes());
            state.is_read_closed |= closed;
            if let Some((protocol, cipher, certificate)) = info {
                let mut done = HandshakeInfo::default();
                done.scheme = "https";
                done.variables.push(("SSL_PROTOCOL", protocol.into_bytes()));
                done.variables.push(("SSL_CIPHER", cipher.into_bytes()));
                if let Some(certificate) = certificate {
                    done.variables.push(("SSL_CLIENT_CERT", certificate.into_bytes()));
                }
                state.handshake = Some(Ok(done));
            }
            if let Some(failure) = failure {
                state.fail(failure);
            }
            Ok(())
        });
        if let Err(error) = stepped {
            // The context itself, or one of its callbacks, has raised.
            channel.state().fail(format_traceback(py, &error).trim_end().to_owned());
        }
    }

    fn begin_session(&self, py: Python<'_>, channel: &Channel) -> PyResult<Py<PyAny>> {
        let session = py.import("amboss._tls")?.getattr("Session")?.call1((&self.context,))?.unbind();
        channel.state().session = Some(session.clone_ref(py));
        Ok(session)
    }

    /// Sends what the step has given, and wakes the event loop.
    fn finish(&self, channel: Arc<Channel>) {
        let waker = {
            let mut state = channel.state();
            let sent = state.send(&channel.socket);
            match sent {
                Ok(true) if state.shuts_down && !state.has_more => {
                    let _ = channel.socket.shutdown(Shutdown::Write);
                }
                Ok(_) => {}
                Err(error) => state.fail(error.to_string()),
            }
            state.is_queued = false;
            if state.has_more {
                state.is_queued = true;
                lock(&self.queue).channels.push(channel.clone());
            }
            if state.waiting > 0 {
                channel.processed.notify_all();
            }
            state.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl ChannelState {
    /// Notes why the connection has failed.
    fn fail(&mut self, failure: String) {
        if self.handshake.is_none() {
            self.handshake = Some(Err(failure.clone()));
        }
        self.failure.get_or_insert(failure);
    }
}
