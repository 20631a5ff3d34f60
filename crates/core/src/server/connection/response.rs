//! The beginning and the end of a response. What does not fit into the write buffer is sent in between by `send`.

use std::sync::atomic::Ordering;

use super::body_source::{file_as_blocks, open_source, BodySource};
use super::state::{CloseMode, Exchange, Response, ResponseProgress};
use super::Connection;
use crate::http::{BodyWriter, ResponseFraming, ResponsePlan};
use crate::server::log::CloseReason;
use crate::server::scheduler::Scheduler;
use crate::server::service::Service;
use crate::server::upgrade::OnUpgrade;
use crate::wsgi::{Body, Kind};

/// The maximum size in bytes of a body that is copied behind its head, so that one write sends both, and the next
/// request can be processed before that write.
pub(super) const COPIED: usize = 16 * 1024;

impl Connection {
    /// Begins the response to a request whose application has returned `body`. Returns the body if it is sent in parts;
    /// the caller then continues the response.
    pub(super) fn begin_response(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        exchange: &mut Exchange,
        body: &mut Body,
        on_upgrade: &mut Option<OnUpgrade>,
    ) -> Option<BodySource> {
        self.limit_keep_alive(service, exchange);
        let status = match &exchange.progress {
            ResponseProgress::HeadSet { head, .. } | ResponseProgress::Streaming { head, .. } => head.status(),
            ResponseProgress::NotStarted => {
                self.close_body(service, scheduler, exchange, body.take());
                let error = "the application returned without calling start_response";
                self.abort(service, exchange, error.into());
                return None;
            }
        };
        if status == 101 {
            self.close_body(service, scheduler, exchange, body.take());
            self.switch_protocols(service, exchange, on_upgrade.take());
            return None;
        }
        let has_no_body = exchange.context.head || !crate::http::allows_body(status);
        if let Kind::Bytes(data) = &body.0 {
            self.finish_head(service, exchange, Some(data.len() as u64));
            if let ResponseProgress::Streaming { plan, mut writer, .. } = exchange.progress {
                if data.len() <= COPIED || has_no_body || plan.framing == ResponseFraming::Chunked {
                    writer.append(data, &mut self.write_buffer.bytes);
                    self.end_buffered_response(service, exchange, status, plan, writer);
                    return None;
                }
            }
        }
        let (source, length) = match open_source(body.take()) {
            Ok(opened) => opened,
            Err(error) => {
                self.abort(service, exchange, error.into());
                return None;
            }
        };
        // The framing of blocks is decided when the first block is known; all other bodies have a known framing now.
        if has_no_body || !matches!(source, BodySource::Blocks(_)) {
            self.finish_head(service, exchange, length);
        }
        let is_chunked = matches!(exchange.progress, ResponseProgress::Streaming { plan, .. }
            if plan.framing == ResponseFraming::Chunked);
        if let Some(head_start) = exchange.progress.head_start().filter(|&start| self.write_buffer.sent < start) {
            // Earlier responses do not have to wait for the first block of this one.
            let _ = self.write_buffer.flush_to(head_start, &mut *self.transport);
        }
        Some(if is_chunked { file_as_blocks(source) } else { source })
    }

    /// Makes the request the last of its connection, if the connection can't stay open after it.
    #[inline]
    pub(super) fn limit_keep_alive(&self, service: &Service, exchange: &mut Exchange) {
        exchange.context.keep_alive &= exchange.body.is_drainable(service.settings.limits.drain);
        // While the application ran, the server may have begun to hand over its connections, and one with a transport
        // layer can't be handed over.
        exchange.context.keep_alive &= self.is_plain() || !service.hands_over.load(Ordering::Relaxed);
    }

    /// Completes a head that has been set, with the framing fields for a body of this length.
    #[inline]
    pub(super) fn finish_head(&mut self, service: &Service, exchange: &mut Exchange, length: Option<u64>) {
        if let ResponseProgress::HeadSet { head, .. } = exchange.progress {
            let plan = service.finish_head(&head, &mut self.write_buffer.bytes, exchange.context, length);
            exchange.progress = ResponseProgress::Streaming { head, plan, writer: BodyWriter::new(plan.framing) };
        }
    }

