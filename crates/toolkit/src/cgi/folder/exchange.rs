//! One request: the script's output becomes a response, block by block.

use std::io::BufRead;
use std::thread;
use std::time::{Duration, Instant};

use amboss_core::http::allows_body;
use amboss_core::{AppError, Body, Environ, StartResponse};

use super::fault::Fault;
use super::head::{HeadParser, ScriptHead};
use super::options::CgiOptions;
use super::process::{deadline_after, Script, Step};

/// The response so far.
pub(super) struct Exchange<'o> {
    script: Script,
    options: &'o CgiOptions,
    parser: HeadParser,
    head: Option<ScriptHead>,
    begun: bool,
    /// The number of bytes of the body that were passed on.
    sent: u64,
    run_deadline: Instant,
    is_own_process: bool,
}

/// The reason why a request fails.
pub(super) enum Failure {
    /// Before the head was passed on: the client can get another response.
    Early(Fault),
    /// An error to return to the server.
    Late(AppError),
}

impl<E: Into<AppError>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Late(error.into())
    }
}

impl<'o> Exchange<'o> {
    /// `is_own_process`: whether this process runs this request alone.
    pub(super) fn new(script: Script, options: &'o CgiOptions, is_own_process: bool) -> Exchange<'o> {
        let parser = HeadParser::new(options.max_head, options.max_fields);
        let run_deadline = deadline_after(options.run_timeout);
        Exchange { script, options, parser, head: None, begun: false, sent: 0, run_deadline, is_own_process }
    }

    /// Passes a streamed body on, and sends what the script writes meanwhile. While this waits for the client, output
    /// stays in the pipe: the server reads and writes in turn.
    pub(super) fn stream_body(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: &mut dyn StartResponse,
    ) -> Result<(), Failure> {
        while self.script.is_reading() {
            let block = environ.input().fill_buf()?;
            let count = block.len();
            if count == 0 {
                break;
            }
            self.script.give(block);
            environ.input().consume(count);
            while self.script.has_pending() {
                match self.step()? {
                    Step::Output(block) => {
                        let block = self.accept(block, start_response)?;
                        if !block.is_empty() {
                            start_response.write(&block)?;
                        }
                    }
                    Step::End => return Ok(()),
                    Step::Other => {}
                }
            }
        }
        self.script.end_input();
        Ok(())
    }

    /// Reads the head, begins the response, and returns the body, which reads on.
    pub(super) fn respond(mut self, is_head: bool, start_response: &mut dyn StartResponse) -> Result<Body, Failure> {
        let head_deadline = self.run_deadline.min(deadline_after(self.options.head_timeout));
        let mut first = Vec::new();
        while !self.begun {
            match self.script.read(head_deadline).map_err(Failure::Early)? {
                Some(block) => first = self.accept(block, start_response)?,
                None => {
                    self.end(start_response)?;
                    return Ok(Body::empty());
                }
            }
        }
        let Some(head) = &self.head else { return Ok(Body::empty()) };
        let has_body = !is_head && allows_body(status_code(&head.status));
        let written = self.sent - first.len() as u64;
        let left = head.content_length.map(|length| length.saturating_sub(written));
        let options = self.options;
        let work = Work {
            script: self.script,
            sent: self.sent,
            deadline: self.run_deadline,
            max_output: options.max_output,
            exit_timeout: options.exit_timeout,
            is_own_process: self.is_own_process,
        };
        if has_body && left != Some(0) {
            let check_exit_status = options.check_exit_status;
            return Ok(Body::try_iter(ScriptBody { work: Some(work), first, left, check_exit_status }));
        }
        work.complete();
        Ok(Body::empty())
    }

    fn step(&mut self) -> Result<Step, Failure> {
        self.script.step(self.run_deadline).map_err(|fault| self.fail(fault))
    }

    fn fail(&self, fault: Fault) -> Failure {
        if self.begun {
            Failure::Late(self.script.errors.describe(&fault).into())
        } else {
            Failure::Early(fault)
        }
    }

    /// Takes output of the script. Begins the response once the head is complete, and returns the bytes of the body.
    fn accept(&mut self, block: Vec<u8>, start_response: &mut dyn StartResponse) -> Result<Vec<u8>, Failure> {
        let block = match &self.head {
            Some(_) => block,
            None => match self.parser.push(&block).map_err(|error| Failure::Early(error.into()))? {
                Some((head, rest)) => {
                    self.head = Some(head);
                    rest
                }
                None => return Ok(Vec::new()),
            },
        };
        if !self.begun {
            if self.head.as_ref().is_some_and(|head| !head.has_content_type) {
                // RFC 3875 §6.3.1: required if there is a body, which the next bytes tell.
                if block.is_empty() {
                    return Ok(block);
                }
                return Err(Failure::Early(Fault::NoContentType));
            }
            self.begin(start_response)?;
        }
        self.sent += block.len() as u64;
        Ok(block)
    }

    /// Begins a response whose script has closed its output before the body.
    fn end(&mut self, start_response: &mut dyn StartResponse) -> Result<(), Failure> {
        let status = self.script.finish(self.options.exit_timeout);
        if self.head.is_none() {
            return Err(Failure::Early(Fault::NoHead(status)));
        }
        match status.filter(|status| !status.success() && self.options.check_exit_status) {
            Some(status) => Err(Failure::Early(Fault::Exit(status))),
            None => self.begin(start_response),
        }
    }

    fn begin(&mut self, start_response: &mut dyn StartResponse) -> Result<(), Failure> {
        let Some(head) = &self.head else { return Ok(()) };
        let fields: Vec<_> = head.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        start_response.begin(&head.status, &fields, None)?;
        self.begun = true;
        Ok(())
    }
}

/// The code of a status that `ResponseHead::start` has checked.
fn status_code(status: &str) -> u16 {
    status.get(..3).and_then(|code| code.parse().ok()).unwrap_or(200)
}

/// The work of a script after its head.
struct Work {
    script: Script,
    /// The number of bytes of the body so far.
    sent: u64,
    deadline: Instant,
    max_output: u64,
    exit_timeout: Duration,
    /// Whether this process runs this request alone.
    is_own_process: bool,
}

impl Work {
    fn read(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let block = self.script.read(self.deadline)?;
        self.sent += block.as_ref().map_or(0, |block| block.len() as u64);
        if self.sent > self.max_output {
            return Err(Fault::TooMuchOutput(self.max_output));
        }
        Ok(block)
    }

