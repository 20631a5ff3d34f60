//! The application of the `connection` target: each letter of the path is something it does, in order.
//!
//! ```text
//! reading     a all of the body    A all, errors swallowed    p three bytes    l one piece, half consumed
//! head        2 204    3 304    d the right Content-Length    D too long    s too short    L no number
//!             i a CR LF in a value    h a hop-by-hop field    S start now    t start twice
//! body        b blocks    B one block, and says so    0 nothing    k 20 KiB    K 20 KiB in blocks
//!             f blocks that fail at the second    F blocks that fail at the first
//! writing     w with the write callable
//! ending      e an error    u upgrade    U 101 without an upgrade    x a panic (the first one only)
//! ```

use std::io::{BufRead, Read};
use std::sync::{Arc, Mutex};

use crate::server::on_upgrade;
use crate::wsgi::{AppError, Application, Body, Environ, StartResponse};

/// What became of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It never came back.
    Running,
    /// A status and a whole body were given.
    Answered { status: u16, body: Vec<u8> },
    /// It failed before anything could have been sent.
    Failed,
    /// It failed when something may have been sent, or gave another body than it had promised.
    Cut,
}

/// A request as the application saw it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) http11: bool,
    /// Names in lower case.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// What was read of the body.
    pub(super) body: Vec<u8>,
    /// Reading said that this was all.
    pub(super) body_ended: bool,
    pub(super) outcome: Outcome,
}

pub(super) struct Fixture(pub(super) Arc<Mutex<Vec<Seen>>>);

impl Fixture {
    fn note(&self, index: usize, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().expect("nobody panics while holding it")[index]);
    }
}

/// No path does more than this.
const LETTERS: usize = 12;
const LARGE: usize = 20 * 1024;

