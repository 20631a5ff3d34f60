//! What the HUP signal does in a process that serves without a supervisor: it reopens the log, reloads the certificate,
//! and logs that the code stays as it is. Only a supervisor can replace the code.
//!
//! The system also sends HUP when the terminal of a process is closed. Then the server stops, as other programs do.

use std::io::IsTerminal;
use std::sync::Arc;

use crate::config::log_file::ReopenLogs;
use crate::{Log, RunOptions};

/// The action for HUP in a process without a supervisor.
#[derive(Clone)]
pub struct HangUp {
    reopen_logs: Option<ReopenLogs>,
    #[cfg(feature = "tls")]
    ssl_context: Option<crate::SslContext>,
    log: Arc<dyn Log>,
    /// The advice in the log: what to do so that HUP reloads the code.
    advice: &'static str,
    /// Whether stdin, stdout and stderr were terminals at the start.
    terminals: [bool; 3],
}

impl HangUp {
    /// Reads from the options what can be reopened. `advice` says how to have HUP reload the code.
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

    /// Handles one HUP. Returns whether the server should continue; false if its terminal was closed.
    pub fn received(&self) -> bool {
        // isatty(3) is false for a terminal that was closed.
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
            Some(Ok(_)) => done.push("the certificate was reloaded"),
            Some(Err(error)) => {
                self.log.error(&format!("{error} (until then, the previous certificate stays in use)"));
                // If there are several certificates, the others were reloaded.
                done.push("a certificate was not reloaded");
            }
            None => {}
        }
        if done.is_empty() {
            done.push("nothing was reloaded");
        }
        let (done, advice) = (done.join(" and "), self.advice);
        self.log.error(&format!(
            "HUP: {done}; the code stays as it is, because no supervisor is running. To reload the code on HUP, \
             {advice}."
        ));
        true
    }
}

fn terminals() -> [bool; 3] {
    [std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal()]
}
