//! The command as a library: what a runner that has Python in it is told, what is started again under a supervisor, and
//! that nothing ends the process but the process itself.

use std::ffi::OsString;
use std::time::Duration;

use amboss::command::{run, Runner, Signals, Told};
use amboss::{RunError, ServeError, Server, Worker};

/// Keeps what it is told, and fails as it is told to.
#[derive(Default)]
struct Fake {
    target: Option<String>,
    told: Option<Told>,
    fails: Option<RunError>,
    itself: Option<Vec<OsString>>,
    steps: Vec<&'static str>,
}

impl Runner for Fake {
    fn serve(&mut self, target: &str, told: Told) -> Result<(), RunError> {
        self.target = Some(target.to_owned());
        self.told = Some(told);
        self.fails.take().map_or(Ok(()), Err)
    }

    fn started(&mut self, server: &Server, _: &Worker, signals: Signals) -> Result<(), RunError> {
        assert!(signals.quiet && signals.reopen_logs.is_none());
        self.steps.push("started");
        server.shutdown_handle().shutdown();
        Ok(())
    }

    fn wait(&mut self, mut server: Server) -> Result<(), ServeError> {
        self.steps.push("wait");
        server.serve_forever()
    }

    fn itself(&self) -> Option<Vec<OsString>> {
        self.itself.clone()
    }
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

fn told(line: &str) -> Told {
    let mut runner = Fake { itself: Some(words("/usr/bin/python -m amboss")), ..Fake::default() };
    assert_eq!(run(words(&format!("__main__.py {line}")), &mut runner), 0, "{line}");
    runner.told.unwrap_or_else(|| panic!("{line}: nothing was told"))
}

#[test]
fn a_runner_is_told_what_the_command_line_says() {
    let plain = told("shop:app");
    assert_eq!(plain.options.settings.threads, 16);
    assert_eq!(plain.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:5000"]);
    assert_eq!((plain.timeout, plain.max_requests, plain.max_requests_jitter, plain.preload), (None, None, 0, false));
    assert!(plain.options.next_free_port && plain.options.from_systemd && plain.options.threaded.is_none());
    assert_eq!(plain.options.settings.timeouts.shutdown, Duration::from_secs(10));
    assert!(!plain.options.supervised && !plain.options.use_reloader && !plain.options.watch_reported);

    let line = "-b localhost:0 -b unix:///tmp/shop.sock --threads 3 --timeout 2.5 --max-requests 100 shop:app \
                --graceful-timeout 1.5 \
                --max-requests-jitter 20 -w 4 --preload -q";
    let full = told(line);
    assert_eq!(
        full.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["localhost:0", "unix:///tmp/shop.sock"]
    );
    assert_eq!(full.options.settings.threads, 3);
    assert_eq!(full.options.settings.timeouts.shutdown, Duration::from_millis(1500));
    assert_eq!(full.timeout, Some(Duration::from_millis(2500)));
    assert_eq!((full.max_requests, full.max_requests_jitter, full.preload), (Some(100), 20, true));
    assert!(full.options.supervised && full.options.quiet && full.options.workers == 4);
    assert_eq!(full.arguments, words(line));

    assert_eq!(told("--single shop:app").options.threaded, Some(false));
    let reloading = told("shop:app -r");
    assert!(reloading.options.watch_reported && !reloading.options.supervised);
    for flag in ["--timeout 1", "--max-requests 1", "--preload"] {
        assert!(told(&format!("shop:app {flag}")).options.supervised, "{flag}");
    }
}

#[test]
fn under_a_supervisor_the_interpreter_is_started_again() {
    let options = told("-r shop:app --live").options;
    assert_eq!(options.again, Some(words("/usr/bin/python -m amboss -r shop:app --live")));
    assert_eq!(options.page, Some(words("/usr/bin/python -m amboss __page -r shop:app --live")));
    assert_eq!(options.shim, None, "it would be a second start of the interpreter");
}

#[test]
fn exit_codes_are_returned() {
    let mut runner = Fake::default();
    for (line, code) in [("--help", 0), ("-h", 0), ("--version", 0), ("--nonsense", 2), ("app --processes 2", 2)] {
        assert_eq!(run(words(&format!("amboss {line}")), &mut runner), code, "{line}");
    }
    for (error, code) in [
        (RunError::Exit(130), 130),
        (RunError::Exit(0), 0),
        (RunError::Exit(1000), 1),
        (RunError::Options("they contradict each other"), 2),
        (RunError::Reload("it can't be watched".into()), 2),
        (std::io::Error::other("out of luck").into(), 1),
    ] {
        let shown = error.to_string();
        let mut runner = Fake { fails: Some(error), ..Fake::default() };
        assert_eq!(run(words("amboss shop:app"), &mut runner), code, "{shown}");
        assert_eq!(runner.target.as_deref(), Some("shop:app"));
    }
}

#[test]
fn the_test_application_waits_as_its_runner_does() {
    let mut runner = Fake::default();
    assert_eq!(run(words("amboss -p 0 -qq"), &mut runner), 0);
    assert_eq!(runner.steps, ["started", "wait"]);
    let mut runner = Fake { itself: Some(words("python -m amboss")), ..Fake::default() };
    assert_eq!(run(words("amboss __page"), &mut runner), 2, "there is no supervisor");
    assert!(runner.told.is_none());
}
