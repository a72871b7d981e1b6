//! Settings of the jar's own namespaces; proc_sys(5).

use belljar_plan::wire::Strings;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::Jar;
use crate::calls::{self, fsconfig_create, fsmount, fsopen, openat2};
use crate::text::Text;

impl Jar<'_> {
    /// Writes each, `NAME=VALUE`, by the `/proc` that the jar will have, before it has
    /// a place and may be read-only: to let go of a mount of its own would wait for every
    /// processor. The kernel takes from this process what its own namespaces may have.
    pub(super) fn sysctls(&mut self, settings: &Strings<'_>) -> Result<()> {
        let fs = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&fs)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let proc = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        for setting in settings.iter() {
            // The list is of strings as exec has them.
            let setting = setting.strip_suffix(b"\0").unwrap_or(setting);
            let mut parts = setting.splitn(2, |byte| *byte == b'=');
            let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
                return Err(Errno::INVAL);
            };
            let path = Text::<128>::new().add(b"sys/")?.add(name)?;
            let opened = openat2(
                &proc,
                path.c()?,
                OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            );
            let file = match opened {
                // This kernel has no such thing, so that nothing of it has to be bounded.
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            // The kernel takes a value whole, or says why not.
            calls::write(&file, value)?;
        }
        self.proc = Some(proc);
        Ok(())
    }
}
