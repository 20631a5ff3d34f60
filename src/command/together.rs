//! Which flags go together; what doesn't is refused with a sentence.

use clap::error::ErrorKind;
use clap::CommandFactory;

use super::cli::Cli;

impl Cli {
    /// # Errors
    /// What contradicts itself, or would have no effect.
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        match self.contradiction() {
            Some(sentence) => Err(Cli::command().error(ErrorKind::ArgumentConflict, sentence)),
            None => Ok(()),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let concurrency = [self.processes.is_some(), self.threads.is_some(), self.single];
        if concurrency.iter().filter(|&&given| given).count() > 1 {
            let sentence = if self.single {
                "--single is one request at a time; leave out --threads and --processes"
            } else {
                "Cannot have a multi-thread and multi-process server."
            };
            return Some(sentence.into());
        }
        if self.target.is_some() {
            return self.contradiction_with_app();
        }
        if let Some(flag) = self.app.given() {
            return Some(format!("{flag} is for a Python application; name one, as in amboss shop:app"));
        }
        #[cfg(all(unix, feature = "reload"))]
        return self.contradiction_with_program();
        #[cfg(not(all(unix, feature = "reload")))]
        None
    }

    fn contradiction_with_app(&self) -> Option<String> {
        #[cfg(all(unix, feature = "reload"))]
        {
            if !self.program.is_empty() {
                return Some("APP and PROGRAM can't both be served; leave out one of them".into());
            }
            if let Some(flag) = self.reload.given() {
                return Some(format!("{flag} is for a PROGRAM, not for APP; leave it out"));
            }
            if self.app.is_preloading() && self.reload.is_reloading() {
                return Some(
                    "--preload forks workers from code that was imported once, so --reload would serve old code; \
                     leave out one of them"
                        .into(),
                );
            }
        }
        if self.processes.is_some() {
            return Some("--processes would fork the interpreter for each request; use --workers N instead".into());
        }
        None
    }

    #[cfg(all(unix, feature = "reload"))]
    fn contradiction_with_program(&self) -> Option<String> {
        if self.program.is_empty() {
            return self.reload.given().map(|flag| format!("{flag} is for a PROGRAM; name one at the end, behind --"));
        }
        let flag = self.of_its_own_server()?;
        Some(format!("{flag} is for amboss's own server; leave it out, and tell PROGRAM itself how to serve"))
    }

    /// A flag that would have no effect on another program's server.
    #[cfg(all(unix, feature = "reload"))]
    fn of_its_own_server(&self) -> Option<&'static str> {
        #[cfg(feature = "tls")]
        let of_tls = self.tls.given();
        #[cfg(not(feature = "tls"))]
        let of_tls: [(bool, &'static str); 0] = [];
        // With them the page that stands in for the program is served as the program is.
        let of_tls = of_tls.into_iter().filter(|_| !self.reload.is_watching_reported());
        let flags = [
            (self.processes.is_some(), "--processes"),
            (self.threads.is_some(), "--threads"),
            (self.single, "--single"),
            (self.body_mode.is_some(), "--body-mode"),
            (self.body_directory.is_some(), "--body-directory"),
            (self.log_format.is_some(), "--log-format"),
            (self.log_file.is_some(), "--log-file"),
        ];
        flags.into_iter().chain(of_tls).find(|(given, _)| *given).map(|(_, flag)| flag)
    }
}
