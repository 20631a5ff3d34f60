//! What the kernel knows about a server: CPU time, threads and memory, its children included (nginx works in children). And the
//! few system calls the standard library does not offer.

use crate::Result;
use std::fs;
use std::time::Duration;

/// CPU time used so far, user and system, by the process and its children.
///
/// # Errors
///
/// When the process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let mut ticks = 0;
    for pid in family(pid) {
        let fields = stat(pid)?;
        // utime and stime: fields 14 and 15 in proc(5), of which the first two were cut off.
        let value = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
        ticks += value(11).zip(value(12)).map_or(0, |(user, system)| user + system);
    }
    Ok(Duration::from_secs_f64(ticks as f64 / ticks_per_second()))
}

/// Threads and resident memory.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Threads of the process and its children.
    pub threads: u64,
    /// Resident KiB of the process and its children.
    pub resident_kib: u64,
}

/// Threads and resident memory of the process and its children.
///
/// # Errors
///
/// When the process is gone.
pub fn memory(pid: u32) -> Result<Memory> {
    let mut memory = Memory { threads: 0, resident_kib: 0 };
    for pid in family(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .map_err(|error| format!("process {pid} is gone: {error}"))?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        };
        memory.threads += value("Threads:").unwrap_or(0);
        memory.resident_kib += value("VmRSS:").unwrap_or(0);
    }
    Ok(memory)
}

/// The process and its children.
pub fn family(pid: u32) -> Vec<u32> {
    let all: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    let parent = pid.to_string();
    let mut family = vec![pid];
    family.extend(all.into_iter().filter(|&child| {
        // Field 4 of proc(5) is the parent.
        stat(child).is_ok_and(|fields| fields.get(1) == Some(&parent))
    }));
    family
}

/// The fields of `/proc/<pid>/stat` after the name, which may contain spaces.
fn stat(pid: u32) -> Result<Vec<String>> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| format!("process {pid} is gone: {error}"))?;
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    Ok(after.split_whitespace().map(str::to_owned).collect())
}

#[allow(unsafe_code)]
fn ticks_per_second() -> f64 {
    // SAFETY: takes and returns numbers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 {
        ticks as f64
    } else {
        100.0
    }
}

/// Raises the limit of open files as far as this process may, and returns it.
#[allow(unsafe_code)]
pub fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live `rlimit`.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
                limit = raised;
            }
        }
    }
    limit.rlim_cur
}

/// Keeps the calling thread on one core.
///
/// # Errors
///
/// When there is no such core for this process.
#[allow(unsafe_code)]
pub fn pin_thread(core: usize) -> Result<()> {
    // SAFETY: a `cpu_set_t` is a plain array of bits, and lives across the call, which only reads it; `CPU_SET` stays within it.
    let done = unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut cores);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &cores)
    };
    match done {
        0 => Ok(()),
        _ => Err(format!("no thread can be kept on core {core}: {}", std::io::Error::last_os_error())),
    }
}

/// Sends SIGTERM to a child of ours that has not been waited for.
#[allow(unsafe_code)]
pub fn terminate(pid: u32) {
    // SAFETY: takes numbers; a process id that is not waited for is not reused.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}
