//! Cargo projects, with the real cargo: what is watched, a build that succeeds, one that fails, one that is stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use amboss_reload::{error_page, Backend, CargoErrorKind, CargoProject, Outcome, Scope, Watch, WatchOptions};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

fn put(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}\n")
}

/// A package with one program.
fn package() -> TempDir {
    let place = tempfile::tempdir().expect("a folder");
    put(place.path().join("Cargo.toml"), &manifest("app", "[features]\nloud = []\n[workspace]"));
    put(place.path().join("src/main.rs"), "fn main() { println!(\"{}\", cfg!(feature = \"loud\")); }\n");
    place
}

/// Builds into the place's own folder, wherever the tests themselves are built.
fn build(place: &TempDir, arguments: &[&str]) -> Outcome {
    let project = CargoProject::find(&place.path().join("src")).expect("there is a project");
    let target = place.path().join("target").display().to_string();
    let arguments = ["--offline", "--target-dir", &target].into_iter().chain(arguments.iter().copied());
    project.build(arguments).expect("cargo runs").wait().expect("it ends")
}

#[test]
fn a_build_says_where_the_program_is() {
    let place = package();
    for (arguments, profile, says) in
        [(&[][..], "debug", "false\n"), (&["--release", "--features", "loud", "--bin", "app"][..], "release", "true\n")]
    {
        let Outcome::Built(built) = build(&place, arguments) else { panic!("it can be built") };
        let executable = built.executable().expect("there is one");
        assert_eq!(executable.path, place.path().join("target").join(profile).join("app"));
        assert!(!executable.fresh);
        let output = Command::new(&executable.path).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), says);
    }
    let Outcome::Built(built) = build(&place, &[]) else { panic!("it can be built") };
    assert!(built.executable().expect("there is one").fresh);
}

#[test]
fn a_build_that_fails_has_the_error_in_colour() {
    let place = package();
    put(place.path().join("src/main.rs"), "fn main() { let x: Vec<i32> = \"no\"; }\n");
    let Outcome::Failed(output) = build(&place, &[]) else { panic!("it can't be built") };
    assert!(output.contains("mismatched types") && output.contains("\x1b["), "{output}");
    let page = error_page("It can't be built", &output, None);
    assert!(page.contains("Vec&lt;i32&gt;") && page.contains("<span class=\"b c") && !page.contains('\x1b'), "{page}");
}

#[test]
fn several_programs_need_a_choice() {
    let place = package();
    put(place.path().join("src/bin/other.rs"), "fn main() {}\n");
    let Outcome::Built(built) = build(&place, &[]) else { panic!("it can be built") };
    let error = built.executable().expect_err("there are two");
    assert_eq!(error.kind(), CargoErrorKind::Ambiguous);
    assert!(error.to_string().contains("app") && error.to_string().contains("other"), "{error}");
    let Outcome::Built(built) = build(&place, &["--bin", "other"]) else { panic!("it can be built") };
    assert_eq!(built.executable().expect("it was named").name, "other");
    put(place.path().join("Cargo.toml"), &manifest("app", "default-run = \"other\"\n[workspace]"));
    let Outcome::Built(built) = build(&place, &[]) else { panic!("it can be built") };
    assert_eq!(built.executable().expect("the manifest says").name, "other");
}

/// A package whose build script says its number and then takes for ever, deaf to SIGTERM.
fn endless() -> TempDir {
    let place = package();
    put(
        place.path().join("build.rs"),
        "fn main() {\n    let script = \"trap '' TERM; echo $$ > pid.new; mv pid.new pid; while :; do sleep 0.05; done\";\n    \
         std::process::Command::new(\"sh\").args([\"-c\", script]).status().unwrap();\n}\n",
    );
    place
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_running(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !matches!(state.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z' | 'X'))
}

#[test]
fn a_build_can_be_stopped_with_all_that_it_started() {
    for drops in [false, true] {
        let place = endless();
        let project = CargoProject::find(place.path()).expect("there is a project");
        let target = place.path().join("target").display().to_string();
        let build = project.build(["--offline", "--target-dir", &target]).expect("cargo runs");
        let pid = wait_for("the build script runs", || fs::read_to_string(place.path().join("pid")).ok());
        let pid = pid.trim();
        assert!(is_running(pid) || !Path::new("/proc/self/stat").exists());
        if drops {
            drop(build);
        } else {
            let canceller = build.canceller();
            let waiting = std::thread::spawn(move || build.wait());
            canceller.cancel();
            let outcome = waiting.join().expect("it does not panic").expect("it ends");
            assert!(matches!(outcome, Outcome::Cancelled), "{outcome:?}");
            canceller.cancel();
        }
        wait_for("the build script ends", || (!is_running(pid)).then_some(()));
    }
}

#[test]
fn the_scope_is_every_package_that_the_project_is_made_of() {
    let place = tempfile::tempdir().expect("a folder");
    let at = |path: &str| place.path().join(path);
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
    let project = CargoProject::find(&at("ws/app/src")).expect("there is a project");
    assert_eq!(project.folder(), at("ws/app"));
    let packages: Vec<&Path> = project.packages().collect();
    assert_eq!(packages, [at("further"), at("outside"), at("ws/app"), at("ws/lib")]);

    let mut options = WatchOptions::default();
    options.backend = Backend::Stat;
    options.interval = Duration::from_millis(20);
    let mut watch = Watch::start(Scope::new(project.scope()).expect("a scope"), options).expect("a watch");
    let counts =
        ["further/src/lib.rs", "ws/Cargo.lock", "ws/app/build.rs", "ws/app/templates/a.html", "ws/lib/src/lib.rs"];
    for path in ["ws/app/a.log", "ws/README.md", "ws/target/debug/app", "ws/lib/target/x"].iter().chain(&counts) {
        put(at(path), "// changed\n");
    }
    let mut seen: Vec<PathBuf> = Vec::new();
    wait_for("all are seen", || {
        let changes = watch.next(Some(Duration::from_millis(100)));
        seen.extend(changes.into_iter().flatten().map(|change| change.path));
        (counts.iter().all(|path| seen.contains(&at(path)))).then_some(())
    });
    seen.sort();
    seen.dedup();
    assert_eq!(seen, counts.map(at));
}

#[test]
fn a_build_folder_of_any_name_is_not_watched() {
    let place = package();
    put(place.path().join(".cargo/config.toml"), "[build]\ntarget-dir = \"out\"\n");
    put(place.path().join("out/debug/app"), "");
    let project = CargoProject::find(place.path()).expect("there is a project");
    let ignored = project.scope().ignored_folders;
    // The variable is stronger than the configuration.
    let expected = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| place.path().join("out"), PathBuf::from);
    assert_eq!(ignored, [expected]);
}

#[test]
fn what_cant_be_found_is_a_sentence() {
    let place = tempfile::tempdir().expect("a folder");
    let error = CargoProject::find(place.path()).expect_err("there is nothing");
    assert_eq!(error.kind(), CargoErrorKind::NoManifest);
    assert!(error.to_string().starts_with("There is no Cargo.toml in '"), "{error}");
    put(place.path().join("Cargo.toml"), "[package\n");
    let error = CargoProject::find(place.path()).expect_err("it is broken");
    assert_eq!(error.kind(), CargoErrorKind::Refused);
    assert!(error.to_string().contains("; mend it:\n"), "{error}");
}
