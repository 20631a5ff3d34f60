//! The control protocol between supervisor and child: [`ControlMessage`] describes the frames, [`ControlSocket`] sends
//! and receives them.

mod frame_reader;
mod message;
mod socket;

#[cfg(test)]
mod tests;

pub use message::{ControlMessage, RequestBody};
pub use socket::{ControlSender, ControlSocket};
pub(crate) use socket::{Received, WeakControlSender};
