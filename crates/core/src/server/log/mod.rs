//! The access log and the error log.

mod access_format;
mod access_line;
mod close_reason;
mod color;
mod format;
mod json;
pub(crate) mod panic_safe;
mod record;
mod request_line;
mod text;

pub use access_format::{AccessFormat, AccessFormatError};
pub use close_reason::CloseReason;
pub use color::wants_color;
pub use format::LogFormat;
pub use record::{AccessRecord, Log, NoLog};
pub use text::TextLog;
