//! Cargo projects with the real cargo: what is watched, and builds that succeed, fail and are stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use amboss_reload::{Backend, BuildOutcome, CargoErrorKind, CargoProject, Scope, Watch, WatchOptions};
use amboss_testkit::{is_alive, poll_until, wait_until, TempDir};

/// How long a test waits for a build: longer than one takes on a busy machine.
const BUILD_TIMEOUT: Duration = Duration::from_secs(120);

/// Writes a file in place, and creates its folders. With `amboss_testkit::write_atomically`, a watch would see a rename
/// as well.
fn put(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("the path has a parent")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}\n")
}

/// A package with one executable.
fn package() -> TempDir {
    let place = TempDir::new("build");
    put(place.join("Cargo.toml"), &manifest("app", "[features]\nloud = []\n[workspace]"));
    put(place.join("src/main.rs"), "fn main() { println!(\"{}\", cfg!(feature = \"loud\")); }\n");
    place
}

/// Builds into the package's own target folder, wherever the tests themselves are built.
fn build(place: &TempDir, arguments: &[&str]) -> BuildOutcome {
    let project = CargoProject::find(&place.join("src")).expect("the project is found");
    let target = place.join("target").display().to_string();
    let arguments = ["--offline", "--target-dir", &target].into_iter().chain(arguments.iter().copied());
    project.build(arguments).expect("cargo can be run").wait().expect("the build ends")
}

#[test]
fn a_build_returns_the_path_of_the_executable() {
    let place = package();
    for (arguments, profile, says) in
        [(&[][..], "debug", "false\n"), (&["--release", "--features", "loud", "--bin", "app"][..], "release", "true\n")]
    {
        let BuildOutcome::Built(executables) = build(&place, arguments) else { panic!("the build fails") };
        let [executable] = &executables[..] else { panic!("{executables:?}") };
        assert_eq!(executable.name, "app");
        assert_eq!(executable.path, place.join("target").join(profile).join("app"));
        let output = Command::new(&executable.path).output().expect("the program runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), says);
    }
    let BuildOutcome::Built(executables) = build(&place, &[]) else { panic!("the build fails") };
    assert_eq!(executables.len(), 1, "an executable that is up to date is returned, too");
}

#[test]
fn a_failed_build_returns_the_error_in_colour() {
    let place = package();
    put(place.join("src/main.rs"), "fn main() { let x: Vec<i32> = \"no\"; }\n");
    let BuildOutcome::Failed(output) = build(&place, &[]) else { panic!("the build succeeds") };
    assert!(output.contains("mismatched types") && output.contains("\x1b["), "{output}");
}

/// A package whose build script writes its process id, ignores SIGTERM and never ends.
fn endless() -> TempDir {
    let place = package();
    put(
        place.join("build.rs"),
        "fn main() {\n    let script = \"trap '' TERM; echo $$ > pid.new; mv pid.new pid; while :; do sleep 0.05; done\";\n    \
         std::process::Command::new(\"sh\").args([\"-c\", script]).status().unwrap();\n}\n",
    );
    place
}

#[test]
fn stopping_a_build_stops_everything_that_it_started() {
    for drops in [false, true] {
        let place = endless();
        let project = CargoProject::find(place.path()).expect("the project is found");
        let target = place.join("target").display().to_string();
        let build = project.build(["--offline", "--target-dir", &target]).expect("cargo can be run");
        let read_pid = || fs::read_to_string(place.join("pid")).ok();
        let pid = poll_until(BUILD_TIMEOUT, read_pid, || "waiting until the build script runs".into());
        let pid = pid.trim().parse().expect("a process id");
        assert!(is_alive(pid));
        if drops {
            drop(build);
        } else {
            let canceller = build.canceller();
            let waiting = std::thread::spawn(move || build.wait());
            canceller.cancel();
            let outcome = waiting.join().expect("the thread does not panic").expect("the build ends");
            assert!(matches!(outcome, BuildOutcome::Cancelled), "{outcome:?}");
            canceller.cancel();
        }
        wait_until("the build script has ended", || !is_alive(pid));
    }
}

#[test]
fn the_scope_contains_every_package_and_path_dependency() {
    let place = TempDir::new("build");
    let at = |path: &str| place.join(path);
    put(at("ws/Cargo.toml"), "[workspace]\nmembers = [\"app\", \"lib\"]\nresolver = \"2\"\n");
    put(at("ws/.git/HEAD"), "");
    put(at("ws/.gitignore"), "Cargo.lock\n*.log\n");
    put(
        at("ws/app/Cargo.toml"),
        &manifest("app", "[dependencies]\nlib = { path = \"../lib\" }\noutside = { path = \"../../outside\" }"),
    );
    put(at("ws/app/src/main.rs"), "fn main() {}\n");
    put(at("ws/lib/Cargo.toml"), &manifest("lib", ""));
    put(at("ws/lib/src/lib.rs"), "");
    put(at("outside/Cargo.toml"), &manifest("outside", "[dependencies]\nfurther = { path = \"../further\" }"));
    put(at("outside/src/lib.rs"), "");
    put(at("further/Cargo.toml"), &manifest("further", ""));
    put(at("further/src/lib.rs"), "");
    let project = CargoProject::find(&at("ws/app/src")).expect("the project is found");
    assert_eq!(project.scope().roots, [at("further"), at("outside"), at("ws/app"), at("ws/lib")]);

    let mut options = WatchOptions::default();
    options.backend = Backend::Stat;
    options.poll_interval = Duration::from_millis(20);
    let mut watch = Watch::start(Scope::new(project.scope()).expect("a scope"), options).expect("a watch");
    let counts =
        ["further/src/lib.rs", "ws/Cargo.lock", "ws/app/build.rs", "ws/app/templates/a.html", "ws/lib/src/lib.rs"];
    for path in ["ws/app/a.log", "ws/README.md", "ws/target/debug/app", "ws/lib/target/x"].iter().chain(&counts) {
        put(at(path), "// changed\n");
    }
    let mut reported: Vec<PathBuf> = Vec::new();
    wait_until("all changes are reported", || {
        let changes = watch.next(Some(Duration::from_millis(100)));
        reported.extend(changes.into_iter().flatten().map(|change| change.path));
        counts.iter().all(|path| reported.contains(&at(path)))
    });
    reported.sort();
    reported.dedup();
    assert_eq!(reported, counts.map(at));
}

#[test]
fn a_target_folder_with_another_name_is_not_watched() {
    let place = package();
    put(place.join(".cargo/config.toml"), "[build]\ntarget-dir = \"out\"\n");
    put(place.join("out/debug/app"), "");
    let project = CargoProject::find(place.path()).expect("the project is found");
    let ignored = project.scope().ignored_folders;
    // The environment variable overrides the configuration.
    let expected = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| place.join("out"), PathBuf::from);
    assert_eq!(ignored, [expected]);
}

#[test]
fn the_errors_of_a_project_say_what_to_do() {
    let place = TempDir::new("build");
    let error = CargoProject::find(place.path()).expect_err("there is no manifest");
    assert_eq!(error.kind(), CargoErrorKind::NoManifest);
    assert!(error.to_string().starts_with("There is no Cargo.toml in '"), "{error}");
    put(place.join("Cargo.toml"), "[package\n");
    let error = CargoProject::find(place.path()).expect_err("the manifest is invalid");
    assert_eq!(error.kind(), CargoErrorKind::InvalidManifest);
    assert!(error.to_string().contains("; fix it:\n"), "{error}");
}
