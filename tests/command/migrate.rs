//! `amboss migrate`: the files that it prints, and flags of gunicorn on amboss's own command line.

use std::process::Command;

use amboss_testkit::{is_installed, TempDir};

use crate::{amboss, fails};

/// Runs `amboss migrate` in a directory; returns what it prints.
#[track_caller]
fn migrate(dir: &TempDir, arguments: &[&str]) -> String {
    let mut command = amboss(&[&["migrate"], arguments].concat());
    let output = command.current_dir(dir.path()).output().expect("the command runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the lines of a file that are settings or begin tables.
fn settings(toml: &str) -> Vec<&str> {
    toml.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The remarks, without the breaks of their lines.
fn remarks(toml: &str) -> String {
    let lines: Vec<&str> = toml.lines().filter(|line| line.starts_with('#')).map(|line| line[1..].trim()).collect();
    lines.join(" ")
}

/// Asserts that amboss reads the file as it was meant.
#[track_caller]
fn is_read(dir: &TempDir, toml: &str) {
    dir.write("made.toml", toml);
    let mut command = amboss(&["-c", "made.toml", "--print-config"]);
    let output = command.current_dir(dir.path()).output().expect("the command runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let read = printed.lines().filter_map(|line| line.split_once(" #").map(|(setting, _)| setting.trim()));
    let read: Vec<&str> = read.filter(|setting| !setting.is_empty()).collect();
    for setting in settings(toml).iter().filter(|line| !line.starts_with('[')) {
        assert!(read.contains(setting), "{setting}\n{printed}\n{output:?}");
    }
}

#[test]
fn a_command_line_of_gunicorn_becomes_a_file() {
    let dir = TempDir::new("migrate");
    for (line, expected) in [
        (
            "shop:app",
            "app = \"shop:app\"|bind = [\"127.0.0.1:8000\"]|backlog = 2048|threads = 1|no-access-log = true|timeout = 30|\
             [timeouts]|shutdown = 30",
        ),
        (
            "-w4 -b 0.0.0.0:5000 -b unix:/tmp/s shop:app --access-logfile - -k gthread --threads=8 -t 60 --preload",
            "app = \"shop:app\"|bind = [\"0.0.0.0:5000\", \"unix:/tmp/s\"]|backlog = 2048|threads = 8|access-logfile = \"-\"|\
             worker-class = \"threads\"|timeout = 60|preload = true|workers = 4|[timeouts]|shutdown = 30",
        ),
        (
            "-k gevent --threads 4 --worker-connections 200 -b :80 shop --access-logfile a --graceful-timeout 5 --keep-alive 3",
            "app = \"shop:application\"|bind = [\":80\"]|backlog = 2048|access-logfile = \"a\"|worker-class = \"gevent\"|\
             worker-connections = 200|timeout = 30|[timeouts]|shutdown = 5|idle = 3",
        ),
        (
            "-k gthread --timeout 0 --backlog 5 --access-logfile - shop:app",
            "app = \"shop:app\"|bind = [\"127.0.0.1:8000\"]|backlog = 5|threads = 1|access-logfile = \"-\"|\
             worker-class = \"threads\"|[timeouts]|shutdown = 30",
        ),
        (
            "-k sync --threads 4 --timeout 0 --backlog 5 --access-logfile -",
            "bind = [\"127.0.0.1:8000\"]|backlog = 5|threads = 4|access-logfile = \"-\"|[timeouts]|shutdown = 30",
        ),
        (
            "-m 007 -p s.pid -n shop --chdir / --max-requests 0 --certfile a --keyfile b --cert-reqs 2 --ca-certs c -b h",
            "bind = [\"h:8000\"]|backlog = 2048|threads = 1|no-access-log = true|chdir = \"/\"|pid = \"s.pid\"|umask = \"007\"|\
             name = \"shop\"|timeout = 30|cert = [\"a\"]|key = [\"b\"]|client-ca = \"c\"|client-verify = \"required\"|\
             [timeouts]|shutdown = 30",
        ),
        (
            "--limit-request-line 4094 --limit-request-fields 50 --limit-request-field_size 0 --umask 18 --certfile a \
             --ca-certs c",
            "bind = [\"127.0.0.1:8000\"]|backlog = 2048|threads = 1|no-access-log = true|umask = \"022\"|timeout = 30|\
             cert = [\"a\"]|[timeouts]|shutdown = 30|[limits]|request_line = 4094|fields = 50",
        ),
    ] {
        let arguments: Vec<&str> = std::iter::once("gunicorn").chain(line.split_whitespace()).collect();
        let toml = migrate(&dir, &arguments);
        assert_eq!(settings(&toml), expected.split('|').collect::<Vec<_>>(), "{line}");
        // The others change the directory, or name certificates that are not there.
        if !line.contains("--certfile") && line.contains("shop") {
            is_read(&dir, &toml);
        }
    }
    for (line, remark) in [
        (
            "--certfile a --ca-certs c",
            "gunicorn asks for no certificate without cert_reqs; client-ca would ask for one",
        ),
        ("-k gevent --threads 4", "threads: greenlets run in one thread, in gunicorn as well"),
        (
            "--preload --reload shop:app",
            "two of these settings: --preload forks workers from code that was imported once",
        ),
    ] {
        let arguments: Vec<&str> = std::iter::once("gunicorn").chain(line.split(' ')).collect();
        let text = remarks(&migrate(&dir, &arguments));
        assert!(text.contains(remark), "{line}: {text}");
    }
    assert!(migrate(&dir, &["gunicorn", "--help"]).contains("Usage: amboss migrate gunicorn"));
    let text = migrate(
        &dir,
        &["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "--statsd-host", "a:1", "--daemon", "--odd", "3"],
    );
    let text = remarks(&text);
    for remark in [
        "amboss serves WSGI applications in threads, or in greenlets of gevent or eventlet",
        "--statsd-host: amboss sends no metrics yet",
        "--daemon: amboss stays in the foreground",
        "--odd: this is no option that amboss knows",
    ] {
        assert!(text.contains(remark), "{remark}: {text}");
    }
}

#[test]
fn a_configuration_file_of_gunicorn_is_run() {
    if !is_installed("python3") {
        return;
    }
    let dir = TempDir::new("migrate");
    let file = "import multiprocessing\nworkers = 1 + 2\nbind = ['a:1', 'b:2']\numask = 0o27\npreload_app = True\n\
                raw_env = ['A=b']\nreload = False\naccesslog = '-'\nworker_class = 'gthread'\nloglevel = 'warning'\n\
                wsgi_app = 'shop:app'\ntimout = 3\ndef post_fork(server, worker): pass\nprint('noise')\n";
    dir.write("gunicorn.conf.py", file);
    dir.write("other.py", "workers = 9\nprint(1)\n");
    dir.write("broken.py", "workers = nine\n");
    let toml = migrate(&dir, &["gunicorn", "-w", "4"]);
    let expected =
        "app = \"shop:app\"|bind = [\"a:1\", \"b:2\"]|backlog = 2048|threads = 1|access-logfile = \"-\"|log-level = \"warning\"|\
                    env = [\"A=b\"]|umask = \"027\"|worker-class = \"threads\"|timeout = 30|preload = true|workers = 4|\
                    [timeouts]|shutdown = 30";
    assert_eq!(settings(&toml), expected.split('|').collect::<Vec<_>>());
    // The command line replaces what the file says, lists included.
    let replaced = migrate(&dir, &["gunicorn", "-b", "c:3", "-e", "A=c", "other:app"]);
    for setting in ["app = \"other:app\"", "bind = [\"c:3\"]", "env = [\"A=c\"]"] {
        assert!(settings(&replaced).contains(&setting), "{replaced}");
    }
    dir.write("ssl.conf.py", "import ssl\ncert_reqs = ssl.CERT_REQUIRED\nca_certs = 'ca'\ncertfile = 'c'\n");
    let verified = migrate(&dir, &["gunicorn", "-c", "ssl.conf.py"]);
    assert!(verified.contains("client-ca = \"ca\"\nclient-verify = \"required\"\n"), "{verified}");
    let text = remarks(&toml);
    assert!(text.contains("post_fork: amboss runs no code of a configuration file"), "{text}");
    assert!(text.contains("timout: this is no option that amboss knows; check how it is written"), "{text}");
    assert!(migrate(&dir, &["gunicorn", "--config=other.py"]).contains("\nworkers = 9\n"));
    fails(&["migrate", "gunicorn", "-c", &dir.join_str("broken.py")], 2, "NameError: name 'nine' is not defined");
}

#[test]
fn a_file_of_uwsgi_and_a_command_line_of_granian_become_files() {
    let dir = TempDir::new("migrate");
    let ini = "[uwsgi]\nbase = /srv\nchdir = %(base)/shop\nhttp-socket = :8080\nmodule = shop.wsgi\ncallable = app\n\
               master = true\nprocesses = 4\nthreads = 2\nharakiri = 30\nlimit-post = 1048576\nvacuum = 1\nmule = x\n\
               static-map = /static=/srv/assets\nlazy-apps = true\ndisable-logging = 1\nauto-procname = 1\nhttp-keepalive = 1\nvirtualenv = /srv/venv\nxyzzy = 1\n";
    dir.write("uwsgi.ini", ini);
    let toml = migrate(&dir, &["uwsgi", "uwsgi.ini"]);
    let expected = [
        "app = \"shop.wsgi:app\"",
        "bind = [\":8080\"]",
        "threads = 2",
        "no-access-log = true",
        "chdir = \"/srv/shop\"",
        "python = \"/srv/venv\"",
        "timeout = 30",
        "static = [\"/static=/srv/assets\"]",
        "workers = 4",
        "[limits]",
        "body = 1048576",
    ];
    assert_eq!(settings(&toml), expected);
    let text = remarks(&toml);
    assert!(
        text.contains("xyzzy: this is no option")
            && text.contains("mule: amboss has neither")
            && !text.contains("base:")
    );
    dir.write("eager.ini", "[uwsgi]\nsocket = /run/s\nwsgi-file = shop.py\nprocesses = 2\n");
    let eager = migrate(&dir, &["uwsgi", "eager.ini"]);
    let expected =
        ["app = \"shop.py:application\"", "bind = [\"unix:/run/s\"]", "threads = 1", "preload = true", "workers = 2"];
    assert_eq!(settings(&eager), expected);
    assert!(remarks(&eager).contains("proxy_pass takes the place of uwsgi_pass"));

    let line =
        "granian --interface wsgi --host ::1 --port 80 --workers 2 --blocking-threads 4 --http1-header-read-timeout \
                5000 --access-log --factory main:make --http 2 --static-path-mount ./assets";
    let toml = migrate(&dir, &line.split_whitespace().collect::<Vec<_>>());
    let expected = [
        "app = \"main:make\"",
        "bind = [\"[::1]:80\"]",
        "threads = 4",
        "factory = true",
        "static = [\"/static=./assets\"]",
        "workers = 2",
        "[timeouts]",
        "head = 5",
    ];
    assert_eq!(settings(&toml), expected);
    assert!(remarks(&toml).contains("a proxy such as nginx in front of it speaks HTTP/2"));
    is_read(&dir, &toml);
}

#[test]
fn flags_of_gunicorn_are_explained_or_ignored_with_a_warning() {
    fails(&["--statsd-host", "a:1"], 2, "--statsd-host is an option of gunicorn; amboss sends no metrics yet");
    fails(&["--ca-certs=a"], 2, "--ca-certs is an option of gunicorn; amboss calls it --client-ca");
    fails(&["-D"], 2, "-D is an option of gunicorn; amboss stays in the foreground");
    for flags in [&["--worker-tmp-dir", "/dev/shm"][..], &["--worker-tmp-dir=/dev/shm", "--no-sendfile"]] {
        let output = amboss(&[flags, &["--check-config"]].concat()).output().expect("the command runs");
        let printed = String::from_utf8_lossy(&output.stderr);
        let warning =
            "amboss: --worker-tmp-dir of gunicorn has no effect here: workers send no heartbeats through files";
        assert!(output.status.success() && printed.contains(warning), "{printed}");
    }
}

#[test]
fn bash_completes_flags_and_their_values() {
    if !is_installed("bash") {
        return;
    }
    let script = amboss(&["completions", "bash"]).output().expect("the command runs").stdout;
    let script = String::from_utf8(script).expect("the script is text");
    let complete = |words: &str, last: usize| {
        let current = words.split(' ').next_back().unwrap_or_default();
        let before = words.split(' ').nth_back(1).unwrap_or_default();
        let call = format!("COMP_WORDS=({words}); COMP_CWORD={last}; _amboss amboss {current} {before}");
        let command = format!("{script}\n{call}\necho \"${{COMPREPLY[@]}}\"");
        let output = Command::new("bash").args(["-c", &command]).output().expect("bash runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("amboss --thr", 1), "--threads");
    assert_eq!(complete("amboss --limit-tr", 1), "--limit-trailers");
    let completed = complete("amboss --log-format ''", 2);
    assert!(completed.contains("common") && completed.contains("json"), "{completed}");
    for (shell, word) in [
        ("zsh", "#compdef amboss"),
        ("fish", "complete -c amboss"),
        ("powershell", "Register-Arg"),
        ("elvish", "set edit"),
    ] {
        let output = amboss(&["completions", shell]).output().expect("the command runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains(word) && text.contains("threads") && text.contains("amboss completions"),
            "{shell}: {text}"
        );
    }
}

#[test]
fn the_manual_has_every_flag_with_its_variable_and_key() {
    let page = amboss(&["man"]).output().expect("the command runs").stdout;
    let text = String::from_utf8_lossy(&page).into_owned();
    let plain = text.replace("\\-", "-");
    for part in [
        "--threads <N>",
        "AMBOSS_THREADS, threads",
        "AMBOSS_IDLE_TIMEOUT, timeouts.idle",
        "limits.request_line",
        ".TH amboss 1",
    ] {
        assert!(plain.contains(part), "{part} in {plain}");
    }
    if is_installed("man") {
        let printed = amboss_testkit::run("man", &["--warnings", "-l", "-"], &page).expect("man is there");
        assert!(printed.stderr.is_empty() && printed.text().contains("--graceful-timeout"), "{}", printed.stderr);
    }
}
