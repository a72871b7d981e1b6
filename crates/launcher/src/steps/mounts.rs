//! The jar's root and everything that is mounted in it, by descriptors only;
//! mount_namespaces(7), fsopen(2), open_tree(2), move_mount(2).

use belljar_plan::{Attributes, Source};
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, StatxAttributes,
    StatxFlags, major, minor,
};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::{Jar, attribute_bits, files};
use crate::calls::{
    self, fsconfig_create, fsconfig_set_string, fsmount, fsopen, fstat, fstatvfs, mkdirat, mknodat,
    mount_change, move_mount, open, open_tree, openat2, statx, unmount,
};
use crate::init::{PROGRESS, borrow};
use crate::text::{Text, split, text};
use crate::{channel, raw};
use belljar_plan::message::{Progress, progress};

/// How the machine's paths are found: no symbolic link may have slipped in.
const OF_MACHINE: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Names in the jar's root that are gone before the guest exists.
const EMPTY_FILE: &core::ffi::CStr = c".belljar-empty-file";
const EMPTY_FOLDER: &core::ffi::CStr = c".belljar-empty-folder";

/// What [`Jar::hold_above`] did.
#[derive(PartialEq, Eq)]
enum Held {
    Nothing,
    Some,
}

/// A copy of a mount, attached nowhere.
fn clone_mount(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(source, c"", flags)
}

