//! Running the application's function on a connection that has left HTTP.

use super::Connection;
use crate::server::panics;
use crate::server::scheduler::Scheduler;
use crate::server::service::{Failure, Service};
use crate::server::upgrade::Upgraded;

/// Runs the application's function on a connection whose response 101 has been sent.
pub(crate) fn run_upgrade(connection: Box<Connection>, scheduler: &mut dyn Scheduler, service: &Service) {
    scheduler.enter_blocking();
    let Some((on_upgrade, transport, read_ahead)) = connection.into_upgrade() else {
        return service.exit_blocking(scheduler);
    };
    let result = panics::catch(|| on_upgrade.run(Upgraded::new(transport, read_ahead)));
    service.exit_blocking(scheduler);
    if let Err(panic) = result {
        service.settings.log.error(&format!("panic after an upgrade: {}", panic.report));
        service.record_failure(|| Failure::Panic(panic));
    }
}
