//! The end of an exchange in which the application has hijacked the socket and written the response itself.

use super::state::{CloseMode, Exchange};
use super::Connection;
use crate::server::hijack::Hijacked;
use crate::server::log::CloseReason;
use crate::server::panics::Panic;
use crate::server::scheduler::Scheduler;
use crate::server::service::Service;
use crate::wsgi::{AppError, Body};

impl Connection {
    /// Logs the exchange and closes the connection; the server writes no response.
    pub(super) fn end_hijacked(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        exchange: &Exchange,
        result: Result<Result<Body, AppError>, Box<Panic>>,
        hijacked: Hijacked,
    ) {
        self.discard_head(exchange);
        match result {
            Ok(Ok(body)) => self.close_body(service, scheduler, exchange, body),
            Ok(Err(error)) => {
                self.report(service, exchange, &error);
                self.record_error(service, error);
            }
            Err(panic) => self.report_panic(service, exchange, "the application", panic),
        }
        self.log(service, exchange, hijacked.status, 0);
        self.answered += 1;
        self.set_close_reason(CloseReason::Hijacked);
        self.begin_closing(CloseMode::LINGER);
    }
}
