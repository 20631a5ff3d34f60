//! The command as a library: which settings a runner gets, which command lines a supervisor runs, and that the command
//! returns its exit code instead of ending the process.

use std::ffi::OsString;
use std::time::Duration;

use amboss::cli::{run, AppConfig, Runner, Signals};
use amboss::{RunError, RunErrorKind, ServeError, Server, Worker};

/// A runner that records its settings, and fails on request.
#[derive(Default)]
struct Fake {
    target: Option<String>,
    config: Option<AppConfig>,
    fails: Option<RunError>,
    respawn_argv: Option<Vec<OsString>>,
    steps: Vec<&'static str>,
}

impl Runner for Fake {
    fn serve(&mut self, target: Option<&str>, config: AppConfig) -> Result<(), RunError> {
        self.target = target.map(str::to_owned);
        self.config = Some(config);
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

    fn respawn_argv(&self, _: bool) -> Option<Vec<OsString>> {
        self.respawn_argv.clone()
    }
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

/// Returns the settings that a command line gives to a runner.
fn config_of(line: &str) -> AppConfig {
    let mut runner = Fake { respawn_argv: Some(words("/usr/bin/python -m amboss")), ..Fake::default() };
    assert_eq!(run(words(&format!("__main__.py {line}")), &mut runner), 0, "{line}");
    runner.config.unwrap_or_else(|| panic!("{line}: the runner was not called"))
}

#[test]
fn a_runner_gets_the_settings_of_the_command_line() {
    let plain = config_of("shop:app");
    assert_eq!(plain.options.settings.runtime.threads, 16);
    assert_eq!(plain.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:5000"]);
    assert_eq!((plain.timeout, plain.max_requests, plain.max_requests_jitter, plain.preload), (None, None, 0, false));
    assert!(plain.options.next_free_port && plain.options.from_systemd && plain.options.threaded.is_none());
    assert_eq!(plain.options.settings.timeouts.shutdown, Duration::from_secs(10));
    assert!(!plain.plan.supervised && !plain.options.use_reloader && !plain.plan.watch_reported);

    let line = "-b localhost:0 -b unix:///tmp/shop.sock --threads 3 --timeout 2.5 --max-requests 100 shop:app \
                --graceful-timeout 1.5 \
                --max-requests-jitter 20 -w 4 --preload -q";
    let full = config_of(line);
    assert_eq!(
        full.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["localhost:0", "unix:///tmp/shop.sock"]
    );
    assert_eq!(full.options.settings.runtime.threads, 3);
    assert_eq!(full.options.settings.timeouts.shutdown, Duration::from_millis(1500));
    assert_eq!(full.timeout, Some(Duration::from_millis(2500)));
    assert_eq!((full.max_requests, full.max_requests_jitter, full.preload), (Some(100), 20, true));
    assert!(full.plan.supervised && full.options.quiet && full.options.workers == 4);
    let arguments = "--no-config --bind=localhost:0 --bind=unix:///tmp/shop.sock --threads=3 --quiet --timeout=2.5 \
                     --max-requests=100 --max-requests-jitter=20 --preload --workers=4 --graceful-timeout=1.5 shop:app";
    assert_eq!(full.arguments, words(arguments));

    // Other tests show the effect of the other limits.
    let settings = config_of("shop:app --limit-unsent 1K --forwarded-allow-ips 10.0.0.1").options.settings;
    assert_eq!(settings.limits.unsent, 1024);

    assert_eq!(config_of("--single shop:app").options.threaded, Some(false));
    let reloading = config_of("shop:app -r");
    assert!(reloading.plan.watch_reported && !reloading.plan.supervised);
    for flag in ["--timeout 1", "--max-requests 1", "--preload"] {
        assert!(config_of(&format!("shop:app {flag}")).plan.supervised, "{flag}");
    }
}

#[test]
fn a_supervisor_starts_the_interpreter_again() {
    let plan = config_of("-r shop:app --live").plan;
    assert_eq!(plan.respawn_command, Some(words("/usr/bin/python -m amboss --no-config --live --reload shop:app")));
    assert_eq!(
        plan.error_page_command,
        Some(words("/usr/bin/python -m amboss __page --no-config --live --reload shop:app"))
    );
    assert_eq!(plan.exec_wrapper, None, "the wrapper would start the interpreter twice");
}

#[test]
fn exit_codes_are_returned() {
    let mut runner = Fake::default();
    for (line, code) in [("--help", 0), ("-h", 0), ("--version", 0), ("--nonsense", 2), ("app --processes 2", 2)] {
        assert_eq!(run(words(&format!("amboss {line}")), &mut runner), code, "{line}");
    }
    for (error, code) in [
        (RunError::from(RunErrorKind::Exit(130)), 130),
        (RunErrorKind::Exit(0).into(), 0),
        (RunErrorKind::Exit(1000).into(), 1),
        (RunErrorKind::Options("the options contradict each other".into()).into(), 2),
        (RunErrorKind::Reload("the files can't be watched".into()).into(), 2),
        (std::io::Error::other("another error").into(), 1),
    ] {
        let shown = error.to_string();
        let mut runner = Fake { fails: Some(error), ..Fake::default() };
        assert_eq!(run(words("amboss shop:app"), &mut runner), code, "{shown}");
        assert_eq!(runner.target.as_deref(), Some("shop:app"));
    }
}

#[test]
fn the_runner_serves_the_development_application() {
    let mut runner = Fake::default();
    assert_eq!(run(words("amboss -p 0 -qq"), &mut runner), 0);
    assert_eq!(runner.steps, ["started", "wait"]);
    let mut runner = Fake { respawn_argv: Some(words("python -m amboss")), ..Fake::default() };
    assert_eq!(run(words("amboss __page"), &mut runner), 2, "no supervisor has started this process");
    assert!(runner.config.is_none());
}
