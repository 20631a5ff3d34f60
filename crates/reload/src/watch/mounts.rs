//! File systems whose changes are made on another machine, so that the kernel reports no events for them: network file
//! systems, FUSE, and folders shared by the host of a virtual machine.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The types of such file systems. `fuseblk` is not one of them: it is a local disk.
const REMOTE: &[&str] = &[
    "9p", "afs", "ceph", "cifs", "fuse", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs", "smb", "smb2", "smb3", "smbfs",
    "vboxsf", "virtiofs", "vmhgfs",
];

/// If one of the paths is on such a file system, a message that says which.
pub(super) fn find_remote(paths: &[PathBuf]) -> Option<String> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    paths.iter().find_map(|path| remote_message(&mounts, &fs::canonicalize(path).ok()?))
}

fn remote_message(mounts: &[u8], path: &Path) -> Option<String> {
    let kind = file_system_type(mounts, path)?;
    let is_remote = REMOTE.contains(&kind.as_str()) || kind.starts_with("fuse.");
    is_remote.then(|| {
        format!(
            "'{}' is on a file system of type {kind}, which reports no changes made on other machines.",
            path.display()
        )
    })
}

/// The type of the file system that contains a path, read from a mount table as in `proc_pid_mountinfo(5)`.
fn file_system_type(mounts: &[u8], path: &Path) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    for line in mounts.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ');
        let Some(point) = fields.nth(4).map(unescape) else { continue };
        // A hyphen ends the optional fields; the type follows.
        let Some(kind) = fields.skip_while(|field| *field != b"-").nth(1) else { continue };
        let length = point.as_os_str().as_bytes().len();
        // If two mounts have the same mount point, the later one hides the earlier one.
        if path.starts_with(&point) && best.as_ref().is_none_or(|(longest, _)| length >= *longest) {
            best = Some((length, String::from_utf8_lossy(kind).into_owned()));
        }
    }
    best.map(|(_, kind)| kind)
}

/// Decodes spaces and similar characters, which are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::new();
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                plain.push(byte);
                rest = &after[3..];
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_decides_the_file_system_of_a_path() {
        let mounts = b"22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
            30 22 0:25 / /srv rw - 9p host rw\n\
            31 22 0:26 / /srv/my\\040disk rw master:1 shared:2 - ext4 /dev/vdb rw\n\
            32 22 0:27 / /home/u/remote rw - fuse.sshfs u@h: rw\n\
            35 22 8:17 / /media/stick rw - fuseblk /dev/sdb1 rw\n\
            33 22 0:28 / /tmp rw - tmpfs tmpfs rw\n\
            34 22 0:29 / /tmp rw - nfs4 h:/x rw\n";
        let cases = [
            ("/etc", "ext4", false),
            ("/srv", "9p", true),
            ("/srv/a", "9p", true),
            ("/srvshop", "ext4", false),
            ("/srv/my disk/a", "ext4", false),
            ("/home/u/remote/a", "fuse.sshfs", true),
            ("/media/stick/a", "fuseblk", false),
            ("/tmp/a", "nfs4", true),
        ];
        for (path, expected, is_remote) in cases {
            let path = Path::new(path);
            assert_eq!(file_system_type(mounts, path).as_deref(), Some(expected), "{path:?}");
            let reason = remote_message(mounts, path);
            assert_eq!(reason.is_some(), is_remote, "{path:?}");
            assert!(reason.is_none_or(|reason| reason.starts_with(&format!("'{}' is on", path.display()))));
        }
        assert_eq!(file_system_type(b"", Path::new("/")), None);
    }
}
