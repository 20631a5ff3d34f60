//! The application of the `connection` target: each letter of the path is one action, and they are performed in order.
//!
//! ```text
//! reading     a all of the body    A all, errors ignored    p three bytes    l one piece, half consumed
//! head        2 204    3 304    d the right Content-Length    D too long    s too short    L not a number
//!             i a CR LF in a value    h a hop-by-hop field    S start at once    t start twice
//! body        b blocks    B one block, with an exact size hint    0 no bytes    k 20 KiB    K 20 KiB in blocks
//!             f blocks, the second fails    F blocks, the first fails
//! writing     w with the write callable
//! ending      e an error    u upgrade    U 101 without an upgrade    x a panic (the first one only)
//! ```

use std::io::{BufRead, Read};
use std::sync::{Arc, Mutex};

use crate::server::on_upgrade;
use crate::wsgi::{AppError, Application, Body, Environ, StartResponse};

/// The outcome of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The call has not returned.
    Running,
    /// The application gave a status and a complete body.
    Responded { status: u16, body: Vec<u8> },
    /// The call failed before anything could have been sent.
    Failed,
    /// The call failed when something may have been sent, or its body has another length than declared.
    Aborted,
}

/// A request as the application observed it.
#[derive(Debug)]
pub(super) struct ObservedRequest {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) http11: bool,
    /// The fields; names are in lower case.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The part of the body that the application read.
    pub(super) body: Vec<u8>,
    /// Whether reading returned the end of the body.
    pub(super) body_ended: bool,
    pub(super) outcome: Outcome,
}

/// The application, which records the requests that it observes.
pub(super) struct Fixture(pub(super) Arc<Mutex<Vec<ObservedRequest>>>);

impl Fixture {
    fn update(&self, index: usize, change: impl FnOnce(&mut ObservedRequest)) {
        change(&mut self.0.lock().expect("no thread panics while it holds the lock")[index]);
    }
}

/// The maximum number of actions of one path.
const LETTERS: usize = 12;
const LARGE: usize = 20 * 1024;

impl Application for Fixture {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let head = environ.head();
        let index = {
            let mut all = self.0.lock().expect("no thread panics while it holds the lock");
            all.push(ObservedRequest {
                method: head.method().to_vec(),
                target: head.target().to_vec(),
                http11: head.version().as_str() == "HTTP/1.1",
                fields: head.fields().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect(),
                body: Vec::new(),
                body_ended: false,
                outcome: Outcome::Running,
            });
            all.len() - 1
        };
        let letters: Vec<u8> = environ.path().iter().copied().filter(|&byte| byte != b'/').take(LETTERS).collect();
        // Listing the environ must not fail either.
        let _ = environ.iter().count();
        let mut call = Call {
            fixture: self,
            index,
            status: "200 OK",
            fields: Vec::new(),
            declared: None,
            response: b"a response".to_vec(),
            kind: BodyKind::Bytes,
            written: Vec::new(),
            started: None,
            has_written: false,
        };
        let result = call.run(&letters, environ, start_response);
        let outcome = call.outcome(result.is_ok());
        self.update(index, |seen| seen.outcome = outcome);
        result
    }
}

/// The body that the application returns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Bytes,
    Blocks,
    OneBlock,
    /// Blocks, of which the one with this index is an error.
    FailsAt(usize),
    Upgrade,
}

/// One call of the application.
struct Call<'f> {
    fixture: &'f Fixture,
    index: usize,
    status: &'static str,
    fields: Vec<(&'static str, String)>,
    /// The difference between the declared and the right length, if a length is declared.
    declared: Option<i64>,
    /// The bytes of the body.
    response: Vec<u8>,
    kind: BodyKind,
    /// The bytes that were sent with the write callable.
    written: Vec<u8>,
    /// The status and the Content-Length that were given.
    started: Option<(u16, Option<usize>)>,
    has_written: bool,
}

