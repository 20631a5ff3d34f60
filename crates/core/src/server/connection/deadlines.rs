//! The deadlines of a connection, and what happens when one has passed.

use super::state::{State, Transfer};
use super::{Connection, Step};
use crate::server::log::CloseReason;
use crate::server::service::Service;
use crate::server::settings::{millis, Timeouts};
use crate::wsgi::InputErrorKind;

fn transfer_deadline(timeouts: &Timeouts, transfer: &Transfer) -> u64 {
    timeouts.transfer_deadline(transfer.started, transfer.last_progress, transfer.transferred)
}

impl Connection {
    /// Returns the deadline of the current state, in the service's milliseconds; `u64::MAX` for none.
    pub(crate) fn deadline(&self, service: &Service) -> u64 {
        let timeouts = &service.settings.timeouts;
        if let Some(writing) = &self.writing {
            return transfer_deadline(timeouts, writing);
        }
        let after = |timeout| self.state_entered_at + millis(timeout);
        match &self.state {
            State::Handshake { begun: true } => after(timeouts.handshake),
            _ if self.is_idle() => after(timeouts.idle),
            State::ProxyHeader(_) => after(timeouts.handshake),
            State::Head if self.read_buffer.as_ref().is_none_or(|buffer| buffer.is_empty()) => after(timeouts.idle),
            State::Head => after(timeouts.head),
            State::Drain(_) => transfer_deadline(timeouts, &self.draining),
            State::Detached(detached) => detached.deadline(timeouts),
            State::Collect(request) => transfer_deadline(timeouts, &request.transfer),
            State::Linger { .. } => after(timeouts.linger),
            _ => u64::MAX,
        }
    }

    /// Returns when a request has waited too long for a thread, in the service's milliseconds.
    pub(crate) fn queue_deadline(&self, service: &Service) -> u64 {
        self.queued_at.map_or(u64::MAX, |since| {
            service.now().saturating_add(millis(service.settings.timeouts.queued.saturating_sub(since.elapsed())))
        })
    }

    /// Ends the connection or refuses its request, because the deadline has passed.
    pub(crate) fn time_out(&mut self, service: &Service, now: u64) -> Step {
        if let State::Detached(_) = self.state {
            return self.time_out_task();
        }
        if self.writing.is_some() {
            self.set_close_reason(CloseReason::WriteTimeout);
            return self.close();
        }
        match &self.state {
            State::Handshake { begun: true } => self.set_close_reason(CloseReason::HandshakeTimeout),
            _ if self.is_idle() => self.close_idle(CloseReason::Idle),
            State::ProxyHeader(_) => self.set_close_reason(CloseReason::ProxyHeaderTimeout),
            State::Head => {
                self.set_close_reason(CloseReason::HeadTimeout);
                self.refuse_with_status(service, 408, "the head of the request did not arrive in time");
                return self.flush(service, now);
            }
            State::Collect(_) => {
                self.refuse_body(service, InputErrorKind::TooSlow.into());
                return self.flush(service, now);
            }
            State::Drain(_) => self.set_close_reason(CloseReason::BodyTimeout),
            _ => {}
        }
        self.close()
    }
}
