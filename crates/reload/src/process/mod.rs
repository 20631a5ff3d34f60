//! Child processes: starting a program with listening sockets and a control socket, and what the child makes of them.
//!
//! The parent's side: a [`Program`] is started by `spawn` or `fork` and becomes a [`ChildProcess`]. The child's side:
//! [`Inherited`] takes over the sockets in a program that was spawned, and [`Forked`] takes them over in a copy of this
//! process. The two sides talk over a [`ControlSocket`].

mod child;
mod control;
mod env;
mod exec_wrapper;
mod fork;
mod inherited;
mod parent_death;
mod program;
mod sigchld;
mod signals;
mod spawn;

pub(crate) use child::ChildProcess;
pub use control::{ControlMessage, ControlSender, ControlSocket, RequestBody};
pub(crate) use control::{Received, WeakControlSender};
pub(crate) use env::SPARE;
pub use exec_wrapper::exec_as_child;
pub use fork::{Forked, ForkedChild};
pub use inherited::{is_running_from_reloader, set_blocking, Inherited};
pub use program::Program;
pub(crate) use sigchld::ensure_children_are_reapable;
pub use signals::ignore_interrupts;
pub(crate) use signals::HandledSignals;
pub(crate) use spawn::start;