impl Call<'_> {
    /// Performs the actions of all letters, and returns the body.
    fn run(
        &mut self,
        letters: &[u8],
        environ: &mut Environ<'_>,
        out: &mut dyn StartResponse,
    ) -> Result<Body, AppError> {
        for &letter in letters {
            self.perform(letter, environ, out)?;
        }
        self.start(out)?;
        Ok(self.body())
    }

    fn perform(&mut self, letter: u8, environ: &mut Environ<'_>, out: &mut dyn StartResponse) -> Result<(), AppError> {
        match letter {
            b'a' => self.read(environ)?,
            b'A' => drop(self.read(environ)),
            b'p' => {
                let mut piece = [0; 3];
                let count = environ.input().read(&mut piece)?;
                self.fixture.update(self.index, |seen| {
                    seen.body.extend_from_slice(&piece[..count]);
                    seen.body_ended |= count == 0;
                });
            }
            b'l' => {
                let input = environ.input();
                let piece = input.fill_buf()?;
                let half = piece[..piece.len().div_ceil(2)].to_vec();
                input.consume(half.len());
                self.fixture.update(self.index, |seen| {
                    seen.body.extend_from_slice(&half);
                    seen.body_ended |= half.is_empty();
                });
            }
            b'2' => self.status = "204 No Content",
            b'3' => self.status = "304",
            b'd' => self.declared = Some(0),
            b'D' => self.declared = Some(5),
            b's' => self.declared = Some(-5),
            b'L' => self.fields.push(("Content-Length", "+1".into())),
            b'i' => self.fields.push(("X-Injected", "a\r\n\r\nHTTP/1.1 200 OK".into())),
            b'h' => self.fields.push(("Transfer-Encoding", "chunked".into())),
            b'S' => self.start(out)?,
            b't' => {
                self.start(out)?;
                out.start("200 OK", &[])?;
            }
            b'b' => self.kind = BodyKind::Blocks,
            b'B' => self.kind = BodyKind::OneBlock,
            b'0' => self.response.clear(),
            b'k' => self.response = vec![b'k'; LARGE],
            b'K' => (self.response, self.kind) = (vec![b'K'; LARGE], BodyKind::Blocks),
            b'f' => self.kind = BodyKind::FailsAt(1),
            b'F' => self.kind = BodyKind::FailsAt(0),
            b'w' => {
                self.start(out)?;
                self.has_written = true;
                out.write(b"written ")?;
                self.written.extend_from_slice(b"written ");
            }
            b'e' => return Err("the application fails".into()),
            b'u' => {
                on_upgrade(environ, |_| {});
                self.switch();
            }
            b'U' => self.switch(),
            // Printing a backtrace is slow: at most one for each connection.
            b'x' if self.index == 0 => {
                self.fixture.update(self.index, |seen| seen.outcome = Outcome::Failed);
                if self.has_written {
                    self.fixture.update(self.index, |seen| seen.outcome = Outcome::Aborted);
                }
                panic!("the application panics");
            }
            _ => {}
        }
        Ok(())
    }

    fn body(&self) -> Body {
        let halves = |response: &[u8]| {
            let (first, second) = response.split_at(response.len() / 2);
            [first.to_vec(), Vec::new(), second.to_vec()]
        };
        match self.kind {
            BodyKind::Bytes => self.response.clone().into(),
            BodyKind::Blocks => Body::iter(halves(&self.response).into_iter().filter(|_| true)),
            BodyKind::OneBlock => Body::iter([self.response.clone()]),
            BodyKind::FailsAt(place) => {
                let mut blocks: Vec<Result<Vec<u8>, AppError>> = vec![Ok(self.response.clone())];
                blocks.insert(place, Err("the body fails".into()));
                Body::try_iter(blocks)
            }
            BodyKind::Upgrade => Body::empty(),
        }
    }

    fn switch(&mut self) {
        self.status = "101 Switching Protocols";
        self.fields.extend([("Connection", "upgrade".into()), ("Upgrade", "fixture".into())]);
        self.kind = BodyKind::Upgrade;
    }

    fn read(&mut self, environ: &mut Environ<'_>) -> Result<(), AppError> {
        let mut body = Vec::new();
        let result = environ.input().read_to_end(&mut body);
        self.fixture.update(self.index, |seen| {
            seen.body.extend_from_slice(&body);
            seen.body_ended |= result.is_ok();
        });
        result.map(drop).map_err(AppError::from)
    }

    /// Calls `start_response`, unless it has been called.
    fn start(&mut self, out: &mut dyn StartResponse) -> Result<(), AppError> {
        if self.started.is_some() {
            return Ok(());
        }
        let declared = self.declared.map(|wrong| (self.response.len() as i64 + wrong).max(0) as usize);
        self.started = Some((self.status[..3].parse().unwrap_or(0), declared));
        let mut fields = vec![("X-Request", self.index.to_string())];
        fields.append(&mut self.fields);
        fields.extend(declared.map(|length| ("Content-Length", length.to_string())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        out.start(self.status, &fields)?;
        Ok(())
    }

    /// The outcome, given whether the call succeeded. Where the response also depends on the client, it is the outcome
    /// that allows the most.
    fn outcome(&self, succeeded: bool) -> Outcome {
        let body = [&self.written[..], &self.response].concat();
        match (self.kind, self.started) {
            _ if self.has_written && !succeeded => Outcome::Aborted,
            _ if !succeeded => Outcome::Failed,
            // A 101 is an upgrade, whatever body the path gives, and an upgrade has no body, whatever status was given.
            (BodyKind::FailsAt(_) | BodyKind::Upgrade, _) | (_, None | Some((101, _))) => Outcome::Aborted,
            (_, Some((_, Some(length)))) if length != body.len() => Outcome::Aborted,
            (_, Some((status, _))) => Outcome::Responded { status, body },
        }
    }
}
