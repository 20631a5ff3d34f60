//! What goes wrong in an answer: a 500 while that is possible, a cut afterwards, and always the application's `close()`.

use std::io;

use super::super::log::CloseReason;
use super::super::panics::{self, Panic, Theirs};
use super::super::service::{Failure, Service};
use super::super::wire::{Out, Started};
use super::answer::{restore, Exchange, Respond, Source};
use super::{After, Connection, State, Step, Turn};
use crate::http::ResponseFraming;
use crate::wsgi::{AppError, Body, InputError, Kind};

impl Connection {
    /// An iterator failed.
    pub(super) fn fail_midway(
        &mut self,
        service: &Service,
        turn: &mut dyn Turn,
        respond: Box<Respond>,
        error: AppError,
    ) -> Option<Step> {
        let Respond { exchange, head, mark, sending, source, .. } = *respond;
        self.drop_source(service, turn, &exchange, source);
        let mark = sending.is_none().then_some(mark);
        self.fail(service, exchange, restore(head, sending), mark, error);
        None
    }

    /// The client is gone; the application is told by dropping its body.
    pub(super) fn abandon(
        &mut self,
        service: &Service,
        turn: &mut dyn Turn,
        respond: Box<Respond>,
        error: io::Error,
    ) -> Option<Step> {
        let Respond { exchange, head, sending, source, .. } = *respond;
        self.drop_source(service, turn, &exchange, source);
        let written = sending.map_or(0, |(_, writer)| writer.written());
        self.log(service, &exchange, head.status(), written);
        Some(self.lost(error))
    }

    /// The application failed: a 500 while the head has not been sent, a cut afterwards.
    pub(super) fn fail(
        &mut self,
        service: &Service,
        mut exchange: Exchange,
        started: Started,
        mark: Option<usize>,
        error: AppError,
    ) {
        let status = exchange.body.failed.map_or(500, |failed: InputError| failed.status());
        self.report(service, &exchange, &error);
        if let Started::Sent { head, plan, writer } = started {
            self.log(service, &exchange, head.status(), writer.written());
            self.set_reason(CloseReason::CutShort);
            if plan.framing == ResponseFraming::Close {
                // Only a reset tells this client that something is missing.
                let _ = self.out.flush(&mut *self.transport);
                let _ = self.transport.abort();
                self.out = Out::default();
            }
            self.state = State::Closing(After::Close);
        } else {
            if let Some(mark) = mark {
                self.out.bytes.truncate(mark);
            }
            exchange.answering.keep_alive &= exchange.body.is_drainable(service.settings.limits.drain);
            let sentence = match exchange.body.failed {
                Some(failed) => failed.to_string(),
                None => "the application failed; the server's log says how".to_owned(),
            };
            let (plan, written) = self.write_error(service, status, &sentence, None, exchange.answering);
            self.log_when_written(service, &mut exchange, status, written);
            self.answered += 1;
            self.move_on(exchange, plan.keep_alive);
        }
        let kept = panics::catch(|| {
            if !exchange_failed_input(status) {
                service.pass_through(|| Failure::Error(error));
            }
        });
        if let Err(panic) = kept {
            service.settings.log.error(&format!("panic in the drop of an error: {}", panic.report));
        }
    }

    /// The failure leaves through `serve_forever`; the client sees a cut.
    pub(super) fn fail_silently(&mut self, exchange: Exchange) {
        drop(exchange);
        self.set_reason(CloseReason::CutShort);
        self.state = State::Closing(After::Close);
    }

    /// PEP 3333's `close()`, which is the application's code and may take its time or panic.
    pub(super) fn drop_body(&self, service: &Service, turn: &mut dyn Turn, exchange: &Exchange, body: Body) {
        match body.0 {
            Kind::Bytes(_) => {}
            Kind::Blocks(blocks) => self.close(service, turn, exchange, Theirs::new(blocks)),
            Kind::File { close, .. } => self.close(service, turn, exchange, Theirs::new(close)),
        }
    }

    pub(super) fn drop_source(&self, service: &Service, turn: &mut dyn Turn, exchange: &Exchange, source: Source) {
        match source {
            Source::Blocks(blocks) => self.close(service, turn, exchange, blocks),
            Source::File { close: Some(close), .. } => self.close(service, turn, exchange, close),
            _ => {}
        }
    }

    fn close<T>(&self, service: &Service, turn: &mut dyn Turn, exchange: &Exchange, theirs: Theirs<T>) {
        turn.leave();
        let dropped = panics::catch(|| drop(theirs.into_inner()));
        service.back(turn);
        if let Err(panic) = dropped {
            self.report_panic(service, exchange, "the response body's close", panic);
        }
    }

    /// A panic that comes too late to change the answer.
    pub(super) fn report_panic(&self, service: &Service, exchange: &Exchange, place: &str, panic: Panic) {
        let report = format!("panic in {place}: {}", panic.report);
        service.pass_through(|| Failure::Panic(panic));
        self.report(service, exchange, &report.into());
    }

    /// Tells the log, by way of the request handler.
    pub(super) fn report(&self, service: &Service, exchange: &Exchange, error: &AppError) {
        let request_line = self.request_line(exchange.head_length);
        service.tell(|handler, log| handler.handle_error(error, request_line, log));
    }
}

/// Errors of reading a broken body are the client's, and never end the server.
fn exchange_failed_input(status: u16) -> bool {
    status != 500
}
