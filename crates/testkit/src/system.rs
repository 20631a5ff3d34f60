//! Other processes, by process id: signals, states, children. Reads `/proc` for what no portable command reports.

use std::fs;
use std::process::{Command, Stdio};

use crate::wait_until;

/// Sends a signal by name, for example "TERM". Has no effect if the process does not exist.
pub fn send_signal(pid: u32, name: &str) {
    kill(&pid.to_string(), name);
}

/// Sends a signal to all processes of a group, as a terminal does.
pub fn send_signal_to_group(group: u32, name: &str) {
    kill(&format!("-{group}"), name);
}

fn kill(target: &str, name: &str) -> bool {
    let status = Command::new("kill").args([&format!("-{name}"), "--", target]).stderr(Stdio::null()).status();
    status.expect("the command `kill` can be run").success()
}

/// Whether a process exists and has not exited. A zombie has exited.
pub fn is_alive(pid: u32) -> bool {
    if !fs::exists("/proc/self/stat").unwrap_or(false) {
        return kill(&pid.to_string(), "0");
    }
    fields_of(&pid.to_string()).is_some_and(|fields| !fields.starts_with(['Z', 'X']))
}

/// Whether a process of this group exists and has not exited. Needs `/proc`.
pub fn group_is_alive(group: u32) -> bool {
    let group = group.to_string();
    all_processes().any(|(_, fields)| !fields.starts_with(['Z', 'X']) && fields.split(' ').nth(2) == Some(&group))
}

/// Returns the children of a process that it has not reaped, with their states as `/proc` names them: `Z` is a zombie.
/// Needs `/proc`.
pub fn child_processes(pid: u32) -> Vec<(u32, char)> {
    let parent = pid.to_string();
    let children = all_processes().filter(|(_, fields)| fields.split(' ').nth(1) == Some(&parent));
    children.map(|(pid, fields)| (pid, fields.chars().next().unwrap())).collect()
}

/// Returns the names in a folder that `/proc` has for a process: its descriptors (`fd`), its threads (`task`).
pub fn proc_entries(pid: u32, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn all_processes() -> impl Iterator<Item = (u32, String)> {
    let names = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| Some((name.parse().ok()?, fields_of(&name)?)))
}

/// Returns what `/proc/<pid>/stat` says behind the program's name: state, parent, group and more (proc(5)).
fn fields_of(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

/// A process that is stopped by SIGSTOP until this is dropped, so that others get its work. Needs `/proc`.
pub struct PausedProcess(u32);

impl PausedProcess {
    /// Stops a process, and waits until all of its threads stand still.
    #[track_caller]
    pub fn new(pid: u32) -> PausedProcess {
        send_signal(pid, "STOP");
        let paused = PausedProcess(pid);
        wait_until("all threads of the process are stopped", || {
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
            let mut stats = tasks.flatten().map(|task| fs::read_to_string(task.path().join("stat")));
            stats.all(|stat| stat.unwrap_or_default().contains(") T "))
        });
        paused
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.0
    }
}

impl Drop for PausedProcess {
    fn drop(&mut self) {
        send_signal(self.0, "CONT");
    }
}
