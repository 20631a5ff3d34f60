//! CPU time, threads and memory of a server and its child processes (nginx serves in children), and the few system
//! calls that the standard library does not have.

use crate::result::Result;
use procfs::process::{all_processes, Process};
use procfs::ProcError;
use rustix::process::{getrlimit, kill_process, setrlimit, Pid, Resource, Rlimit, Signal};
use rustix::thread::{sched_setaffinity, CpuSet};
use std::time::Duration;

/// The CPU time, user and system, of the process and its children.
///
/// # Errors
///
/// When a process has ended.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut ticks = 0;
    for process in family(pid)? {
        let stat = process.stat().map_err(|error| read_error(process.pid, &error))?;
        ticks += stat.utime + stat.stime;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64))
}

/// The number of threads and the memory of the process and its children.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// The number of threads.
    pub threads: u64,
    /// Resident memory in KiB.
    pub resident_kib: u64,
}

/// Measures the threads and the memory of the process and its children.
///
/// # Errors
///
/// When a process has ended.
pub fn memory(pid: u32) -> Result<Memory> {
    let mut memory = Memory::default();
    for process in family(pid)? {
        let status = process.status().map_err(|error| read_error(process.pid, &error))?;
        memory.threads += status.threads;
        memory.resident_kib += status.vmrss.unwrap_or(0);
    }
    Ok(memory)
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// The resident memory, with each shared page counted in full.
    pub rss: f64,
    /// The resident memory, with each shared page divided among the processes that map it, including processes of other
    /// programs.
    pub pss: f64,
}

/// Measures the resident memory of the process and its children.
///
/// # Errors
///
/// When a process has ended, or belongs to another user.
pub fn resident(pid: u32) -> Result<Resident> {
    let mut sum = Resident::default();
    for process in family(pid)? {
        let rollup = process.smaps_rollup().map_err(|error| read_error(process.pid, &error))?;
        for map in rollup.memory_map_rollup {
            let kib = |name: &str| map.extension.map.get(name).map_or(0.0, |&bytes| bytes as f64 / 1024.0);
            sum.rss += kib("Rss");
            sum.pss += kib("Pss");
        }
    }
    Ok(sum)
}

/// The process ids of the children of the process.
pub fn children(pid: u32) -> Vec<u32> {
    let processes = all_processes().into_iter().flatten().flatten();
    let is_child = |process: &Process| process.stat().is_ok_and(|stat| stat.ppid == pid as i32);
    processes.filter(is_child).map(|process| process.pid as u32).collect()
}

fn family(pid: u32) -> Result<Vec<Process>> {
    let open = |pid: u32| Process::new(pid as i32).map_err(|error| read_error(pid as i32, &error));
    [pid].into_iter().chain(children(pid)).map(open).collect()
}

fn read_error(pid: i32, error: &ProcError) -> String {
    format!("can't read about process {pid}: {error}")
}

/// Raises the limit of open files as far as this process may, and returns it.
pub fn raise_open_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { raised.current } else { limit.current };
    current.unwrap_or(u64::MAX)
}

/// Pins the calling thread to a core.
///
/// # Errors
///
/// When this process may not use the core.
pub fn pin_thread(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| format!("can't pin a thread to core {core}: {error}"))
}

/// Sends SIGTERM to a process.
pub fn terminate(pid: u32) {
    send(pid, Signal::TERM);
}

/// Sends SIGKILL to a process.
pub fn kill(pid: u32) {
    send(pid, Signal::KILL);
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_busy_child_process_uses_cpu_time_and_memory_until_it_is_killed() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh is installed");
        let pid = child.id();
        assert!(children(std::process::id()).contains(&pid));
        while cpu_time(pid).expect("readable").is_zero() {}
        let memory = memory(pid).expect("readable");
        assert!(memory.threads == 1 && memory.resident_kib > 0, "{memory:?}");
        let resident = resident(pid).expect("readable");
        assert!(resident.pss > 0.0 && resident.rss >= resident.pss, "{resident:?}");
        kill(pid);
        assert!(!child.wait().expect("waited").success());
        assert!(!children(std::process::id()).contains(&pid));
        assert!(cpu_time(pid).expect_err("ended").contains(&pid.to_string()));
    }
}
