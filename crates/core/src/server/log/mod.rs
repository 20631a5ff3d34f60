//! The access log and the error log.

mod access_line;
mod close_reason;
mod color;
mod format;
mod json;
pub(crate) mod panic_safe;
mod record;
mod text;

pub use close_reason::CloseReason;
pub use color::wants_color;
pub use format::LogFormat;
pub use record::{AccessRecord, Log, NoLog};
pub use text::TextLog;
