//! Keeps the requests of the live-reload script out of the access log.

use std::sync::Arc;

use amboss_core::{AccessRecord, AppError, CloseReason, Environ, Log, Peer, RequestHandler};

/// Paths that begin with this belong to amboss, not to the application.
const PREFIX: &[u8] = b"/__amboss__/";

/// The server's handler, without access lines for the requests of the live-reload script.
pub(super) struct Unlogged(pub(super) Arc<dyn RequestHandler>);

impl RequestHandler for Unlogged {
    fn make_environ(&self, environ: &mut Environ<'_>) {
        self.0.make_environ(environ);
    }

    fn log_request(&self, record: &AccessRecord<'_>, log: &dyn Log) {
        if !record.target.starts_with(PREFIX) {
            self.0.log_request(record, log);
        }
    }

    fn server_version(&self) -> Option<&str> {
        self.0.server_version()
    }

    fn handle_error(&self, error: &AppError, request_line: &[u8], log: &dyn Log) {
        self.0.handle_error(error, request_line, log);
    }

    fn connection_dropped(&self, reason: CloseReason, peer: Peer, log: &dyn Log) {
        self.0.connection_dropped(reason, peer, log);
    }
}