    /// Lets the script run to its end after the response is complete, and discards what it writes. A script that is
    /// still working does so beside another thread, so that neither the response nor the client waits for it; but not in
    /// the process of a single request, which ends with the response.
    fn complete(mut self) {
        self.script.forget_client();
        if self.is_own_process || self.script.has_exited() {
            return self.run_to_end();
        }
        // If there is no thread, the script is killed, since its value is dropped.
        let _ = thread::Builder::new().name("amboss-cgi".into()).spawn(move || self.run_to_end());
    }

    fn run_to_end(mut self) {
        loop {
            match self.read() {
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.script.finish(self.exit_timeout);
                    return;
                }
                Err(fault) => return self.script.errors.log(&fault.to_string()),
            }
        }
    }
}

/// The body of the response: each block as soon as the script has written it.
struct ScriptBody {
    /// `None` at the end.
    work: Option<Work>,
    /// The bytes that arrived with the head.
    first: Vec<u8>,
    /// How many bytes of the script's Content-Length are missing.
    left: Option<u64>,
    check_exit_status: bool,
}

impl ScriptBody {
    fn next_block(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(work) = &mut self.work else { return Ok(None) };
        let block = match std::mem::take(&mut self.first) {
            first if !first.is_empty() => Some(first),
            _ => work.read()?,
        };
        let Some(block) = block else { return self.end() };
        self.left = self.left.map(|left| left.saturating_sub(block.len() as u64));
        if self.left == Some(0) {
            self.work.take().into_iter().for_each(Work::complete);
        }
        Ok(Some(block))
    }

    /// Ends the response. Only the exit of the script says whether it is complete, unless it has declared a length.
    fn end(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(mut work) = self.work.take() else { return Ok(None) };
        let status = work.script.finish(work.exit_timeout);
        match status.filter(|status| !status.success() && self.check_exit_status) {
            Some(status) => {
                self.work = Some(work);
                Err(Fault::Exit(status))
            }
            None => Ok(None),
        }
    }
}

impl Iterator for ScriptBody {
    type Item = Result<Vec<u8>, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_block() {
            Ok(block) => block.map(Ok),
            Err(fault) => {
                let work = self.work.take()?;
                Some(Err(work.script.errors.describe(&fault).into()))
            }
        }
    }
}
