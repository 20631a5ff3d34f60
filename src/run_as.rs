//! Giving up the rights of root, once the sockets are bound and keys are read.

use std::ffi::CString;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid, User};

use crate::error::{RunError, RunErrorKind};

/// The user and the group as which requests run.
///
/// A server that is started by root listens on its addresses, and reads its certificates and keys, as root. Then it
/// becomes this user, before the application is loaded. Under a supervisor, the workers become this user, and the
/// supervisor stays root, so that it can start others.
#[derive(Clone, Debug)]
pub struct RunAs {
    user: Option<(Uid, CString)>,
    group: Option<Gid>,
}

impl RunAs {
    /// Looks up a user and a group, by their names or numbers. Without a group, it is that of the user.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn new(user: Option<&str>, group: Option<&str>) -> Result<RunAs, RunError> {
        let unknown = |what: &str, name: &str| {
            RunErrorKind::Options(format!("there is no {what} '{name}'; create it, or name another one").into())
        };
        let mut run_as = RunAs { user: None, group: None };
        if let Some(name) = user {
            let found = match name.parse() {
                Ok(number) => User::from_uid(Uid::from_raw(number)),
                Err(_) => User::from_name(name),
            };
            let user = found.ok().flatten().ok_or_else(|| unknown("user", name))?;
            run_as.group = Some(user.gid);
            run_as.user = Some((user.uid, CString::new(user.name).unwrap_or_default()));
        }
        if let Some(name) = group {
            let found = match name.parse() {
                Ok(number) => Group::from_gid(Gid::from_raw(number)),
                Err(_) => Group::from_name(name),
            };
            run_as.group = Some(found.ok().flatten().ok_or_else(|| unknown("group", name))?.gid);
        }
        Ok(run_as)
    }

    /// Gives a file to the user and the group, if this process may do that.
    pub(crate) fn own(&self, path: &Path) {
        if Uid::effective().is_root() {
            let _ = unistd::chown(path, self.user.as_ref().map(|(uid, _)| *uid), self.group);
        }
    }

    /// Makes this process run as the user and the group, with the groups of that user. A process cannot go back.
    ///
    /// # Errors
    /// The process is not root's, and is not the user's either.
    pub(crate) fn apply(&self) -> Result<(), RunError> {
        let has_user = self.user.as_ref().is_none_or(|(uid, _)| *uid == Uid::effective());
        let has_group = self.group.is_none_or(|group| group == Gid::effective());
        if has_user && has_group && !Uid::effective().is_root() {
            return Ok(());
        }
        self.change().map_err(|error| {
            let advice = "start it as root, or leave out --user and --group";
            RunErrorKind::Options(format!("can't run as another user or group ({error}); {advice}").into()).into()
        })
    }

    fn change(&self) -> io::Result<()> {
        if let Some(group) = self.group {
            match &self.user {
                Some((_, name)) => unistd::initgroups(name, group)?,
                None => unistd::setgroups(&[group])?,
            }
            unistd::setgid(group)?;
        }
        let Some((uid, _)) = &self.user else { return Ok(()) };
        unistd::setuid(*uid)?;
        if !uid.is_root() && unistd::setuid(Uid::from_raw(0)) != Err(Errno::EPERM) {
            return Err(io::Error::other("the process could become root again"));
        }
        Ok(())
    }
}
