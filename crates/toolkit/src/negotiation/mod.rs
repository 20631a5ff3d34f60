//! What a client asks of a representation, beside its address: entity tags, preconditions, ranges and codings (RFC 9110
//! §8.8, §12.5, §13 and §14). Sans-I/O: functions of field values.

pub mod coding;
pub mod conditional;
pub mod etag;
pub mod range;

pub use conditional::{Conditions, Outcome, Validators};
pub use etag::{ETag, ETags};
pub use range::{ByteRange, ByteRanges, Resolved};
