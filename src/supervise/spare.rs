//! A spare worker, from its start to its first order.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use amboss_reload::{ControlMessage, ControlSocket};

use crate::app_loader::AppLoader;
use crate::worker::Worker;

/// Prepares this process, and waits until the supervisor needs a worker. Returns the worker's generation; `None` if the
/// process has to end: it is not needed, or out of date.
pub(super) fn await_start(
    control: &mut ControlSocket,
    loader: &mut impl AppLoader,
    worker: &Worker,
) -> io::Result<Option<u64>> {
    let is_prepared = Arc::new(AtomicBool::new(false));
    end_with_supervisor(control, is_prepared.clone())?;
    let can_wait = loader.prepare_spare(worker);
    is_prepared.store(true, Ordering::SeqCst);
    if !can_wait {
        return Ok(None);
    }
    control.send(&ControlMessage::Waiting)?;
    let generation = loop {
        match control.receive()? {
            Some(ControlMessage::Start { generation }) => break generation,
            Some(_) => {}
            None => return Ok(None),
        }
    };
    if !loader.start_spare(generation) {
        return Ok(None);
    }
    control.send(&ControlMessage::Accepted)?;
    Ok(Some(generation))
}

/// Ends this process if its supervisor ends while it prepares itself, which may take long: it would keep the port. The
/// supervisor sends nothing to a spare before that.
fn end_with_supervisor(control: &ControlSocket, is_prepared: Arc<AtomicBool>) -> io::Result<()> {
    let sender = control.sender();
    let watch = move || {
        if sender.wait_for_input().is_ok() && !is_prepared.load(Ordering::SeqCst) {
            std::process::exit(0);
        }
    };
    thread::Builder::new().name("amboss-spare".into()).spawn(watch).map(drop)
}
