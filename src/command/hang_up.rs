//! What HUP does in a process that serves without a supervisor: it reopens the log, reads the certificate again, and
//! says that the code stays as it is. Only a supervisor can replace the code.
//!
//! The system also sends HUP when the terminal of a process is closed. That ends the server, as it ends other programs.

use std::io::IsTerminal;
use std::sync::Arc;

use super::ReopenLogs;
use crate::{Log, RunOptions};

/// Answers HUP in a process without a supervisor.
#[derive(Clone)]
pub struct HangUp {
    reopen_logs: Option<ReopenLogs>,
    #[cfg(feature = "tls")]
    ssl_context: Option<crate::SslContext>,
    log: Arc<dyn Log>,
    /// How to have the code replaced on HUP.
    advice: &'static str,
    /// Which of stdin, stdout and stderr were terminals at the start.
    terminals: [bool; 3],
}

impl HangUp {
    /// Reads from the options what there is to reopen. `advice` says how to have the code replaced on HUP.
    pub fn new(options: &RunOptions, advice: &'static str) -> HangUp {
        HangUp {
            reopen_logs: options.reopen_logs.clone(),
            #[cfg(feature = "tls")]
            ssl_context: options.ssl_context.clone(),
            log: options.settings.log.clone(),
            advice,
            terminals: terminals(),
        }
    }

    /// Does what HUP asks for. Returns whether the server goes on: not when its terminal was closed.
    pub fn received(&self) -> bool {
        // A terminal that was closed is none for isatty(3) any more.
        if self.terminals.iter().zip(terminals()).any(|(&was, is)| was && !is) {
            return false;
        }
        let mut done = Vec::new();
        if let Some(reopen_logs) = &self.reopen_logs {
            reopen_logs();
            done.push("the log was reopened");
        }
        #[cfg(feature = "tls")]
        match self.ssl_context.as_ref().map(crate::SslContext::reload) {
            Some(Ok(_)) => done.push("the certificate was read again"),
            Some(Err(error)) => {
                self.log.error(&format!("{error} (until then, the certificate of before stays in use)"));
            }
            None => {}
        }
        if done.is_empty() {
            done.push("nothing was read again");
        }
        let (done, advice) = (done.join(" and "), self.advice);
        self.log.error(&format!(
            "HUP: {done}; the code stays as it is, since no supervisor runs. To have HUP reload the code, {advice}."
        ));
        true
    }
}

fn terminals() -> [bool; 3] {
    [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()]
}
