//! A folder under watch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use amboss_reload::{Backend, ChangeKind, Scope, ScopeOptions, Watch, WatchOptions};
use tempfile::TempDir;

pub const BACKENDS: [Backend; 2] = [Backend::Stat, Backend::Notify];

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The file that is written last.
const LAST: &str = "the-last-one";

/// What happened to which paths, relative to the place.
pub type Seen = BTreeMap<PathBuf, ChangeKind>;

/// A folder for a test, with the watched folder `root` in it.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder can be made") };
        fs::create_dir(place.root()).expect("a folder can be made");
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    pub fn scope(&self) -> ScopeOptions {
        let mut scope = ScopeOptions::default();
        scope.roots.push(self.root());
        scope
    }

    pub fn watch(&self, backend: Backend, scope: ScopeOptions) -> Watch {
        let scope = Scope::new(scope).expect("the scope is well made");
        let watch = Watch::start(scope, options(backend)).expect("it can be watched");
        assert_eq!(watch.backend(), backend);
        tick();
        watch
    }

    /// Everything reported up to the last file, which is written now.
    pub fn seen(&self, watch: &mut Watch) -> Seen {
        fs::write(self.root().join(LAST), "").expect("a file can be written");
        let last = Path::new("root").join(LAST);
        let mut seen = self.seen_until(watch, |seen| seen.contains_key(&last));
        seen.remove(&last);
        seen
    }

    /// Everything reported until that is so.
    pub fn seen_until(&self, watch: &mut Watch, enough: impl Fn(&Seen) -> bool) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Seen::new();
        while !enough(&seen) {
            assert!(Instant::now() < deadline, "only this was reported: {seen:?}");
            let Some(changes) = watch.next(Some(Duration::from_millis(100))) else { continue };
            for change in changes {
                let path = change.path.strip_prefix(self.path()).unwrap_or(&change.path).to_path_buf();
                match (seen.get(&path), change.kind) {
                    (Some(ChangeKind::Created), ChangeKind::Modified) => {}
                    (Some(ChangeKind::Created), ChangeKind::Removed) => {
                        seen.remove(&path);
                    }
                    (Some(ChangeKind::Removed), ChangeKind::Created) => {
                        seen.insert(path, ChangeKind::Modified);
                    }
                    (_, kind) => {
                        seen.insert(path, kind);
                    }
                }
            }
        }
        seen
    }
}

/// Waits until the clock of the file system has moved on: a folder that changes twice within one of its steps looks as it
/// did, until it is looked at again later.
fn tick() {
    let probe = tempfile::NamedTempFile::new().expect("a file can be made");
    let modified = || {
        fs::write(probe.path(), "1").expect("a file can be written");
        probe.path().metadata().and_then(|file| file.modified()).expect("it is there")
    };
    let first = modified();
    while modified() == first {
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn options(backend: Backend) -> WatchOptions {
    let mut options = WatchOptions::default();
    options.backend = backend;
    options.interval = Duration::from_millis(20);
    options
}

/// Writes a file, and makes the folders that it lies in.
pub fn put(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

/// Runs one test of this file again with another program around it, which gives it other rights; `AGAIN` is set then.
/// Says so and returns if that program can't do it here.
pub fn again(test: &str, around: &[&str], environment: &[(&str, &str)]) {
    let this = std::env::current_exe().expect("a test knows its program");
    // Whoever it is there may not get at this program.
    let mut works = Command::new(around[0]);
    works.args(&around[1..]).arg(&this).arg("--list").stdout(Stdio::null()).stderr(Stdio::null());
    if !works.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: {} is not possible here", around.join(" "));
        return;
    }
    let output = Command::new(around[0])
        .args(&around[1..])
        .arg(this)
        .args(["--exact", test, "--nocapture"])
        .env("AGAIN", "1")
        .envs(environment.iter().copied())
        .output()
        .expect("it has just run");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

pub fn is_again() -> bool {
    std::env::var_os("AGAIN").is_some()
}
