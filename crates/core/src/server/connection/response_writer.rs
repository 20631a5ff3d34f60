//! The implementation of `start_response` and of the `write` callable.

use std::cell::RefCell;

use super::blocking_io::BlockingIo;
use super::state::ResponseProgress;
use super::write_buffer::WriteBuffer;
use crate::http::{BodyWriter, RepeatedHead, ResponseContext, ResponseHead, Version};
use crate::wsgi::{AppError, DetachedId, ResponseFilter, StartError, StartErrorKind, StartResponse};

thread_local! {
    static REPEATED_HEAD: RefCell<RepeatedHead> = RefCell::default();
}

/// A writer that puts heads, and the data that the application passes to `write`, into the write buffer.
pub(super) struct ResponseWriter<'c, 'i> {
    pub(super) io: &'c RefCell<BlockingIo<'i>>,
    pub(super) context: ResponseContext,
}

/// Checks that a head can be set (PEP 3333): there is none yet, or with `exc_info`, one that has not been sent.
#[inline]
pub(super) fn check_can_set_head(progress: &ResponseProgress, replaces: bool) -> Result<(), StartError> {
    match progress {
        ResponseProgress::NotStarted => Ok(()),
        ResponseProgress::HeadSet { .. } if replaces => Ok(()),
        ResponseProgress::Streaming { .. } if replaces => Err(StartErrorKind::HeadSent.into()),
        _ => Err(StartErrorKind::Twice.into()),
    }
}

/// Puts a head into the write buffer, in place of one that has been set but not sent if `replaces`.
#[inline]
pub(super) fn set_head(
    progress: &mut ResponseProgress,
    write_buffer: &mut WriteBuffer,
    status: &str,
    fields: &[(&str, &[u8])],
    replaces: bool,
) -> Result<(), StartError> {
    check_can_set_head(progress, replaces)?;
    let head_start = progress.head_start().unwrap_or(write_buffer.bytes.len());
    write_buffer.bytes.truncate(head_start);
    match REPEATED_HEAD.with_borrow_mut(|repeated| repeated.start(&mut write_buffer.bytes, status, fields)) {
        Ok(head) => {
            *progress = ResponseProgress::HeadSet { head, head_start };
            Ok(())
        }
        Err(error) => {
            *progress = ResponseProgress::NotStarted;
            Err(StartErrorKind::Response(error).into())
        }
    }
}

impl StartResponse for ResponseWriter<'_, '_> {
    #[inline]
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let io = &mut *self.io.borrow_mut();
        set_head(io.progress, io.write_buffer, status, fields, error.is_some())
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        let io = &mut *self.io.borrow_mut();
        if let ResponseProgress::Streaming { .. } = *io.progress {
            return Err(StartErrorKind::HeadSent.into());
        }
        let mut hints = Vec::new();
        ResponseHead::early_hints(&mut hints, fields.iter().copied()).map_err(StartErrorKind::Response)?;
        if self.context.version != Version::Http11 {
            return Ok(());
        }
        io.send_interim(&hints).map_err(|error| StartErrorKind::Io(error).into())
    }

    fn flush(&mut self) -> Result<(), StartError> {
        self.io.borrow_mut().send_interim(b"").map_err(|error| StartErrorKind::Io(error).into())
    }

    fn detach(&mut self, filters: Vec<Box<dyn ResponseFilter>>) -> Option<DetachedId> {
        let io = &mut *self.io.borrow_mut();
        let id = io.scheduler.detached_id()?;
        io.detached = Some(filters);
        Some(id)
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        let io = &mut *self.io.borrow_mut();
        if data.is_empty() && !matches!(io.progress, ResponseProgress::NotStarted) {
            return Ok(());
        }
        if let ResponseProgress::HeadSet { head, .. } = *io.progress {
            let plan = io.service.finish_head(&head, &mut io.write_buffer.bytes, self.context, None);
            *io.progress = ResponseProgress::Streaming { head, plan, writer: BodyWriter::new(plan.framing) };
        }
        let ResponseProgress::Streaming { writer, .. } = &mut *io.progress else {
            return Err(StartErrorKind::NotStarted.into());
        };
        writer.append(data, &mut io.write_buffer.bytes);
        let end = io.write_buffer.bytes.len();
        io.flush_blocking(end).map_err(|error| StartErrorKind::Io(error).into())
    }
}
