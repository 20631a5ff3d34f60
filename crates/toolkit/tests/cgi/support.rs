//! A server with a folder of scripts, and its log.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use amboss_core::{make_server, AccessRecord, Address, Concurrency, Log, ServeError, Settings, ShutdownHandle};
use amboss_testkit::{child_processes, is_alive, wait_for, wait_until, Client, Response, TempDir};
use amboss_toolkit::cgi::{CgiFolder, CgiOptions};

/// The entries of the scripts' log.
#[derive(Default)]
pub struct RecordingLog(Mutex<Vec<String>>);

impl RecordingLog {
    pub fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Log for RecordingLog {
    fn access(&self, _: &AccessRecord<'_>) {}
    fn error(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// A server whose prefix `/cgi` runs the scripts of a temporary folder. Dropping the value stops it.
pub struct ScriptServer {
    pub dir: TempDir,
    pub log: Arc<RecordingLog>,
    pub address: SocketAddr,
    handle: ShutdownHandle,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl ScriptServer {
    /// Starts a server with these scripts, which are executable.
    pub fn start(scripts: &[(&str, &str)]) -> ScriptServer {
        ScriptServer::start_with(scripts, |_, _| {})
    }

    /// Starts a server with changed settings.
    pub fn start_with(scripts: &[(&str, &str)], change: impl FnOnce(&mut CgiOptions, &mut Settings)) -> ScriptServer {
        let dir = TempDir::new("cgi");
        for (name, text) in scripts {
            write_script(&dir, name, text);
        }
        let (mut options, mut settings) = (CgiOptions::default(), Settings::default());
        let log = Arc::new(RecordingLog::default());
        (options.log, settings.log) = (log.clone(), log.clone());
        settings.runtime.threads = 128;
        change(&mut options, &mut settings);
        let app = CgiFolder::new("/cgi", dir.path()).unwrap().with_options(options);
        let mut server = make_server(&[Address::new("127.0.0.1", 0)], app, Concurrency::Threads, settings).unwrap();
        let address = server.local_addrs()[0].to_string();
        let address = address.trim_start_matches("http://").parse().unwrap();
        let handle = server.shutdown_handle();
        let thread = Some(std::thread::spawn(move || server.serve_forever()));
        ScriptServer { dir, log, address, handle, thread }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.connect().with_fields("Connection: close\r\n").get(path)
    }

    /// Sends a body with a Content-Length.
    #[track_caller]
    pub fn post(&self, path: &str, body: &[u8]) -> Response {
        let mut client = self.connect();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(body);
        client.response()
    }

    /// Waits for the process id that a script writes to this file.
    #[track_caller]
    pub fn pid(&self, name: &str) -> u32 {
        wait_for(&format!("{name} is written"), || {
            let text = std::fs::read_to_string(self.dir.join(name)).ok()?;
            text.strip_suffix('\n')?.parse().ok()
        })
    }

    pub fn stop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for ScriptServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes an executable file.
pub fn write_script(dir: &TempDir, name: &str, text: &str) {
    dir.write(name, text);
    std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Waits until a process has exited and is reaped.
#[track_caller]
pub fn wait_until_gone(pid: u32) {
    let is_child = || child_processes(std::process::id()).iter().any(|&(child, _)| child == pid);
    wait_until("the process is gone", || !is_alive(pid) && !is_child());
}
