//! Transferring a connection to another process between two requests, and taking one over.

use std::sync::Arc;

use super::read_buffer::ReadBuffer;
use super::state::{Remains, RequestClock, State};
use super::write_buffer::WriteBuffer;
use super::Connection;
use crate::server::body_store::BodyStore;
use crate::server::handover::StoredBody;
use crate::server::io::socket::Socket;
use crate::server::proxies::ProxyOrigin;
use crate::server::service::Service;

impl Connection {
    /// Adds the bytes and the body that another process has read: a request, or the beginning of one or of a PROXY
    /// header.
    pub(crate) fn with_request(mut self, service: &Service, bytes: &[u8], body: Option<StoredBody>) -> Connection {
        self.body = body.map(|body| BodyStore::adopt(service.body_budget.clone(), body));
        if let State::ProxyHeader(pending) = &mut self.state {
            pending.bytes = bytes.to_vec();
        } else if !bytes.is_empty() {
            let mut buffer = ReadBuffer::with_settings(&service.settings);
            buffer.append(bytes);
            self.read_buffer = Some(buffer);
        }
        self
    }

    /// Whether another process can continue the connection: it is plain HTTP, and no response is in progress.
    pub(crate) fn can_be_handed_over(&self) -> bool {
        self.is_plain() && self.is_reading_head() && self.write_buffer.unsent() == 0
    }

    /// Prepares the transfer to another process. Returns false if the body of the request can't be transferred.
    pub(crate) fn prepare_handover(&mut self, service: &Service) -> bool {
        let settings = &service.settings;
        let Some(body) = &mut self.body else { return true };
        match body.write_out(settings.body_directory.as_deref(), &settings.limits) {
            Ok(()) => true,
            Err(error) => {
                settings.log.error(&format!("a request can't be handed over, so this process answers it: {error}"));
                false
            }
        }
    }

    /// What another process has to know about the connection's PROXY header.
    pub(crate) fn origin(&self) -> ProxyOrigin {
        self.provenance.origin
    }

    /// Takes apart a connection that is transferred to another process: returns the bytes that were read of the next
    /// request, its body if that is stored separately, and the values to drop outside of the event loop.
    pub(crate) fn into_idle(mut self: Box<Connection>) -> (Vec<u8>, Option<StoredBody>, Option<Remains>) {
        let body = self.body.take().and_then(BodyStore::into_file);
        let read_ahead = match &mut self.state {
            State::ProxyHeader(pending) => std::mem::take(&mut pending.bytes),
            _ => self.read_buffer.as_ref().map_or_else(Vec::new, |buffer| buffer.unread().to_vec()),
        };
        (read_ahead, body, self.take_remains())
    }

    /// Discards the request in the buffer: a forked process answers it.
    pub(crate) fn forget_request(&mut self) {
        self.read_buffer = None;
        self.body = None;
        self.write_buffer = WriteBuffer::default();
        self.clock = RequestClock::default();
        self.needs_slot = false;
    }

    /// Returns to waiting for the next request, after a forked process has answered the last one.
    pub(crate) fn resume_idle(&mut self, now: u64) {
        self.state_entered_at = now;
    }

    /// Begins to linger after a forked process has sent everything. The bare socket becomes the transport: a transport
    /// layer has nothing more to send, and input is discarded undecoded.
    pub(crate) fn resume_linger(&mut self, socket: Arc<Socket>, announced: bool, now: u64) {
        self.transport = Box::new(socket);
        self.begin_linger(announced, now);
    }
}
