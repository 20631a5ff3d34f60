//! The control protocol between supervisor and child, over a Unix stream socket.
//!
//! A frame is a tag (one byte), the length of the payload (four bytes, big-endian) and the payload. The descriptor of a
//! connection is attached to the first byte of its frame, followed by the descriptor of the request body, if there is one.
//!
//! | tag | direction | meaning |
//! |---|---|---|
//! | `R` | child → supervisor | ready: the child serves |
//! | `C` | both | a connection; the payload is what was read from it and not answered |
//! | `B` | both | the same with the request body in a file; the payload begins with the body's length (eight bytes, big-endian) |
//! | `D` | child → supervisor | drained: the child is about to exit |
//! | `F` | child → supervisor | files that the program consists of; the payload is their absolute paths, separated by NUL |
//! | `X` | child → supervisor | replace this child: start another one, and when that is ready, send `H` |
//! | `L` | child → supervisor | the child stops of its own accord: start another one |
//! | `S` | supervisor → child | stop: finish the running requests, then exit |
//! | `H` | supervisor → child | drain: stop accepting, finish the running requests, hand idle connections back, send `D`, exit |
//! | `U` | supervisor → child | reopen the log files |
//!
//! Unknown tags are skipped, so either side may be newer. The end of the stream means that the other side is gone; a child
//! then stops.
//!
//! A thread that reads must never send. Otherwise two sides that both send a lot would wait for each other. Read in a
//! separate thread, and send from other threads through a [`ControlSender`].

mod frame_reader;
mod message;
mod socket;

#[cfg(test)]
mod tests;

pub use message::{ControlMessage, RequestBody};
pub use socket::{ControlSender, ControlSocket};
pub(crate) use socket::{Received, WeakControlSender};
