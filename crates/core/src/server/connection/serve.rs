//! From a complete head to the application and back, and the answers that the server gives by itself.

use std::cell::RefCell;
use std::time::Instant;

use super::super::body_store::CollectedBody;
use super::super::buffer::SLACK;
use super::super::hijack::Hijacked;
use super::super::log::CloseReason;
use super::super::panics::{self, Panic};
use super::super::service::{Failure, Service};
use super::super::settings::BodyMode;
use super::super::streamed_body::{BodyState, StreamedBody};
use super::super::transport::Misplaced;
use super::super::upgrade::OnUpgrade;
use super::super::wire::{Started, Starter, Wire};
use crate::http::head::Known;
use crate::http::target::is_https;
use crate::http::{
    reason_phrase, Answering, BodyLength, BodyWriter, Error, ErrorKind, Framing, ResponseHead, ResponsePlan, Target,
    TargetForm, Version,
};
use crate::wsgi::{ConnectionInfo, Environ, Extensions, Peer, Source};

use super::answer::Exchange;
use super::{After, Connection, Permission, Served, State, Step, Turn};

/// The body of a request, as its application reads it.
enum RequestBody<'c, 'w> {
    /// Complete, behind the head in the read buffer.
    InBuffer(CollectedBody<'c>),
    /// Complete, in memory of its own or in a file.
    Stored(CollectedBody<'c>),
    /// Read as it arrives.
    Streamed(StreamedBody<'c, 'w>),
}

impl RequestBody<'_, '_> {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            RequestBody::InBuffer(body) | RequestBody::Stored(body) => body,
            RequestBody::Streamed(body) => body,
        }
    }
}

/// Refuses a body that is longer than a limit.
fn check_length(framing: &Framing, limit: Option<u64>, head_length: usize) -> Result<(), Error> {
    match (framing.body, limit) {
        (BodyLength::Known(length), Some(limit)) if length > limit => {
            Err(Error::new(ErrorKind::BodyTooLarge, head_length))
        }
        _ => Ok(()),
    }
}

