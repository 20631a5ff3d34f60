//! From a complete head to the application and back, and the answers that the server gives by itself.

use std::cell::RefCell;
use std::ops::Range;
use std::time::SystemTime;

use super::super::buffer::SLACK;
use super::super::incoming::{BodyState, Incoming};
use super::super::log::{AccessRecord, CloseReason};
use super::super::panics::{self};
use super::super::service::{Failure, Service};
use super::super::transport::Misplaced;
use super::super::upgrade::OnUpgrade;
use super::super::wire::{Started, Starter, Wire};
use crate::http::head::Known;
use crate::http::{
    reason_phrase, Answering, BodyLength, BodyWriter, Error, ErrorKind, Framing, ResponseHead, ResponsePlan, Target,
    TargetForm, Version,
};
use crate::wsgi::{ConnectionInfo, Environ, Extensions};

use super::answer::Exchange;
use super::{Connection, Permission, Served, State, Step, Transfer, Turn};

impl Connection {
    /// Answers the request whose head has just become complete.
    pub(super) fn serve(&mut self, service: &Service, turn: &mut dyn Turn, length: usize) -> Served {
        let Some(buffer) = &mut self.buffer else { return Served::Moved };
        let leniency = service.settings.leniency;
        let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.end]);
        let framing = Framing::of(&head, leniency).and_then(|framing| match framing.body {
            BodyLength::Known(body) if service.settings.limits.body.is_some_and(|limit| body > limit) => {
                Err(Error::new(ErrorKind::BodyTooLarge, length))
            }
            _ => Ok(framing),
        });
        let framing = match framing {
            Ok(framing) => framing,
            Err(error) => {
                self.refuse(service, error);
                return Served::Moved;
            }
        };
        if let Some(misplaced) = self.session.as_ref().and_then(|session| session.misplaced) {
            self.answer_misplaced(service, misplaced, length);
            return Served::Moved;
        }
        let mut body = BodyState::new(&framing, &service.settings);
        if let BodyLength::Known(whole) = framing.body {
            let lacking = whole.saturating_sub((buffer.len() - length) as u64);
            let waits = whole <= service.settings.limits.read_ahead as u64 && !framing.expects_continue;
            if lacking > 0 && waits && !self.finished {
                if self.reading.started == 0 {
                    let now = service.now();
                    self.reading = Transfer { started: now.max(1), progress: now, moved: 0 };
                }
                return Served::Lacks(lacking as usize);
            }
            self.reading = Transfer::default();
        }
        if !body.is_done() {
            // A body is read in pieces no smaller than this.
            const READ: usize = 8 * 1024;
            buffer.free(READ);
        }
        let filled = buffer.len() - length;
        let end = buffer.bytes.len();
        let (head_bytes, rest) = buffer.bytes[buffer.start..end - SLACK].split_at_mut(length);
        let head = buffer.parser.head(head_bytes);
        let target = Target::of(&head, leniency).and_then(|target| match target.form {
            TargetForm::Authority => Err(Error::new(ErrorKind::Connect, 0)),
            _ => Ok(target),
        });
        let target = match target {
            Ok(target) => target,
            Err(error) => {
                self.refuse(service, error);
                return Served::Moved;
            }
        };
        match turn.permission() {
            Permission::Run => {}
            Permission::Wait => return Served::Waits(Step::Turn),
            Permission::Fork => return Served::Waits(Step::Fork),
        }
        let answering = Answering {
            version: head.version(),
            head: head.method() == b"HEAD",
            keep_alive: framing.keep_alive && !service.is_last_request(self.session.is_none()),
        };
        let began = service.stopwatch();

        let connection = ConnectionInfo {
            server_name: &self.endpoint.name,
            server_port: &self.endpoint.port,
            peer: self.peer,
            scheme: self.session.as_ref().map_or("http", |session| session.scheme),
            variables: self.session.as_ref().map_or(&[], |session| &session.variables),
            presence: &self.presence,
            plain: self.session.is_none(),
        };
        let wire = RefCell::new(Wire {
            transport: &mut *self.transport,
            out: &mut self.out,
            service,
            mark: None,
            begun: false,
        });
        let mut incoming = Incoming { wire: &wire, state: &mut body, bytes: rest, unread: 0..filled, ready: 0..0 };
        // Always there: it is taken out only with the connection.
        let mut nothing = Extensions::default();
        let kept = self.kept.get_mut().unwrap_or(&mut nothing);
        let mut environ = Environ::new(head, target, &service.info, connection, &mut incoming, kept);
        let mut starter = Starter { wire: &wire, answering, started: Started::No };

        turn.leave();
        let result = panics::catch(|| {
            service.settings.handler.make_environ(&mut environ);
            service.app.call(&mut environ, &mut starter)
        });
        service.back(turn);

        let on_upgrade = environ.extensions_mut().remove::<OnUpgrade>();
        let extensions = environ.extensions_mut().take();
        let started = starter.started;
        // What was decoded but not consumed is as good as read.
        let Range { start: consumed, end: there } = incoming.unread;
        let mark = wire.into_inner().mark;
        buffer.end = buffer.start + length + there;
        let exchange = Exchange {
            head_length: length,
            consumed: length + consumed,
            answering,
            client_closes: !framing.keep_alive,
            upgrade_offered: framing.upgrade,
            body,
            began,
        };
        // The extensions are the application's, and each drops as it likes.
        for extension in extensions {
            if let Err(panic) = panics::catch(|| drop(extension)) {
                self.report_panic(service, &exchange, "the environ's extensions", panic);
            }
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
        Served::Moved
    }

    /// Refuses a request that can't be served, and closes: its framing is in doubt.
    pub(super) fn refuse(&mut self, service: &Service, error: Error) {
        self.set_reason(CloseReason::Refused(error));
        self.answer_error(service, error.status(), error.kind().sentence());
    }

    pub(super) fn answer_error(&mut self, service: &Service, status: u16, sentence: &str) {
        self.answer_by_itself(service, status, sentence, None);
    }

    /// An answer of the server's own, after which it closes.
    fn answer_by_itself(&mut self, service: &Service, status: u16, sentence: &str, field: Option<(&str, &[u8])>) {
        let answering = Answering { version: Version::Http11, head: false, keep_alive: false };
        let (_, written) = self.write_error(service, status, sentence, field, answering);
        let line = self.buffer.as_ref().map_or(&b""[..], |buffer| {
            let bytes = &buffer.bytes[buffer.start..buffer.end];
            // Of what may be no HTTP at all, a line's worth.
            const SHOWN: usize = 100;
            let end = bytes.iter().position(|&byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
            &bytes[..end.min(SHOWN)]
        });
        let record = AccessRecord {
            peer: self.peer,
            request_line: line,
            target: b"",
            connection: None,
            head: None,
            status,
            bytes: written,
            duration: Default::default(),
            time: SystemTime::now(),
        };
        service.tell(|handler, log| handler.log_request(&record, log));
        self.answered += 1;
        self.state = State::Closing { linger: true };
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

    pub(super) fn request_line(&self, head_length: usize) -> &[u8] {
        match &self.buffer {
            Some(buffer) => {
                let bytes = &buffer.bytes[buffer.start..buffer.start + head_length];
                buffer.parser.head(bytes).request_line()
            }
            None => b"",
        }
    }

    #[inline]
    pub(super) fn log(&self, service: &Service, exchange: &Exchange, status: u16, bytes: u64) {
        let (Some(began), Some(buffer)) = (exchange.began, &self.buffer) else { return };
        let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.start + exchange.head_length]);
        let record = AccessRecord {
            peer: self.peer,
            request_line: head.request_line(),
            target: head.target(),
            connection: self.kept.get(),
            head: Some(head),
            status,
            bytes,
            duration: began.elapsed(),
            time: SystemTime::now(),
        };
        service.tell(|handler, log| handler.log_request(&record, log));
    }
}
