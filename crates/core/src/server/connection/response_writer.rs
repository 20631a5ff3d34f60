//! The implementation of `start_response` and of the `write` callable.

use std::cell::RefCell;

use super::blocking_io::BlockingIo;
use super::state::ResponseProgress;
use crate::http::{BodyWriter, ResponseContext, ResponseHead, Version};
use crate::wsgi::{AppError, StartError, StartErrorKind, StartResponse};

/// A writer that puts heads, and the data that the application passes to `write`, into the write buffer.
pub(super) struct ResponseWriter<'c, 'i> {
    pub(super) io: &'c RefCell<BlockingIo<'i>>,
    pub(super) context: ResponseContext,
}

impl StartResponse for ResponseWriter<'_, '_> {
    #[inline]
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        let io = &mut *self.io.borrow_mut();
        let head_start = match (&io.progress, error) {
            (ResponseProgress::NotStarted, _) => io.write_buffer.bytes.len(),
            // PEP 3333: with `exc_info`, a head that has not been sent is replaced.
            (ResponseProgress::HeadSet { head_start, .. }, Some(_)) => {
                let head_start = *head_start;
                io.write_buffer.bytes.truncate(head_start);
                head_start
            }
            (_, None) => return Err(StartErrorKind::Twice.into()),
            (ResponseProgress::Streaming { .. }, Some(_)) => return Err(StartErrorKind::HeadSent.into()),
        };
        match ResponseHead::start(&mut io.write_buffer.bytes, status, fields.iter().copied()) {
            Ok(head) => {
                io.progress = ResponseProgress::HeadSet { head, head_start };
                Ok(())
            }
            Err(error) => {
                io.progress = ResponseProgress::NotStarted;
                Err(StartErrorKind::Response(error).into())
            }
        }
    }

    fn early_hints(&mut self, fields: &[(&str, &[u8])]) -> Result<(), StartError> {
        let io = &mut *self.io.borrow_mut();
        if let ResponseProgress::Streaming { .. } = io.progress {
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

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        let io = &mut *self.io.borrow_mut();
        if data.is_empty() && !matches!(io.progress, ResponseProgress::NotStarted) {
            return Ok(());
        }
        if let ResponseProgress::HeadSet { head, .. } = io.progress {
            let plan = io.service.finish_head(&head, &mut io.write_buffer.bytes, self.context, None);
            io.progress = ResponseProgress::Streaming { head, plan, writer: BodyWriter::new(plan.framing) };
        }
        let ResponseProgress::Streaming { writer, .. } = &mut io.progress else {
            return Err(StartErrorKind::NotStarted.into());
        };
        writer.append(data, &mut io.write_buffer.bytes);
        let end = io.write_buffer.bytes.len();
        io.flush_blocking(end).map_err(|error| StartErrorKind::Io(error).into())
    }
}