impl Connection {
    /// Answers the request whose head, of `length` bytes, has become complete, or begins to collect its body.
    pub(super) fn serve(&mut self, service: &Service, turn: &mut dyn Turn, length: usize) -> Served {
        if self.clock.complete.is_none() {
            self.clock.complete = service.stopwatch();
        }
        let Some(buffer) = &self.buffer else { return Served::Moved };
        let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.end]);
        let leniency = service.settings.leniency;
        let limits = &service.settings.limits;
        let judged = Framing::of(&head, leniency).and_then(|framing| {
            check_length(&framing, limits.body, length)?;
            Ok(framing)
        });
        let framing = match judged {
            Ok(framing) => framing,
            Err(error) => {
                self.refuse(service, error);
                return Served::Moved;
            }
        };
        let is_plain = self.session.is_none() && !matches!(self.peer, Peer::Local);
        let judged = Target::of(&head, leniency).and_then(|target| match target.form {
            TargetForm::Authority => Err(Error::new(ErrorKind::Connect, 0)),
            // Who connects by a Unix socket is a proxy on this machine, and may have been spoken to by TLS.
            TargetForm::Absolute if is_plain && is_https(head.target()) => Err(Error::new(ErrorKind::Misdirected, 0)),
            _ => Ok(()),
        });
        if let Err(error) = judged {
            self.refuse(service, error);
            return Served::Moved;
        }
        if let Some(misplaced) = self.session.as_ref().and_then(|session| session.misplaced) {
            self.answer_misplaced(service, misplaced, length);
            return Served::Moved;
        }
        let mut collects = self.body.is_some();
        if framing.body != BodyLength::Known(0) && !collects {
            collects = self.body_mode(service, length) == BodyMode::Collect;
            if collects {
                if let Err(error) = check_length(&framing, Some(limits.collected_body), length) {
                    self.refuse(service, error);
                    return Served::Moved;
                }
                let there = self.buffer.as_ref().map_or(0, |buffer| buffer.len() - length) as u64;
                if !matches!(framing.body, BodyLength::Known(whole) if whole <= there) {
                    self.begin_collect(service, length, &framing);
                    return Served::Moved;
                }
            }
        }
        match turn.permission() {
            Permission::Run => {
                self.end_queue();
                self.call(service, turn, length, &framing, collects);
                Served::Moved
            }
            Permission::Wait => {
                self.queued_at.get_or_insert_with(Instant::now);
                Served::Waits(Step::Turn)
            }
            Permission::Fork => {
                self.queued_at.get_or_insert_with(Instant::now);
                Served::Waits(Step::Fork)
            }
            Permission::Dispatch => Served::Waits(Step::Dispatch),
        }
    }

    /// Calls the application for a request that may run now. With `collected`, its body is in the store of this
    /// connection or complete in the buffer.
    fn call(&mut self, service: &Service, turn: &mut dyn Turn, length: usize, framing: &Framing, collected: bool) {
        let Some(buffer) = &mut self.buffer else { return };
        let store = self.body.take();
        let streams = framing.body != BodyLength::Known(0) && !collected;
        let mut body = BodyState::read();
        if streams {
            body = BodyState::new(framing, &service.settings, service.settings.limits.body);
            // RFC 9110 §10.1.1: a client that has sent some of the body does not wait.
            body.continue_pending &= buffer.len() == length;
            // A body is read in pieces no smaller than this.
            const READ: usize = 8 * 1024;
            buffer.free(READ);
        }
        let filled = buffer.len() - length;
        let end = buffer.bytes.len();
        let (head_bytes, rest) = buffer.bytes[buffer.start..end - SLACK].split_at_mut(length);
        let head = buffer.parser.head(head_bytes);
        // It was looked at before.
        let Ok(target) = Target::of(&head, service.settings.leniency) else { return };
        let answering = Answering {
            version: head.version(),
            head: head.method() == b"HEAD",
            keep_alive: framing.keep_alive && !service.is_last_request(self.session.is_none()),
        };
        let connection = ConnectionInfo {
            server_name: &self.endpoint.name,
            server_port: &self.endpoint.port,
            peer: self.peer,
            scheme: self.session.as_ref().map_or("http", |session| session.scheme),
            variables: self.session.as_ref().map_or(&[], |session| &session.variables),
            presence: &self.presence,
            plain: self.session.is_none(),
        };

        turn.leave();
        let wire = RefCell::new(Wire {
            transport: &mut *self.transport,
            out: &mut self.out,
            service,
            turn: &mut *turn,
            is_slow: false,
            mark: None,
            begun: false,
        });
        let mut request_body = match (&store, framing.body) {
            _ if streams => RequestBody::Streamed(StreamedBody {
                wire: &wire,
                state: &mut body,
                bytes: rest,
                unread: 0..filled,
                ready: 0..0,
            }),
            (Some(store), _) => RequestBody::Stored(CollectedBody::of_store(store)),
            (None, BodyLength::Known(whole)) => RequestBody::InBuffer(CollectedBody::of_bytes(&rest[..whole as usize])),
            (None, BodyLength::Chunked) => unreachable!("a chunked body is streamed or in a store"),
        };
        // Always there: it is taken out only with the connection.
        let mut nothing = Extensions::default();
        let kept = self.kept.get_mut().unwrap_or(&mut nothing);
        let mut environ = Environ::new(head, target, &service.info, connection, request_body.source(), kept);
        let mut starter = Starter { wire: &wire, answering, started: Started::No };
        let result = panics::catch(|| {
            service.settings.handler.make_environ(&mut environ);
            service.app.call(&mut environ, &mut starter)
        });

        // The extensions are the application's, and each drops as it likes and takes its time.
        let on_upgrade = environ.extensions_mut().remove::<OnUpgrade>();
        let hijacked = environ.extensions_mut().remove::<Hijacked>();
        let dropped: Vec<Panic> =
            environ.extensions_mut().take().filter_map(|extension| panics::catch(|| drop(extension)).err()).collect();
        let started = starter.started;
        // What was decoded but not consumed is as good as read.
        let (consumed, there) = match request_body {
            RequestBody::Streamed(StreamedBody { unread, .. }) => (unread.start, unread.end),
            RequestBody::InBuffer(body) => (body.length().map_or(0, |length| length as usize), filled),
            RequestBody::Stored(_) => (0, filled),
        };
        let mark = wire.into_inner().mark;
        // Closing a large file takes a while, too.
        drop(store);
        service.back(turn);

        buffer.end = buffer.start + length + there;
        let exchange = Exchange {
            head_length: length,
            consumed: length + consumed,
            answering,
            client_closes: !framing.keep_alive && framing.body == BodyLength::Known(0),
            upgrade_offered: framing.upgrade,
            body,
            clock: std::mem::take(&mut self.clock),
        };
        for panic in dropped {
            self.report_panic(service, &exchange, "the environ's extensions", panic);
        }

        if let Some(hijacked) = hijacked {
            self.end_hijacked(service, turn, &exchange, mark, result, hijacked);
            return;
        }
        match result {
            Ok(Ok(body)) => self.begin_answer(service, turn, exchange, started, mark, body, on_upgrade),
            Ok(Err(error)) => self.fail(service, exchange, started, mark, error),
            Err(panic) => {
                let report = format!("panic in the application: {}", panic.report);
                if service.pass_through(|| Failure::Panic(panic)) {
                    self.fail_silently(exchange);
                } else {
                    self.fail(service, exchange, started, mark, report.into());
                }
            }
        }
    }

    /// Refuses a request that can't be served, and closes: its framing is in doubt.
    pub(super) fn refuse(&mut self, service: &Service, error: Error) {
        self.set_reason(CloseReason::Refused(error));
        self.answer_error(service, error.status(), error.kind().message());
    }

    pub(super) fn answer_error(&mut self, service: &Service, status: u16, sentence: &str) {
        self.answer_by_itself(service, status, sentence, None);
    }

    /// An answer of the server's own, after which it closes.
    pub(super) fn answer_by_itself(
        &mut self,
        service: &Service,
        status: u16,
        sentence: &str,
        field: Option<(&str, &[u8])>,
    ) {
        let answering = Answering { version: Version::Http11, head: self.is_head_request(service), keep_alive: false };
        let (_, written) = self.write_error(service, status, sentence, field, answering);
        self.log_refusal(service, status, written);
        self.answered += 1;
        self.state = State::Closing(After::LINGER);
    }

    /// Whether the request being read begins with the method HEAD, whatever is wrong with the rest of it: a response to
    /// HEAD has no content (RFC 9110 §9.3.2).
    ///
    /// Empty lines before it are those that the parser skips, so that nothing is refused before this is known.
    fn is_head_request(&self, service: &Service) -> bool {
        let Some(buffer) = &self.buffer else { return false };
        let mut rest = &buffer.bytes[buffer.start..buffer.end];
        loop {
            rest = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\n', rest @ ..] if service.settings.leniency.bare_lf => rest,
                _ => return rest.starts_with(b"HEAD "),
            };
        }
    }

    /// HTTP in the clear where HTTPS is spoken.
    fn answer_misplaced(&mut self, service: &Service, misplaced: Misplaced, length: usize) {
        let location = match (misplaced, &self.buffer) {
            (Misplaced::Redirect, Some(buffer)) => {
                let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.start + length]);
                let target = Target::of(&head, service.settings.leniency).ok();
                let host = target.and_then(|target| target.authority).or(head.known(Known::Host));
                let target = target.filter(|target| target.form != TargetForm::Asterisk);
                host.filter(|host| !host.is_empty()).zip(target).map(|(host, target)| {
                    let query = if target.query.is_empty() { &b""[..] } else { b"?" };
                    [b"https://", host, target.path, query, target.query].concat()
                })
            }
            _ => None,
        };
        match location {
            Some(location) => {
                let field = Some(("Location", &location[..]));
                self.answer_by_itself(service, 308, "this port speaks HTTPS", field);
            }
            None => self.answer_error(service, 400, "this port speaks HTTPS; ask for https:// instead of http://"),
        }
    }

    pub(super) fn write_error(
        &mut self,
        service: &Service,
        status: u16,
        sentence: &str,
        field: Option<(&str, &[u8])>,
        answering: Answering,
    ) -> (ResponsePlan, u64) {
        let text = format!("{status} {}: {sentence}\n", reason_phrase(status));
        let fields = [("Content-Type", &b"text/plain; charset=utf-8"[..])].into_iter().chain(field);
        let status = format!("{status} {}", reason_phrase(status));
        let Ok(head) = ResponseHead::start(&mut self.out.bytes, &status, fields) else {
            unreachable!("the status and the field are ours")
        };
        let plan = service.finish_head(&head, &mut self.out.bytes, answering, Some(text.len() as u64));
        let mut writer = BodyWriter::new(plan.framing);
        writer.append(text.as_bytes(), &mut self.out.bytes);
        (plan, writer.written())
    }
}