    /// Leaves HTTP after response 101 (RFC 9110 §7.8).
    fn switch_protocols(&mut self, service: &Service, exchange: &mut Exchange, on_upgrade: Option<OnUpgrade>) {
        let error = match &on_upgrade {
            None => Some("the application responded with 101 but did not set a handler; call amboss_core::on_upgrade"),
            // The client has to offer the upgrade.
            Some(_) if !exchange.upgrade_offered => {
                Some("the application responded with 101 to a request that does not offer an upgrade")
            }
            // The new protocol begins after the request, so the rest of the body would be taken for it.
            Some(_) if !exchange.body.is_done() => {
                Some("the application responded with 101 before it had read the body of the request")
            }
            Some(_) => None,
        };
        let on_upgrade = match (error, on_upgrade) {
            (None, Some(on_upgrade)) => on_upgrade,
            (error, _) => return self.abort(service, exchange, error.unwrap_or_default().into()),
        };
        // Has no effect if the application has called `write`: the head is complete then.
        self.finish_head(service, exchange, None);
        debug_assert!(matches!(exchange.progress, ResponseProgress::Streaming { plan, .. } if !plan.keep_alive));
        self.log_when_written(service, exchange, 101, 0);
        let consumed = exchange.consumed;
        if let Some(buffer) = &mut self.read_buffer {
            buffer.next_request(consumed);
        }
        self.answered += 1;
        self.begin_upgrade(on_upgrade);
    }

    /// Ends a response whose source is exhausted, or whose framing allows no more bytes.
    pub(super) fn end_streamed_response(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        response: Box<Response>,
    ) {
        let Response { mut exchange, source, .. } = *response;
        self.finish_head(service, &mut exchange, Some(0));
        let ResponseProgress::Streaming { head, plan, writer } = exchange.progress else { return };
        self.writing = None;
        let is_whole = writer.end(&mut self.write_buffer.bytes);
        if is_whole && source.has_close() && self.write_buffer.unsent() > 0 {
            // The client does not have to wait for the application's `close()`. The next flush handles bytes that can't
            // be sent now, and errors.
            let _ = self.write_buffer.flush(&mut *self.transport);
        }
        let status = head.status();
        let is_written = self.write_buffer.unsent() == 0;
        if is_written {
            self.log(service, &exchange, status, writer.written());
        }
        self.close_source(service, scheduler, &exchange, source);
        if !is_written {
            self.log_when_written(service, &mut exchange, status, writer.written());
        }
        self.finish_response(service, &mut exchange, plan, writer, is_whole);
    }

    /// Ends a response that is completely in the write buffer.
    #[inline]
    pub(super) fn end_buffered_response(
        &mut self,
        service: &Service,
        exchange: &mut Exchange,
        status: u16,
        plan: ResponsePlan,
        writer: BodyWriter,
    ) {
        let is_whole = writer.end(&mut self.write_buffer.bytes);
        self.log_when_written(service, exchange, status, writer.written());
        self.finish_response(service, exchange, plan, writer, is_whole);
    }

    /// Counts a response, and ends its exchange. Cuts the connection if the body was shorter than declared.
    #[inline]
    fn finish_response(
        &mut self,
        service: &Service,
        exchange: &mut Exchange,
        plan: ResponsePlan,
        writer: BodyWriter,
        is_whole: bool,
    ) {
        self.answered += 1;
        if !is_whole {
            self.set_close_reason(CloseReason::ResponseAborted);
            service.settings.log.error(&format!(
                "the application gave fewer bytes than it had declared, or a file became shorter while it was sent ({} \
                 bytes were sent); the connection is cut",
                writer.written()
            ));
            return self.begin_closing(CloseMode::Immediate);
        }
        self.end_exchange(exchange, plan.keep_alive);
    }
}
