//! A spare worker, from its start to its first order.

use std::io;

use amboss_reload::{ControlMessage, ControlSocket};

use crate::app_loader::AppLoader;

/// Prepares this process, and waits until the supervisor needs a worker. Returns the worker's generation; `None` if the
/// process has to end: it is not needed, or out of date.
pub(super) fn await_start(control: &mut ControlSocket, loader: &mut impl AppLoader) -> io::Result<Option<u64>> {
    if !loader.prepare_spare() {
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
    if !loader.is_spare_current() {
        return Ok(None);
    }
    control.send(&ControlMessage::Accepted)?;
    Ok(Some(generation))
}