impl Application for Fixture {
    fn call(&self, environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
        let head = environ.head();
        let index = {
            let mut all = self.0.lock().expect("nobody panics while holding it");
            all.push(Seen {
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
        // Whatever reads the environ may not fail either.
        let _ = environ.iter().count();
        let mut call = Call {
            fixture: self,
            index,
            status: "200 OK",
            fields: Vec::new(),
            promised: None,
            answer: b"an answer".to_vec(),
            kind: Kind::Bytes,
            written: Vec::new(),
            started: None,
            wrote: false,
        };
        let result = call.run(&letters, environ, start_response);
        let outcome = call.outcome(result.is_ok());
        self.note(index, |seen| seen.outcome = outcome);
        result
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes,
    Blocks,
    OneBlock,
    FailsAt(usize),
    Upgrade,
}

struct Call<'f> {
    fixture: &'f Fixture,
    index: usize,
    status: &'static str,
    fields: Vec<(&'static str, String)>,
    /// By how much the promised length is wrong.
    promised: Option<i64>,
    answer: Vec<u8>,
    kind: Kind,
    written: Vec<u8>,
    /// Status and Content-Length as they were given.
    started: Option<(u16, Option<usize>)>,
    wrote: bool,
}

impl Call<'_> {
    fn run(
        &mut self,
        letters: &[u8],
        environ: &mut Environ<'_>,
        out: &mut dyn StartResponse,
    ) -> Result<Body, AppError> {
        for letter in letters {
            match letter {
                b'a' => self.read(environ)?,
                b'A' => drop(self.read(environ)),
                b'p' => {
                    let mut piece = [0; 3];
                    let count = environ.input().read(&mut piece)?;
                    self.fixture.note(self.index, |seen| {
                        seen.body.extend_from_slice(&piece[..count]);
                        seen.body_ended |= count == 0;
                    });
                }
                b'l' => {
                    let input = environ.input();
                    let piece = input.fill_buf()?;
                    let half = piece[..piece.len().div_ceil(2)].to_vec();
                    input.consume(half.len());
                    self.fixture.note(self.index, |seen| {
                        seen.body.extend_from_slice(&half);
                        seen.body_ended |= half.is_empty();
                    });
                }
                b'2' => self.status = "204 No Content",
                b'3' => self.status = "304",
                b'd' => self.promised = Some(0),
                b'D' => self.promised = Some(5),
                b's' => self.promised = Some(-5),
                b'L' => self.fields.push(("Content-Length", "+1".into())),
                b'i' => self.fields.push(("X-Injected", "a\r\n\r\nHTTP/1.1 200 OK".into())),
                b'h' => self.fields.push(("Transfer-Encoding", "chunked".into())),
                b'S' => self.start(out)?,
                b't' => {
                    self.start(out)?;
                    out.start("200 OK", &[])?;
                }
                b'b' => self.kind = Kind::Blocks,
                b'B' => self.kind = Kind::OneBlock,
                b'0' => self.answer.clear(),
                b'k' => self.answer = vec![b'k'; LARGE],
                b'K' => (self.answer, self.kind) = (vec![b'K'; LARGE], Kind::Blocks),
                b'f' => self.kind = Kind::FailsAt(1),
                b'F' => self.kind = Kind::FailsAt(0),
                b'w' => {
                    self.start(out)?;
                    self.wrote = true;
                    out.write(b"written ")?;
                    self.written.extend_from_slice(b"written ");
                }
                b'e' => return Err("the application gives up".into()),
                b'u' => {
                    on_upgrade(environ, |_| {});
                    self.switch();
                }
                b'U' => self.switch(),
                // Backtraces are slow: one for each connection.
                b'x' if self.index == 0 => {
                    self.fixture.note(self.index, |seen| seen.outcome = Outcome::Failed);
                    if self.wrote {
                        self.fixture.note(self.index, |seen| seen.outcome = Outcome::Cut);
                    }
                    panic!("the application panics");
                }
                _ => {}
            }
        }
        self.start(out)?;
        let halves = |answer: &[u8]| {
            let (first, second) = answer.split_at(answer.len() / 2);
            [first.to_vec(), Vec::new(), second.to_vec()]
        };
        Ok(match self.kind {
            Kind::Bytes => self.answer.clone().into(),
            Kind::Blocks => Body::iter(halves(&self.answer).into_iter().filter(|_| true)),
            Kind::OneBlock => Body::iter([self.answer.clone()]),
            Kind::FailsAt(place) => {
                let mut blocks: Vec<Result<Vec<u8>, AppError>> = vec![Ok(self.answer.clone())];
                blocks.insert(place, Err("the body fails".into()));
                Body::try_iter(blocks)
            }
            Kind::Upgrade => Body::empty(),
        })
    }

    fn switch(&mut self) {
        self.status = "101 Switching Protocols";
        self.fields.extend([("Connection", "upgrade".into()), ("Upgrade", "fixture".into())]);
        self.kind = Kind::Upgrade;
    }

    fn read(&mut self, environ: &mut Environ<'_>) -> Result<(), AppError> {
        let mut body = Vec::new();
        let result = environ.input().read_to_end(&mut body);
        self.fixture.note(self.index, |seen| {
            seen.body.extend_from_slice(&body);
            seen.body_ended |= result.is_ok();
        });
        result.map(drop).map_err(AppError::from)
    }

    /// Starts, once.
    fn start(&mut self, out: &mut dyn StartResponse) -> Result<(), AppError> {
        if self.started.is_some() {
            return Ok(());
        }
        let promised = self.promised.map(|wrong| (self.answer.len() as i64 + wrong).max(0) as usize);
        self.started = Some((self.status[..3].parse().unwrap_or(0), promised));
        let mut fields = vec![("X-Request", self.index.to_string())];
        fields.append(&mut self.fields);
        fields.extend(promised.map(|length| ("Content-Length", length.to_string())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        out.start(self.status, &fields)?;
        Ok(())
    }

    /// Deliberately generous where the answer depends on the client as well.
    fn outcome(&self, fine: bool) -> Outcome {
        let body = [&self.written[..], &self.answer].concat();
        match (self.kind, self.started) {
            _ if self.wrote && !fine => Outcome::Cut,
            _ if !fine => Outcome::Failed,
            // A 101 is an upgrade whatever body is named behind it, and an upgrade has none, whatever was begun before.
            (Kind::FailsAt(_) | Kind::Upgrade, _) | (_, None | Some((101, _))) => Outcome::Cut,
            (_, Some((_, Some(length)))) if length != body.len() => Outcome::Cut,
            (_, Some((status, _))) => Outcome::Answered { status, body },
        }
    }
}
