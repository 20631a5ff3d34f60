//! The PROXY header in front of a connection.
//!
//! It is read from the socket itself, before the transport sees a byte. Only the bytes of the header are taken out: each
//! read looks at what has arrived (MSG_PEEK), and then discards the part of it that belongs to the header. So the first
//! byte that the transport reads is the first one behind the header, whatever the transport is.

use std::io::{self, Read};
use std::sync::Arc;

use super::read_buffer::ReadBuffer;
use super::state::{CloseMode, PendingProxyHeader, State};
use super::{Connection, Step};
use crate::http::{ProxyHeader, ProxyHeaderErrorKind};
use crate::server::io::socket::Socket;
use crate::server::log::CloseReason;
use crate::server::proxies::{ProxyOrigin, ProxyProtocol};
use crate::server::service::Service;

/// How many bytes one look returns. A header is rarely longer (section 2 of the specification: a sender has to fit it
/// into 536 bytes); more than this takes several looks.
const LOOK: usize = 536;

impl Connection {
    /// Decides whether the peer is trusted, and whether the connection begins with a PROXY header. `origin` is what
    /// another process knows about the header.
    pub(crate) fn with_proxies(mut self, service: &Service, socket: &Arc<Socket>, origin: ProxyOrigin) -> Connection {
        let proxies = &service.settings.proxies;
        self.provenance.set_origin(origin, &proxies.trusted);
        if origin != ProxyOrigin::Unread {
            return self;
        }
        match proxies.protocol {
            ProxyProtocol::Off => self.provenance.origin = ProxyOrigin::Direct,
            ProxyProtocol::Optional if !self.provenance.is_trusted => self.provenance.origin = ProxyOrigin::Direct,
            ProxyProtocol::Required if !self.provenance.is_trusted => self.refuse_untrusted(),
            ProxyProtocol::Optional | ProxyProtocol::Required => self.await_proxy_header(socket.clone()),
        }
        self
    }

    /// Reads more of the PROXY header. Returns `None` if the state has changed or there may be more to read.
    #[cold]
    pub(super) fn read_proxy_header(&mut self, service: &Service, now: u64) -> Option<Step> {
        let State::ProxyHeader(pending) = &mut self.state else { return None };
        let socket = pending.socket.clone();
        let mut look = [0; LOOK];
        let count = match socket.peek(&mut look) {
            Ok(0) => {
                self.begin_closing(CloseMode::Immediate);
                return Some(Step::Flush);
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(Step::Read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
            Err(_) => return Some(self.peer_gone()),
        };
        if pending.bytes.is_empty() {
            self.state_entered_at = now;
        }
        let before = pending.bytes.len();
        pending.bytes.extend_from_slice(&look[..count]);
        match ProxyHeader::parse(&pending.bytes, service.settings.limits.proxy_header) {
            Ok(Some((header, length))) => {
                if discard(&socket, length - before).is_err() {
                    return Some(self.peer_gone());
                }
                self.end_proxy_header(service, header.into(), now);
                None
            }
            Ok(None) => match discard(&socket, count) {
                Ok(()) => None,
                Err(_) => Some(self.peer_gone()),
            },
            Err(error) => {
                let is_optional = service.settings.proxies.protocol == ProxyProtocol::Optional;
                // Nothing that belongs to TLS has been taken out: none of its records begins like a PROXY header.
                let can_go_on = before == 0 || !pending.handshake;
                if error.kind() == ProxyHeaderErrorKind::NotAHeader && is_optional && can_go_on {
                    self.begin_without_proxy_header(service, before, now);
                    return None;
                }
                self.set_close_reason(CloseReason::ProxyHeader(error));
                Some(self.close())
            }
        }
    }

    /// Goes on with a connection that has no PROXY header. The first `taken` of its bytes were taken out of the socket,
    /// because they could have been the beginning of one.
    fn begin_without_proxy_header(&mut self, service: &Service, taken: usize, now: u64) {
        let State::ProxyHeader(pending) = &mut self.state else { return };
        let taken: Vec<u8> = pending.bytes.drain(..taken).collect();
        let entered_at = self.state_entered_at;
        self.end_proxy_header(service, ProxyOrigin::Direct, now);
        if !taken.is_empty() {
            self.read_buffer.get_or_insert_with(|| ReadBuffer::with_settings(&service.settings)).append(&taken);
            // They are the beginning of a head, whose time runs.
            self.state_entered_at = entered_at;
        }
    }
}

impl PendingProxyHeader {
    pub(super) fn new(socket: Arc<Socket>, handshake: bool) -> PendingProxyHeader {
        PendingProxyHeader { socket, bytes: Vec::new(), handshake }
    }
}

/// Takes bytes out of a socket that are known to have arrived.
fn discard(socket: &Socket, mut count: usize) -> io::Result<()> {
    let mut discarded = [0; LOOK];
    while count > 0 {
        match { socket }.read(&mut discarded[..count]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => count -= read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