/// No mount made from here on shows outside.
pub(super) fn private_mounts() -> Result<()> {
    mount_change(
        c"/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

/// A copy of a mount with attributes, and with the ids of a user namespace;
/// mount_setattr(2), `MOUNT_ATTR_IDMAP`.
pub(crate) fn detached(
    source: BorrowedFd<'_>,
    recursive: bool,
    attributes: u64,
    mapping: Option<&OwnedFd>,
) -> Result<OwnedFd> {
    let mount = clone_mount(source, recursive)?;
    let wanted = raw::mount_attr {
        attr_set: attributes | mapping.map_or(0, |_| u64::from(raw::MOUNT_ATTR_IDMAP)),
        attr_clr: 0,
        propagation: 0,
        userns_fd: mapping.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    if wanted.attr_set != 0 {
        raw::mount_setattr(mount.as_fd(), recursive, &wanted)?;
    }
    Ok(mount)
}

/// Adds attributes to a mount; none is ever taken away.
fn restrict(mount: BorrowedFd<'_>, recursive: bool, attributes: u64) -> Result<()> {
    if attributes == 0 {
        return Ok(());
    }
    let wanted = raw::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    raw::mount_setattr(mount, recursive, &wanted)
}

/// Whether something is what a mount shows at its own place; statx(2).
fn is_mount(file: &OwnedFd) -> Result<bool> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let found = statx(file, c"", flags, StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    move_mount(
        mount,
        c"",
        target,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// Finds a path of the machine.
fn open_machine(machine: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    openat2(machine, text(path)?, PATH, Mode::empty(), OF_MACHINE)
}

/// A file system in memory that can hold no more than this.
fn tmpfs(size: u64, inodes: u64) -> Result<OwnedFd> {
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let bytes = Text::<24>::new().number(size)?;
    fsconfig_set_string(&fs, c"size", bytes.c()?)?;
    let files = Text::<24>::new().number(inodes)?;
    fsconfig_set_string(&fs, c"nr_inodes", files.c()?)?;
    fsconfig_set_string(&fs, c"mode", c"755")?;
    fsconfig_create(&fs)?;
    fsmount(
        &fs,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

impl<'a> Jar<'a> {
    /// Makes the jar's root and enters it at once; the machine's stays at hand.
    pub(super) fn enter_root(&mut self, size: u64, inodes: u64, stage: &'a [u8]) -> Result<()> {
        let machine = open(c"/", PATH | OFlags::DIRECTORY, Mode::empty())?;
        let root = tmpfs(size, inodes)?;
        move_mount(
            &root,
            c"",
            CWD,
            text(stage)?,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )?;
        calls::fchdir(&root)?;
        // The old root lands on top of the new one, where only `machine` finds it.
        calls::pivot_root(c".", c".")?;
        self.root = Some(root);
        self.machine = Some(machine);
        self.stage = stage;
        Ok(())
    }

    /// Lets go of the machine's tree, and of what was there only to build with.
    pub(super) fn leave_machine(&mut self) -> Result<()> {
        if let Some((scratch, stage)) = self.scratch.take() {
            // Moved into the machine's tree, so that one unmount takes both:
            // each waits for an RCU grace period.
            let place = open_machine(self.machine()?, self.stage)?;
            attach(scratch.as_fd(), place.as_fd())?;
            self.forget_folder();
            self.within(stage, |folder, name| files::remove(folder, name, true))?;
        }
        if self.empty_file.take().is_some() {
            files::remove(self.root()?, EMPTY_FILE, false)?;
        }
        if self.empty_folder.take().is_some() {
            files::remove(self.root()?, EMPTY_FOLDER, true)?;
        }
        let machine = self.machine.take().ok_or(Errno::PROTO)?;
        calls::fchdir(&machine)?;
        unmount(c".", UnmountFlags::DETACH)?;
        calls::chdir(c"/")
    }

    pub(super) fn seal_root(&mut self) -> Result<()> {
        match &self.root {
            Some(root) => restrict(root.as_fd(), false, u64::from(raw::MOUNT_ATTR_RDONLY)),
            None => Err(Errno::PROTO),
        }
    }

    pub(super) fn make_scratch(&mut self, size: u64, inodes: u64, stage: &'a [u8]) -> Result<()> {
        let scratch = tmpfs(size, inodes)?;
        self.directory(stage, 0o700)?;
        attach(scratch.as_fd(), self.find(stage, PATH)?.as_fd())?;
        self.forget_folder();
        // For the parent to count with; it can't be used to open anything here.
        let counted = openat2(
            &scratch,
            c".",
            PATH | OFlags::DIRECTORY,
            Mode::empty(),
            ResolveFlags::empty(),
        )?;
        self.counted = Some(counted);
        self.scratch = Some((scratch, stage));
        Ok(())
    }

    /// Hands the scratch out, once there is somebody to take it.
    pub(crate) fn tell_scratch(&mut self) -> Result<()> {
        let packet = Progress {
            kind: progress::SCRATCH,
            ..Progress::default()
        };
        match self.counted.take() {
            Some(counted) => send_progress(&packet, counted.as_fd()),
            None => Ok(()),
        }
    }

    pub(super) fn bind(
        &mut self,
        source: Source<&'a [u8]>,
        target: &[u8],
        recursive: bool,
        attributes: Attributes,
    ) -> Result<()> {
        let mount = match source {
            Source::Slot { slot } => {
                let index = self.slots.start + usize::from(slot);
                if !self.slots.contains(&index) {
                    return Err(Errno::BADF);
                }
                // Left open, for close_range(2) to close: its number is not ours.
                return self.show(borrow(index), target, recursive, attributes);
            }
            Source::Path {
                path,
                device,
                inode,
            } => {
                let file = open_machine(self.machine()?, path)?;
                let found = fstat(&file)?;
                if (found.st_dev, found.st_ino) != (device, inode) {
                    return Err(Errno::STALE);
                }
                clone_mount(file.as_fd(), recursive)?
            }
            Source::Scratch { name } => {
                let (scratch, _) = self.scratch.as_ref().ok_or(Errno::PROTO)?;
                let name = text(name)?;
                match mkdirat(scratch, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let part = openat2(scratch, name, flags, Mode::empty(), ResolveFlags::BENEATH)?;
                clone_mount(part.as_fd(), false)?
            }
        };
        self.show(mount.as_fd(), target, recursive, attributes)
    }

    /// Attaches a mount at a place in the jar.
    fn show(
        &mut self,
        mount: BorrowedFd<'_>,
        target: &[u8],
        recursive: bool,
        attributes: Attributes,
    ) -> Result<()> {
        restrict(mount, recursive, attribute_bits(attributes))?;
        let place = self.find(target, PATH)?;
        let own = self.is_own(&place)?;
        if !own {
            // A place in a mount of the machine, which others may move away.
            self.not_ahead()?;
        }
        let place = match own || self.hold_above(target)? == Held::Nothing {
            true => place,
            // Where it was found is covered now.
            false => self.find(target, PATH)?,
        };
        attach(mount, place.as_fd())?;
        self.forget_folder();
        Ok(())
    }

    /// Whether something lies in the jar's own root or scratch.
    fn is_own(&self, file: &OwnedFd) -> Result<bool> {
        let device = fstat(file)?.st_dev;
        let scratch = self.scratch.as_ref().map(|(fd, _)| fd.as_fd());
        for own in [Some(self.root()?), scratch].into_iter().flatten() {
            if fstat(own)?.st_dev == device {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a mount of every folder that leads to a place inside a granted
    /// folder: what is a mount cannot be renamed. Else the guest would move the
    /// folder away, and with it what is hidden or read-only there, and put
    /// another in its place for the next run to protect; rename(2), `EBUSY`.
    fn hold_above(&self, path: &[u8]) -> Result<Held> {
        let mut held = Held::Nothing;
        let mut folder = split(path).0;
        while !folder.is_empty() {
            let name = Text::<4096>::new().add(folder)?;
            let found = self.find_c(name.c()?, PATH | OFlags::DIRECTORY)?;
            if self.is_own(&found)? {
                break;
            }
            let can_move =
                !is_mount(&found)? && !fstatvfs(&found)?.f_flag.contains(StatVfsMountFlags::RDONLY);
            if can_move {
                // With the mounts below it, which else would be covered.
                attach(clone_mount(found.as_fd(), true)?.as_fd(), found.as_fd())?;
                held = Held::Some;
            }
            folder = split(folder).0;
        }
        Ok(held)
    }

    pub(super) fn proc(&mut self, target: &[u8], attributes: Attributes) -> Result<()> {
        match self.proc.take() {
            Some(mount) => {
                restrict(mount.as_fd(), false, attribute_bits(attributes))?;
                self.place(&mount, target)?;
            }
            None => {
                let fs = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
                self.mount(&fs, target, mount_flags(attributes))?;
            }
        }
        self.has_proc = target == b"proc";
        Ok(())
    }

    pub(super) fn devpts(&mut self, target: &[u8]) -> Result<()> {
        let fs = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, c"ptmxmode", c"0666")?;
        fsconfig_set_string(&fs, c"mode", c"0600")?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        self.mount(&fs, target, flags)
    }

    fn mount(&mut self, fs: &OwnedFd, target: &[u8], flags: MountAttrFlags) -> Result<()> {
        fsconfig_create(fs)?;
        let mount = fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        self.place(&mount, target)
    }

    fn place(&mut self, mount: &OwnedFd, target: &[u8]) -> Result<()> {
        attach(mount.as_fd(), self.find(target, PATH)?.as_fd())?;
        self.forget_folder();
        Ok(())
    }

    /// Shows one device of the machine, if it is the one that its name says.
    pub(super) fn device(&mut self, name: &'a [u8], wanted: u32, number: u32) -> Result<()> {
        let path = Text::<64>::new().add(b"dev/")?.add(name)?;
        let flags = PATH | OFlags::NOFOLLOW;
        let device = openat2(self.machine()?, path.c()?, flags, Mode::empty(), OF_MACHINE)?;
        let found = fstat(&device)?;
        let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
        if !is_device || (major(found.st_rdev), minor(found.st_rdev)) != (wanted, number) {
            return Err(Errno::NODEV);
        }
        let mount = clone_mount(device.as_fd(), false)?;
        let inert = raw::MOUNT_ATTR_NOSUID | raw::MOUNT_ATTR_NOEXEC;
        restrict(mount.as_fd(), false, u64::from(inert))?;
        let name = text(name)?;
        self.in_folder(b"dev", |folder| {
            let mode = Mode::from_raw_mode(0o444);
            mknodat(folder, name, FileType::RegularFile, mode, 0)?;
            // Without following a link: the name is the file just made.
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&mount, c"", folder, name, flags)
        })
    }

    /// Hides what is at a path. What is not there needs no hiding, nor what pid
    /// 1 itself may not reach: the guest has the same user and less power.
    pub(super) fn mask(&mut self, path: &[u8]) -> Result<()> {
        if !self.has_proc {
            self.not_ahead()?;
        }
        let target = match self.find(path, PATH) {
            // It may be there when the launch comes.
            Err(Errno::NOENT | Errno::ACCESS) => return self.not_ahead(),
            target => target?,
        };
        let target = match self.hold_above(path)? {
            Held::Nothing => target,
            // Where it was found is covered now.
            Held::Some => self.find(path, PATH)?,
        };
        let mode = fstat(&target)?.st_mode;
        let is_folder = FileType::from_raw_mode(mode) == FileType::Directory;
        let known = match is_folder {
            true => &self.empty_folder,
            false => &self.empty_file,
        };
        // A copy of a read-only mount is read-only.
        let mount = match known {
            Some(known) => clone_mount(known.as_fd(), false)?,
            None => self.empty(is_folder)?,
        };
        attach(mount.as_fd(), target.as_fd())?;
        match is_folder {
            true => self.empty_folder.get_or_insert(mount),
            false => self.empty_file.get_or_insert(mount),
        };
        self.forget_folder();
        Ok(())
    }

    /// A read-only mount of something empty.
    fn empty(&self, is_folder: bool) -> Result<OwnedFd> {
        let root = self.root()?;
        let name = match is_folder {
            true => {
                mkdirat(root, EMPTY_FOLDER, Mode::from_raw_mode(0o555))?;
                EMPTY_FOLDER
            }
            false => {
                files::create(root, EMPTY_FILE, 0o444, b"")?;
                EMPTY_FILE
            }
        };
        let source = openat2(root, name, PATH, Mode::empty(), ResolveFlags::BENEATH)?;
        let mount = clone_mount(source.as_fd(), false)?;
        restrict(mount.as_fd(), false, attribute_bits(Attributes::ALL))?;
        Ok(mount)
    }

    /// Makes what is at a path read-only. What is not there can't be written.
    pub(super) fn read_only(&mut self, path: &[u8]) -> Result<()> {
        if !self.has_proc {
            self.not_ahead()?;
        }
        let target = match self.find(path, PATH) {
            // It may be there when the launch comes.
            Err(Errno::NOENT) => return self.not_ahead(),
            target => target?,
        };
        let mount = clone_mount(target.as_fd(), true)?;
        restrict(mount.as_fd(), true, u64::from(raw::MOUNT_ATTR_RDONLY))?;
        attach(mount.as_fd(), target.as_fd())?;
        self.forget_folder();
        Ok(())
    }
}

fn mount_flags(attributes: Attributes) -> MountAttrFlags {
    MountAttrFlags::from_bits_retain(attribute_bits(attributes) as u32)
}

/// Sends a descriptor to the parent.
pub(super) fn send_progress(packet: &Progress, fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: pid 1 keeps the socket open under this number up to the fork.
    let socket = unsafe { BorrowedFd::borrow_raw(PROGRESS) };
    channel::send(socket, &packet.to_bytes(), &[fd], channel::Wait::Yes)
}
