//! Failures of a response: a 500 while the head can still be replaced, a cut connection afterwards, and in any case the
//! application's `close()`.

use super::body_source::BodySource;
use super::state::{CloseMode, Exchange, Response, ResponseProgress};
use super::write_buffer::WriteBuffer;
use super::{Connection, Step};
use crate::http::ResponseFraming;
use crate::server::log::CloseReason;
use crate::server::panics::{self, AppOwned, Panic};
use crate::server::scheduler::Scheduler;
use crate::server::service::{Failure, Service};
use crate::wsgi::{AppError, Body, Kind};

impl Connection {
    /// Ends the exchange because the application failed: with a 500 if the head has not been sent, else by cutting the
    /// connection.
    pub(super) fn abort(&mut self, service: &Service, exchange: &mut Exchange, error: AppError) {
        let input_error = exchange.body.failed;
        self.report(service, exchange, &error);
        if let ResponseProgress::Streaming { head, plan, writer } = exchange.progress {
            self.log(service, exchange, head.status(), writer.written());
            self.set_close_reason(CloseReason::ResponseAborted);
            if plan.framing == ResponseFraming::Close {
                // The end of this body is the end of the connection, so only a reset tells the client that the body is
                // incomplete.
                let _ = self.write_buffer.flush(&mut *self.transport);
                let _ = self.transport.abort();
                self.write_buffer = WriteBuffer::default();
            }
            self.begin_closing(CloseMode::Immediate);
        } else {
            self.discard_head(exchange);
            exchange.context.keep_alive &= exchange.body.is_drainable(service.settings.limits.drain);
            let (status, message) = match input_error {
                Some(error) => (error.status(), error.to_string()),
                None => (500, "the application failed; see the server's log".to_owned()),
            };
            let (plan, written) = self.write_error(service, status, &message, None, exchange.context);
            self.log_when_written(service, exchange, status, written);
            self.answered += 1;
            self.end_exchange(exchange, plan.keep_alive);
        }
        // An error of the request body is the client's fault and must not end the server.
        if input_error.is_none() {
            self.record_error(service, error);
        } else {
            drop_error(service, || drop(error));
        }
    }

    /// Ends the exchange because of a failure that `serve_forever` reports: the client gets no response, and the
    /// connection is cut.
    pub(super) fn abort_silently(&mut self, exchange: &Exchange) {
        self.discard_head(exchange);
        self.set_close_reason(CloseReason::ResponseAborted);
        self.begin_closing(CloseMode::Immediate);
    }

    /// Ends a response because the application's blocks failed.
    pub(super) fn fail_streaming(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        response: Box<Response>,
        error: AppError,
    ) {
        let Response { mut exchange, source, .. } = *response;
        self.close_source(service, scheduler, &exchange, source);
        self.abort(service, &mut exchange, error);
    }

    /// Ends a response because the client has gone. The application learns about it from its body's `close()`.
    pub(super) fn abandon_response(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        response: Box<Response>,
    ) -> Step {
        let Response { exchange, source, .. } = *response;
        self.close_source(service, scheduler, &exchange, source);
        match exchange.progress {
            ResponseProgress::Streaming { head, writer, .. } => {
                self.log(service, &exchange, head.status(), writer.written());
            }
            ResponseProgress::HeadSet { head, .. } => self.log(service, &exchange, head.status(), 0),
            ResponseProgress::NotStarted => {}
        }
        self.peer_gone()
    }

    /// Removes from the write buffer a head that has been set but not sent.
    pub(super) fn discard_head(&mut self, exchange: &Exchange) {
        if let Some(head_start) = exchange.progress.head_start() {
            self.write_buffer.bytes.truncate(head_start);
        }
    }

    /// Closes the body that the application returned (PEP 3333's `close()`), which may be slow or panic.
    pub(super) fn close_body(&self, service: &Service, scheduler: &mut dyn Scheduler, exchange: &Exchange, body: Body) {
        match body.0 {
            Kind::Bytes(_) => {}
            Kind::Blocks(blocks) => self.close_owned(service, scheduler, exchange, AppOwned::new(blocks)),
            Kind::File { close, .. } => self.close_owned(service, scheduler, exchange, AppOwned::new(close)),
        }
    }

    pub(super) fn close_source(
        &self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        exchange: &Exchange,
        source: BodySource,
    ) {
        match source {
            BodySource::Blocks(blocks) => self.close_owned(service, scheduler, exchange, blocks),
            BodySource::File { close: Some(close), .. } => self.close_owned(service, scheduler, exchange, close),
            _ => {}
        }
    }

    fn close_owned<T>(
        &self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        exchange: &Exchange,
        owned: AppOwned<T>,
    ) {
        scheduler.enter_blocking();
        let dropped = panics::catch(|| drop(owned.into_inner()));
        service.exit_blocking(scheduler);
        if let Err(panic) = dropped {
            self.report_panic(service, exchange, "the response body's close", panic);
        }
    }

    /// Reports a panic that happened too late to change the response.
    pub(super) fn report_panic(&self, service: &Service, exchange: &Exchange, place: &str, panic: Box<Panic>) {
        let report = format!("panic in {place}: {}", panic.report);
        service.record_failure(|| Failure::Panic(panic));
        self.report(service, exchange, &report.into());
    }

    /// Reports an error to the log through the request handler.
    pub(super) fn report(&self, service: &Service, exchange: &Exchange, error: &AppError) {
        let request_line = self.request_line(exchange.head_length);
        service.with_handler(|handler, log| handler.handle_error(error, request_line, log));
    }

    /// Records an error for `serve_forever` if the settings ask for that, else drops it.
    pub(super) fn record_error(&self, service: &Service, error: AppError) {
        drop_error(service, || {
            service.record_failure(|| Failure::Error(error));
        });
    }
}

/// Runs a function that may drop an application's error. A panic of the drop is logged.
fn drop_error(service: &Service, run: impl FnOnce()) {
    if let Err(panic) = panics::catch(run) {
        service.settings.log.error(&format!("panic in the drop of an error: {}", panic.report));
    }
}
