//! The watched folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use amboss_reload::{Backend, ChangeKind, Scope, ScopeOptions, Watch, WatchOptions};
use amboss_testkit::{skip, TempDir};

pub const BACKENDS: [Backend; 2] = [Backend::Stat, Backend::Notify];

/// How long a test waits for a report: longer than anything takes on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The file that is written last, which marks the end of the expected changes.
const SENTINEL: &str = "the-last-one";

/// The reported changes by path, relative to the test's folder.
pub type Reported = BTreeMap<PathBuf, ChangeKind>;

/// A folder for a test, with the watched folder `root` in it.
pub struct TestFolder {
    temp: TempDir,
}

impl TestFolder {
    pub fn new() -> TestFolder {
        let folder = TestFolder { temp: TempDir::new("watch") };
        fs::create_dir(folder.root()).expect("a folder can be made");
        folder
    }

    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    pub fn root(&self) -> PathBuf {
        self.temp.join("root")
    }

    pub fn scope(&self) -> ScopeOptions {
        let mut scope = ScopeOptions::default();
        scope.roots.push(self.root());
        scope
    }

    pub fn watch(&self, backend: Backend, scope: ScopeOptions) -> Watch {
        let scope = Scope::new(scope).expect("the scope is valid");
        let watch = Watch::start(scope, options(backend)).expect("the watch starts");
        assert_eq!(watch.backend(), backend);
        tick();
        watch
    }

    /// Writes the last file, and returns everything that is reported before it.
    pub fn reported(&self, watch: &mut Watch) -> Reported {
        fs::write(self.root().join(SENTINEL), "").expect("a file can be written");
        let last = Path::new("root").join(SENTINEL);
        let mut reported = self.reported_until(watch, |reported| reported.contains_key(&last));
        reported.remove(&last);
        reported
    }

    /// Collects reports until `enough` holds.
    pub fn reported_until(&self, watch: &mut Watch, enough: impl Fn(&Reported) -> bool) -> Reported {
        // `watch.next` waits, so this loop needs no `wait_until`, which would sleep between two looks.
        let deadline = Instant::now() + TIMEOUT;
        let mut reported = Reported::new();
        while !enough(&reported) {
            assert!(Instant::now() < deadline, "only this was reported: {reported:?}");
            let Some(changes) = watch.next(Some(Duration::from_millis(100))) else { continue };
            for change in changes {
                let path = change.path.strip_prefix(self.path()).unwrap_or(&change.path).to_path_buf();
                match (reported.get(&path), change.kind) {
                    (Some(ChangeKind::Created), ChangeKind::Modified) => {}
                    (Some(ChangeKind::Created), ChangeKind::Removed) => {
                        reported.remove(&path);
                    }
                    (Some(ChangeKind::Removed), ChangeKind::Created) => {
                        reported.insert(path, ChangeKind::Modified);
                    }
                    (_, kind) => {
                        reported.insert(path, kind);
                    }
                }
            }
        }
        reported
    }
}

/// Waits until the clock of the file system has advanced. A folder that changes twice within one tick of this clock
/// looks unchanged until a later check.
fn tick() {
    let probe = tempfile::NamedTempFile::new().expect("a file can be made");
    let modified = || {
        fs::write(probe.path(), "1").expect("a file can be written");
        probe.path().metadata().and_then(|file| file.modified()).expect("the file exists")
    };
    let first = modified();
    while modified() == first {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn options(backend: Backend) -> WatchOptions {
    let mut options = WatchOptions::default();
    options.backend = backend;
    options.poll_interval = Duration::from_millis(20);
    options
}

/// Writes a file, and creates its folders.
pub fn put(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("the path has a parent")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

/// Runs one test of this binary again under another program, which changes its permissions or limits; the variable
/// `AMBOSS_TEST_RERUN` is set then. Prints a message and returns if that program does not work here.
pub fn rerun(test: &str, wrapper: &[&str], environment: &[(&str, &str)]) {
    let this = std::env::current_exe().expect("the path of the test binary");
    // The other user may not be allowed to execute this binary.
    let mut works = Command::new(wrapper[0]);
    works.args(&wrapper[1..]).arg(&this).arg("--list").stdout(Stdio::null()).stderr(Stdio::null());
    if !works.status().is_ok_and(|status| status.success()) {
        return skip(&format!("{} is not possible here", wrapper.join(" ")));
    }
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(this)
        .args(["--exact", test, "--nocapture"])
        .env("AMBOSS_TEST_RERUN", "1")
        .envs(environment.iter().copied())
        .output()
        .expect("the program has just run");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

pub fn is_rerun() -> bool {
    std::env::var_os("AMBOSS_TEST_RERUN").is_some()
}
