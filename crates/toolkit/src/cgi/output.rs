//! Standard output of a CGI script, as the server's side of PEP 3333.

use std::io::{self, Write};

use amboss_core::http::{allows_body, reason_phrase, ResponseHead};
use amboss_core::{AppError, Body, StartError, StartErrorKind, StartResponse};

/// Writes a response as RFC 3875 §6 says: `Status`, the fields, and the body.
pub(super) struct Output<'o> {
    out: &'o mut dyn Write,
    is_head_request: bool,
    head: Option<Head>,
    is_head_sent: bool,
    /// How many bytes of the declared Content-Length are missing.
    left: Option<u64>,
    failure: Option<io::Error>,
}

/// A head that has not been sent yet.
struct Head {
    /// `Status` and the fields of the application.
    text: Vec<u8>,
    status: u16,
    content_length: Option<u64>,
    has_content_type: bool,
}

impl<'o> Output<'o> {
    pub(super) fn new(out: &'o mut dyn Write, is_head_request: bool) -> Output<'o> {
        Output { out, is_head_request, head: None, is_head_sent: false, left: None, failure: None }
    }

    /// Sends the body: each block at once, and nothing for HEAD and for a status without a body.
    pub(super) fn send_body(&mut self, body: Body) -> Result<(), AppError> {
        let Some(head) = &self.head else { return Err("the application has not called start_response".into()) };
        let (declared, length) = (head.content_length, body.byte_length().map(|length| length as u64));
        if !self.has_body() {
            // RFC 9110 §9.3.2: the length that the response to GET would have.
            return Ok(self.send_head(if declared.is_none() { length.filter(|&length| length > 0) } else { None })?);
        }
        if !self.is_head_sent && declared.is_none() && length.is_some() {
            self.left = length;
            self.send_head(length)?;
        }
        for block in body {
            self.send_block(&block?)?;
        }
        self.send_head(None)?;
        match self.left {
            Some(left @ 1..) => Err(format!("the body is {left} bytes shorter than its Content-Length").into()),
            _ => Ok(()),
        }
    }

    /// Sends a response for an application that has failed, if no head has been sent.
    pub(super) fn send_error(&mut self, status: u16) -> io::Result<()> {
        if self.is_head_sent {
            return Ok(());
        }
        self.is_head_sent = true;
        let reason = reason_phrase(status);
        let length = reason.len() + 1;
        write!(self.out, "Status: {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n")?;
        if !self.is_head_request {
            writeln!(self.out, "{reason}")?;
        }
        self.out.flush()
    }

    /// Takes the error of standard output, if there was one.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn has_body(&self) -> bool {
        !self.is_head_request && self.head.as_ref().is_some_and(|head| allows_body(head.status))
    }

    /// Sends the head if that has not been done, with a Content-Length that the application has not declared.
    fn send_head(&mut self, length: Option<u64>) -> Result<(), StartError> {
        let Some(head) = self.head.as_mut().filter(|_| !self.is_head_sent) else { return Ok(()) };
        self.is_head_sent = true;
        let mut text = std::mem::take(&mut head.text);
        if let Some(length) = length {
            text.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        if let Some(declared) = head.content_length {
            self.left = Some(declared);
        }
        // RFC 3875 §6.3.1 requires a type if there is a body; RFC 9110 §8.3 lets a client assume this one.
        if !head.has_content_type && self.has_body() && length != Some(0) {
            text.extend_from_slice(b"Content-Type: application/octet-stream\r\n");
        }
        text.extend_from_slice(b"\r\n");
        self.send(&text)
    }

    fn send_block(&mut self, block: &[u8]) -> Result<(), StartError> {
        if block.is_empty() {
            return Ok(());
        }
        self.send_head(None)?;
        // Bytes beyond the Content-Length would be read as something else.
        let allowed =
            self.left.map_or(block.len(), |left| block.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
        self.left = self.left.map(|left| left - allowed as u64);
        if !self.has_body() || allowed == 0 {
            return Ok(());
        }
        self.send(&block[..allowed])
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), StartError> {
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(|error| {
            let kind = error.kind();
            self.failure.get_or_insert(error);
            StartErrorKind::Io(kind.into()).into()
        })
    }
}

impl StartResponse for Output<'_> {
    fn begin(&mut self, status: &str, fields: &[(&str, &[u8])], error: Option<&AppError>) -> Result<(), StartError> {
        match (&self.head, error) {
            (Some(_), None) => return Err(StartErrorKind::Twice.into()),
            (Some(_), Some(_)) if self.is_head_sent => return Err(StartErrorKind::HeadSent.into()),
            _ => {}
        }
        self.head = None;
        // A field of this name would be a second status for the server (RFC 3875 §6.3.3).
        let fields: Vec<_> = fields.iter().copied().filter(|(name, _)| !name.eq_ignore_ascii_case("Status")).collect();
        let has_content_type = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Type"));
        let mut checked = Vec::new();
        let head = ResponseHead::start(&mut checked, status, fields.iter().copied());
        let head = head.map_err(StartErrorKind::Response)?;
        let fields = checked.strip_prefix(b"HTTP/1.1 ").unwrap_or(&checked);
        self.head = Some(Head {
            text: [b"Status: ", fields].concat(),
            status: head.status(),
            content_length: head.content_length(),
            has_content_type,
        });
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), StartError> {
        if self.head.is_none() {
            return Err(StartErrorKind::NotStarted.into());
        }
        self.send_block(data)
    }
}
