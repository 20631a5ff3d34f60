//! The end of a request that the application has answered by itself, on the connection's socket.

use super::super::hijack::Hijacked;
use super::super::log::CloseReason;
use super::super::panics::{self, Panic};
use super::super::service::{Failure, Service};
use super::answer::Exchange;
use super::{After, Connection, State, Turn};
use crate::wsgi::{AppError, Body};

impl Connection {
    /// Closes the connection without an answer. `mark` is where a head stands that was set and not sent.
    pub(super) fn end_hijacked(
        &mut self,
        service: &Service,
        turn: &mut dyn Turn,
        exchange: &Exchange,
        mark: Option<usize>,
        result: Result<Result<Body, AppError>, Panic>,
        hijacked: Hijacked,
    ) {
        if let Some(mark) = mark {
            self.out.bytes.truncate(mark);
        }
        match result {
            Ok(Ok(body)) => self.drop_body(service, turn, exchange, body),
            Ok(Err(error)) => {
                self.report(service, exchange, &error);
                let kept = panics::catch(|| service.pass_through(|| Failure::Error(error)));
                if let Err(panic) = kept {
                    service.settings.log.error(&format!("panic in the drop of an error: {}", panic.report));
                }
            }
            Err(panic) => self.report_panic(service, exchange, "the application", panic),
        }
        self.log(service, exchange, hijacked.status, 0);
        self.answered += 1;
        self.set_reason(CloseReason::Hijacked);
        self.state = State::Closing(After::LINGER);
    }
}
