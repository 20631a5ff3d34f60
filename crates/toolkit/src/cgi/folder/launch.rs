//! Starting the process of a script.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::lookup::FoundScript;

/// How often, and at which interval, to start a script again whose file is open for writing.
const BUSY_ATTEMPTS: usize = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Starts a script as the leader of a process group, with pipes for its output, and for its input if there is a body.
/// All descriptors of this process are closed in it, since std opens them with `O_CLOEXEC`.
pub(super) fn launch(found: &FoundScript, variables: Vec<(OsString, OsString)>, has_body: bool) -> io::Result<Child> {
    let mut command = Command::new(&found.file);
    command.env_clear().envs(variables).process_group(0);
    // RFC 3875 §7.2: the working folder is that of the script.
    if let Some(folder) = found.file.parent() {
        command.current_dir(folder);
    }
    command.stdin(if has_body { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A script that was just saved may still be open for writing in a process that is between `fork` and `exec`, which
    // the system reports as ETXTBSY. That lasts for milliseconds.
    for _ in 0..BUSY_ATTEMPTS {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    command.spawn()
}
