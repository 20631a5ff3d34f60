//! Responses that the server itself writes: refusals and error responses.

use super::state::CloseMode;
use super::Connection;
use crate::http::head::Known;
use crate::http::{
    reason_phrase, BodyWriter, Error, ResponseContext, ResponseHead, ResponsePlan, Target, TargetForm, Version,
};
use crate::server::io::transport::PlainHttpPolicy;
use crate::server::log::CloseReason;
use crate::server::service::Service;
use crate::wsgi::{InputError, InputErrorKind};

/// A header field of a refusal.
type Field<'a> = Option<(&'a str, &'a [u8])>;

impl Connection {
    /// Refuses bytes that are not a valid request, and closes the connection, because it is unknown where the next
    /// request begins.
    pub(super) fn refuse(&mut self, service: &Service, error: Error) {
        self.set_close_reason(CloseReason::Refused(error));
        self.refuse_with_status(service, error.status(), error.kind().message());
    }

    /// Refuses a request while its body is being collected.
    pub(super) fn refuse_body(&mut self, service: &Service, error: InputError) {
        self.end_collecting();
        self.set_close_reason(match error.kind() {
            InputErrorKind::TooSlow => CloseReason::BodyTimeout,
            InputErrorKind::Malformed(error) => CloseReason::Refused(error),
            InputErrorKind::TooLarge(_) => CloseReason::Undrained,
            InputErrorKind::Truncated => CloseReason::ClientLeft,
        });
        self.refuse_with_status(service, error.status(), &error.to_string());
    }

    /// Refuses the request with 503, because it can't be served now.
    pub(crate) fn refuse_unavailable(&mut self, service: &Service) {
        /// How long a client should wait before it tries again, in seconds: longer than a burst of requests, shorter
        /// than a user is willing to wait.
        const RETRY_AFTER: &[u8] = b"5";
        self.end_collecting();
        self.body = None;
        self.end_queueing();
        let field = Some(("Retry-After", RETRY_AFTER));
        self.refuse_with_field(service, 503, "the server can't take more requests now; try again later", field);
    }

    /// Refuses plain HTTP on a port that speaks HTTPS.
    pub(super) fn refuse_plain_http(&mut self, service: &Service, policy: PlainHttpPolicy, head_length: usize) {
        let location = match policy {
            PlainHttpPolicy::Redirect => self.https_location(service, head_length),
            PlainHttpPolicy::Refuse => None,
        };
        match location {
            Some(location) => {
                let field = Some(("Location", &location[..]));
                self.refuse_with_field(service, 308, "this port speaks HTTPS", field);
            }
            None => {
                self.refuse_with_status(service, 400, "this port speaks HTTPS; ask for https:// instead of http://")
            }
        }
    }

    /// Returns the URL of the request with the scheme `https`.
    fn https_location(&self, service: &Service, head_length: usize) -> Option<Vec<u8>> {
        let buffer = self.read_buffer.as_ref()?;
        let head = buffer.parser.head(&buffer.unread()[..head_length]);
        let target = Target::of(&head, service.settings.leniency).ok();
        let host = target.and_then(|target| target.authority).or(head.known(Known::Host))?;
        let target = target.filter(|target| target.form != TargetForm::Asterisk)?;
        let query = if target.query.is_empty() { &b""[..] } else { b"?" };
        (!host.is_empty()).then(|| [b"https://", host, target.path, query, target.query].concat())
    }

    pub(super) fn refuse_with_status(&mut self, service: &Service, status: u16, message: &str) {
        self.refuse_with_field(service, status, message, None);
    }

    /// Responds to the request in the read buffer, and closes the connection.
    fn refuse_with_field(&mut self, service: &Service, status: u16, message: &str, field: Field<'_>) {
        let context =
            ResponseContext { version: Version::Http11, head: self.is_head_request(service), keep_alive: false };
        let (_, written) = self.write_error(service, status, message, field, context);
        self.log_refusal(service, status, written);
        self.answered += 1;
        self.begin_closing(CloseMode::LINGER);
    }

    /// Whether the request in the read buffer begins with the method HEAD, even if the rest of it is malformed: a
    /// response to HEAD has no content (RFC 9110 §9.3.2). Skips the empty lines that the parser skips.
    fn is_head_request(&self, service: &Service) -> bool {
        let Some(buffer) = &self.read_buffer else { return false };
        let mut rest = buffer.unread();
        loop {
            rest = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\n', rest @ ..] if service.settings.leniency.bare_lf => rest,
                _ => return rest.starts_with(b"HEAD "),
            };
        }
    }

    /// Writes an error response into the write buffer. Returns its framing plan and the length of its body.
    pub(super) fn write_error(
        &mut self,
        service: &Service,
        status: u16,
        message: &str,
        field: Field<'_>,
        context: ResponseContext,
    ) -> (ResponsePlan, u64) {
        let text = format!("{status} {}: {message}\n", reason_phrase(status));
        let fields = [("Content-Type", &b"text/plain; charset=utf-8"[..])].into_iter().chain(field);
        let status = format!("{status} {}", reason_phrase(status));
        let Ok(head) = ResponseHead::start(&mut self.write_buffer.bytes, &status, fields) else {
            unreachable!("the status and the field are the server's own")
        };
        let plan = service.finish_head(&head, &mut self.write_buffer.bytes, context, Some(text.len() as u64));
        let mut writer = BodyWriter::new(plan.framing);
        writer.append(text.as_bytes(), &mut self.write_buffer.bytes);
        (plan, writer.written())
    }
}
