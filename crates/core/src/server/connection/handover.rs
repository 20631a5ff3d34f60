//! Leaving for another process between two requests, and arriving from one.

use std::sync::Arc;

use super::read_buffer::ReadBuffer;
use super::state::{Remains, RequestClock, State};
use super::write_buffer::WriteBuffer;
use super::Connection;
use crate::server::body_store::BodyStore;
use crate::server::handover::StoredBody;
use crate::server::io::socket::Socket;
use crate::server::service::Service;

impl Connection {
    /// Adds what another process has read: a request, or the beginning of one.
    pub(crate) fn with_request(mut self, service: &Service, bytes: &[u8], body: Option<StoredBody>) -> Connection {
        self.body = body.map(|body| BodyStore::adopt(service.body_budget.clone(), body));
        if !bytes.is_empty() {
            let mut buffer = ReadBuffer::new((service.settings.limits.head, service.settings.leniency).into());
            buffer.free(bytes.len())[..bytes.len()].copy_from_slice(bytes);
            buffer.end += bytes.len();
            self.buffer = Some(buffer);
        }
        self
    }

    /// Whether another process can go on with the connection: nothing of its next request has been answered.
    pub(crate) fn can_be_handed_over(&self) -> bool {
        self.is_plain() && matches!(self.state, State::Head) && self.out.unsent() == 0
    }

    /// Prepares to leave for another process. False when the body of its request can't go along.
    pub(crate) fn prepare_handover(&mut self, service: &Service) -> bool {
        let settings = &service.settings;
        let Some(body) = &mut self.body else { return true };
        match body.write_out(settings.body_directory.as_deref(), &settings.limits) {
            Ok(()) => true,
            Err(error) => {
                settings.log.error(&format!("a request has to be answered by this process: {error}"));
                false
            }
        }
    }

    /// Leaves for another process: returns what was read of the next request, the body that it may have besides, and what
    /// is to be dropped outside of the event loop.
    pub(crate) fn into_idle(mut self: Box<Connection>) -> (Vec<u8>, Option<StoredBody>, Option<Remains>) {
        let body = self.body.take().and_then(BodyStore::into_file);
        let read_ahead = self.buffer.as_ref().map_or_else(Vec::new, |buffer| buffer.unread().to_vec());
        (read_ahead, body, self.take_remains())
    }

    /// Forgets the request in the buffer, which a forked process answers.
    pub(crate) fn forget_request(&mut self) {
        self.buffer = None;
        self.body = None;
        self.out = WriteBuffer::default();
        self.clock = RequestClock::default();
    }

    /// Waits for the next request, after a forked process has answered the last one.
    pub(crate) fn resume_idle(&mut self, now: u64) {
        self.state_entered_at = now;
    }

    /// Waits for the client's end of the connection, after a forked process has sent everything: its transport has said
    /// what it had to say, and what still arrives is discarded as it is.
    pub(crate) fn resume_linger(&mut self, socket: Arc<Socket>, announced: bool, now: u64) {
        self.transport = Box::new(socket);
        self.begin_linger(announced, now);
    }
}
