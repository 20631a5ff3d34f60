//! From a complete head to the application, and from its return to the response.

use std::cell::RefCell;
use std::time::Instant;

use super::blocking_io::BlockingIo;
use super::body_reader::BodyReader;
use super::body_source::BodySource;
use super::read_buffer::SLACK;
use super::request_body::RequestBody;
use super::response_writer::ResponseWriter;
use super::state::{Exchange, Response, ResponseProgress};
use super::{Connection, Step};
use crate::http::target::is_https;
use crate::http::{BodyLength, Error, ErrorKind, Framing, Head, ResponseContext, Target, TargetForm};
use crate::server::body_store::{BodyStore, CollectedBody};
use crate::server::handler::BodyMode;
use crate::server::hijack::Hijacked;
use crate::server::panics::{self, Panic};
use crate::server::scheduler::{Admission, Scheduler};
use crate::server::service::{Failure, Service};
use crate::server::upgrade::OnUpgrade;
use crate::wsgi::{AppError, Body, ConnectionInfo, Environ, Extensions, Forwarded, Peer, Source};

/// The minimum free space in bytes of the read buffer when a streamed body is read into it.
const STREAMED_READ: usize = 8 * 1024;

/// The source from which the application reads the body of a request.
enum InputSource<'c, 'i> {
    /// Complete, behind the head in the read buffer.
    InBuffer(CollectedBody<'c>),
    /// Complete, in the body store: in separate memory or in a file.
    Stored(CollectedBody<'c>),
    /// Read as it arrives.
    Streamed(BodyReader<'c, 'i>),
}

impl InputSource<'_, '_> {
    fn as_source(&mut self) -> &mut dyn Source {
        match self {
            InputSource::InBuffer(body) | InputSource::Stored(body) => body,
            InputSource::Streamed(reader) => reader,
        }
    }
}

/// How the application gets the body of a request.
enum BodyDelivery {
    /// Read while the application runs.
    Streamed,
    /// Complete in the read buffer already.
    InBuffer,
    /// Collected before the application runs.
    Collected,
}

/// An application call. Its result stays where the call has put it until the response begins.
#[derive(Default)]
struct Call {
    /// `None` until the application has returned or panicked.
    result: Option<Result<Result<Body, AppError>, Box<Panic>>>,
    /// `None` for most requests, which leave nothing in the environ's extensions.
    extensions: Option<Box<TakenExtensions>>,
}

/// What an application call has left in the environ's extensions.
struct TakenExtensions {
    on_upgrade: Option<OnUpgrade>,
    hijacked: Option<Hijacked>,
    /// Panics that happened while the other extensions were dropped.
    panics: Vec<Panic>,
}

impl Connection {
    /// Processes a request whose head is complete and has `length` bytes: refuses it, begins to collect its body, runs
    /// the application, or leaves it to the scheduler when and where the application runs. Returns `None` if the state
    /// has changed.
    pub(super) fn dispatch(&mut self, service: &Service, scheduler: &mut dyn Scheduler, length: usize) -> Option<Step> {
        if self.clock.completed_at.is_none() {
            self.clock.completed_at = service.start_timer();
        }
        let Some(buffer) = &self.read_buffer else { return None };
        let head = buffer.parser.head(&buffer.bytes[buffer.start..buffer.end]);
        // Used where it is: a copy right after it was written takes longer than all of `Framing::of`.
        let framing = Framing::of(&head, service.settings.leniency);
        let framing = match &framing {
            Ok(framing) => framing,
            Err(error) => {
                self.refuse(service, *error);
                return None;
            }
        };
        if let Err(error) = self.check_head(service, &head, framing, length) {
            self.refuse(service, error);
            return None;
        }
        if let Some(policy) = self.session.as_ref().and_then(|session| session.plain_http) {
            self.refuse_plain_http(service, policy, length);
            return None;
        }
        let mut collected = self.body.is_some();
        if framing.body != BodyLength::Known(0) && !collected {
            match self.body_delivery(service, length, framing) {
                Ok(BodyDelivery::Streamed) => {}
                Ok(BodyDelivery::InBuffer) => collected = true,
                Ok(BodyDelivery::Collected) => {
                    self.collect(service, length, framing);
                    return None;
                }
                Err(error) => {
                    self.refuse(service, error);
                    return None;
                }
            }
        }
        let may_ask = !self.needs_slot && !self.has_other_host(service, &head);
        let is_immediate = may_ask && is_immediate(service, scheduler, head);
        self.needs_slot = !is_immediate;
        match if is_immediate { Admission::Run } else { scheduler.admit() } {
            Admission::Run => {
                self.end_queueing();
                self.run_application(service, scheduler, length, framing, collected, is_immediate);
                None
            }
            Admission::Queue => {
                self.queued_at.get_or_insert_with(Instant::now);
                Some(Step::Queued)
            }
            Admission::Fork => {
                self.queued_at.get_or_insert_with(Instant::now);
                Some(Step::Fork)
            }
            Admission::Dispatch => Some(Step::Dispatch),
        }
    }

    /// Checks the length of the body and the target of a head. The error is the reason for a refusal.
    #[inline]
    fn check_head(&self, service: &Service, head: &Head<'_>, framing: &Framing, length: usize) -> Result<(), Error> {
        check_length(framing, service.settings.limits.body, length)?;
        let target = Target::of(head, service.settings.leniency)?;
        // The client of a Unix socket is a proxy on this machine, whose own clients may use TLS.
        let is_plain = self.session.is_none() && !matches!(self.provenance.peers.socket, Peer::Local);
        match target.form {
            TargetForm::Authority => Err(Error::new(ErrorKind::Connect, 0)),
            TargetForm::Absolute if is_plain && is_https(head.target()) => Err(Error::new(ErrorKind::Misdirected, 0)),
            _ => Ok(()),
        }
    }

    /// Whether a trusted proxy may have set another host than that of the head, by which the application could choose
    /// code that waits.
    fn has_other_host(&self, service: &Service, head: &Head<'_>) -> bool {
        self.provenance.is_trusted && Forwarded::is_in(head) && service.settings.proxies.rules().may_set_host()
    }

    /// Decides how the application gets the body of a request. The error is the reason for a refusal.
    fn body_delivery(&self, service: &Service, length: usize, framing: &Framing) -> Result<BodyDelivery, Error> {
        if self.body_mode(service, length) != BodyMode::Collect {
            return Ok(BodyDelivery::Streamed);
        }
        check_length(framing, Some(service.settings.limits.collected_body), length)?;
        let arrived = self.read_buffer.as_ref().map_or(0, |buffer| buffer.len() - length) as u64;
        match framing.body {
            BodyLength::Known(whole) if whole <= arrived => Ok(BodyDelivery::InBuffer),
            _ => Ok(BodyDelivery::Collected),
        }
    }

    /// Runs the application for a request that has been admitted, and begins its response. `collected`: whether the
    /// body is complete, in the body store or in the read buffer. `is_immediate`: whether the application does not need
    /// a slot for this request.
    fn run_application(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        length: usize,
        framing: &Framing,
        collected: bool,
        is_immediate: bool,
    ) {
        self.needs_slot = false;
        let Some(buffer) = self.read_buffer.as_mut() else { return };
        let streams = framing.body != BodyLength::Known(0) && !collected;
        let mut body = RequestBody::finished();
        if streams {
            body = RequestBody::new(framing, &service.settings, service.settings.limits.body);
            // A client that has sent some of the body does not wait for `100 Continue` (RFC 9110 §10.1.1).
            body.continue_pending &= buffer.len() == length;
            buffer.free(STREAMED_READ);
        }
        let filled = buffer.len() - length;
        let end = buffer.bytes.len();
        let (head_bytes, rest) = buffer.bytes[buffer.start..end - SLACK].split_at_mut(length);
        let head = buffer.parser.head(head_bytes);
        // Can't fail: `check_head` has parsed the target already.
        let Ok(target) = Target::of(&head, service.settings.leniency) else { return };
        let session = self.session.as_deref();
        let context = ResponseContext {
            version: head.version(),
            head: head.method() == b"HEAD",
            keep_alive: framing.keep_alive && !service.is_last_request(session.is_none()),
        };
        let mut exchange = Exchange {
            head_length: length,
            consumed: length,
            context,
            client_closes: !framing.keep_alive && framing.body == BodyLength::Known(0),
            upgrade_offered: framing.upgrade,
            is_immediate,
            body,
            clock: std::mem::take(&mut self.clock),
            progress: ResponseProgress::NotStarted,
        };
        let connection = ConnectionInfo {
            server_name: &self.endpoint.name,
            server_port: &self.endpoint.port,
            peers: &self.provenance.peers,
            scheme: session.map_or("http", |session| session.scheme),
            variables: session.map_or(&[], |session| &session.variables),
            presence: &self.presence,
            plain: session.is_none(),
        };
        let forwarded = match self.provenance.is_trusted && Forwarded::is_in(&head) {
            true => Forwarded::of(&head, &target, service.settings.proxies.rules()),
            false => None,
        };

        scheduler.enter_blocking();
        let io = RefCell::new(BlockingIo {
            transport: &mut *self.transport,
            write_buffer: &mut self.write_buffer,
            service,
            scheduler: &mut *scheduler,
            is_slow: false,
            progress: &mut exchange.progress,
            detached: None,
        });
        let mut source = input_source(&io, self.body.as_ref(), &mut exchange.body, rest, filled, framing, streams);
        // The connection's extensions are always there: they are taken out only when the connection ends.
        let mut no_extensions = Extensions::default();
        let kept = self.extensions.get_mut().unwrap_or(&mut no_extensions);
        let mut environ = Environ::new(head, target, &service.info, connection, forwarded, source.as_source(), kept);
        if let Some(ids) = &service.request_ids {
            exchange.clock.request_id = ids.assign(&mut environ, self.provenance.is_trusted);
        }
        let mut writer = ResponseWriter { io: &io, context };
        let mut call = Call::default();
        call.run(service, &mut environ, &mut writer);
        // Bytes that were decoded but not consumed by the application count as read.
        let (consumed, arrived) = match source {
            InputSource::Streamed(BodyReader { unread, .. }) => (unread.start, unread.end),
            InputSource::InBuffer(body) => (body.length().map_or(0, |length| length as usize), filled),
            InputSource::Stored(_) => (0, filled),
        };
        let BlockingIo { detached, .. } = io.into_inner();
        // An application that fails has detached nothing.
        let detached = detached.filter(|_| matches!(call.result, Some(Ok(Ok(_)))));
        if detached.is_none() {
            // Inside the blocking call, because closing a large file takes a while, too.
            self.body = None;
        }
        service.exit_blocking(scheduler);

        buffer.end = buffer.start + length + arrived;
        exchange.consumed += consumed;
        if let Some(filters) = detached {
            let store = self.body.take();
            return self.detach(service, exchange, store, filters);
        }
        if let Some(source) = self.finish_call(service, scheduler, &mut exchange, &mut call) {
            self.continue_response(Box::new(Response { exchange, source, streaming: false }));
        }
    }

    /// Begins the response after the application has returned, failed or panicked. Returns the body if it is sent in
    /// parts.
    #[inline]
    fn finish_call(
        &mut self,
        service: &Service,
        scheduler: &mut dyn Scheduler,
        exchange: &mut Exchange,
        call: &mut Call,
    ) -> Option<BodySource> {
        let mut on_upgrade = None;
        if let Some(extensions) = call.extensions.take() {
            for panic in extensions.panics {
                self.report_panic(service, exchange, "the environ's extensions", Box::new(panic));
            }
            if let Some(hijacked) = extensions.hijacked {
                if let Some(result) = call.result.take() {
                    self.end_hijacked(service, scheduler, exchange, result, hijacked);
                }
                return None;
            }
            on_upgrade = extensions.on_upgrade;
        }
        if let Some(Ok(Ok(body))) = &mut call.result {
            return self.begin_response(service, scheduler, exchange, body, &mut on_upgrade);
        }
        match call.result.take() {
            Some(Ok(Err(error))) => self.abort(service, exchange, error),
            Some(Err(panic)) => {
                let report = format!("panic in the application: {}", panic.report);
                if service.record_failure(|| Failure::Panic(panic)) {
                    self.abort_silently(exchange);
                } else {
                    self.abort(service, exchange, report.into());
                }
            }
            Some(Ok(Ok(_))) | None => {}
        }
        None
    }
}

/// Asks the application whether it responds to a request without waiting.
#[inline(always)]
fn is_immediate(service: &Service, scheduler: &mut dyn Scheduler, head: Head<'_>) -> bool {
    let mut has_blocked = false;
    let is_immediate = service.app.is_immediate(head, &mut || {
        has_blocked = true;
        scheduler.enter_blocking();
    });
    if has_blocked {
        service.exit_blocking(scheduler);
    }
    is_immediate
}

impl Call {
    /// Calls the application, and takes out what it has left in the environ's extensions.
    #[inline]
    fn run(&mut self, service: &Service, environ: &mut Environ<'_>, writer: &mut ResponseWriter<'_, '_>) {
        let result = &mut self.result;
        let caught = panics::catch(|| {
            service.settings.handler.make_environ(environ);
            *result = Some(Ok(service.app.call(environ, writer)));
        });
        if let Err(panic) = caught {
            self.result = Some(Err(panic));
        }
        let extensions = environ.extensions_mut();
        if !extensions.is_empty() {
            self.extensions = Some(Box::new(TakenExtensions::of(extensions)));
        }
    }
}

impl TakenExtensions {
    /// Takes everything out. Dropping an extension runs application code, which may be slow or panic.
    #[cold]
    fn of(extensions: &mut Extensions) -> TakenExtensions {
        let (on_upgrade, hijacked) = (extensions.remove(), extensions.remove());
        let panics = extensions.take().filter_map(|extension| panics::catch(|| drop(extension)).err());
        TakenExtensions { on_upgrade, hijacked, panics: panics.map(|panic| *panic).collect() }
    }
}

/// Refuses a body whose declared length exceeds a limit.
fn check_length(framing: &Framing, limit: Option<u64>, head_length: usize) -> Result<(), Error> {
    match (framing.body, limit) {
        (BodyLength::Known(length), Some(limit)) if length > limit => {
            Err(Error::new(ErrorKind::BodyTooLarge, head_length))
        }
        _ => Ok(()),
    }
}

/// Chooses the source of the request's body. `rest` is the read buffer behind the head; its first `filled` bytes have
/// arrived.
fn input_source<'c, 'i>(
    io: &'c RefCell<BlockingIo<'i>>,
    store: Option<&'c BodyStore>,
    body: &'c mut RequestBody,
    rest: &'c mut [u8],
    filled: usize,
    framing: &Framing,
    streams: bool,
) -> InputSource<'c, 'i> {
    match (store, framing.body) {
        _ if streams => InputSource::Streamed(BodyReader { io, body, bytes: rest, unread: 0..filled, ready: 0..0 }),
        (Some(store), _) => InputSource::Stored(CollectedBody::of_store(store)),
        (None, BodyLength::Known(whole)) => InputSource::InBuffer(CollectedBody::of_bytes(&rest[..whole as usize])),
        (None, BodyLength::Chunked) => unreachable!("a chunked body is streamed or stored"),
    }
}
