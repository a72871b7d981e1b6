//! Attacks by the calls that mount, old and new, and by those that change the
//! root. What they name does not exist, or nothing comes of it.

use std::{ffi::CString, fs, path::PathBuf};

use crate::{
    Verdict, arch,
    kernel::{Arg, NOWHERE, Try, attempt, call_with, in_child, probe},
};

const HERE: i64 = libc::AT_FDCWD as i64;

/// `mount_by_old_calls`
pub(crate) fn mount_by_old_calls(_: &[String]) -> Verdict {
    const NO_FLAGS: i64 = 0x1000;
    Verdict::of_calls([
        // The kernel copies the type first.
        probe("mount", libc::SYS_mount, &[0, NOWHERE, NOWHERE, 0, 0]),
        probe("umount2", libc::SYS_umount2, &[NOWHERE, NO_FLAGS]),
    ])
}

/// `mount_by_new_calls`: `fsopen` and its like. A tree that is only opened, and
/// not cloned, is anybody's to have.
pub(crate) fn mount_by_new_calls(_: &[String]) -> Verdict {
    const SYS_OPEN_TREE_ATTR: i64 = 467;
    const NO_FLAGS: i64 = 0x0800_0000;
    const CONFIG_STRING: i64 = 1;
    Verdict::of_calls([
        attempt(
            "fsopen",
            libc::SYS_fsopen,
            &mut [Arg::Text(c"tmpfs"), Arg::Number(0)],
        ),
        probe(
            "fsconfig",
            libc::SYS_fsconfig,
            &[-1, CONFIG_STRING, 0, 0, 0],
        ),
        probe("fsmount", libc::SYS_fsmount, &[-1, 0, 0]),
        probe("fspick", libc::SYS_fspick, &[HERE, NOWHERE, 0]),
        attempt(
            "open_tree",
            libc::SYS_open_tree,
            &mut [Arg::Number(HERE), Arg::Text(c"/"), Arg::Number(0)],
        ),
        probe(
            "open_tree, flags",
            libc::SYS_open_tree,
            &[HERE, NOWHERE, NO_FLAGS],
        ),
        probe(
            "open_tree_attr",
            SYS_OPEN_TREE_ATTR,
            &[HERE, NOWHERE, NO_FLAGS, 0, 0],
        ),
        probe(
            "move_mount",
            libc::SYS_move_mount,
            &[-1, NOWHERE, -1, NOWHERE, 0],
        ),
        probe(
            "mount_setattr",
            libc::SYS_mount_setattr,
            &[HERE, NOWHERE, NO_FLAGS, NOWHERE, 32],
        ),
    ])
}

/// `change_root`: chroot(2) and pivot_root(2). A directory that it has open
/// and a root below it are how a task walks out of a root.
pub(crate) fn change_root(_: &[String]) -> Verdict {
    let below: PathBuf = std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from);
    let below = below.join("root");
    let prepared = fs::create_dir_all(&below);
    let path = CString::new(below.to_string_lossy().as_bytes()).expect("no NUL");
    let changed = prepared.and_then(|()| {
        in_child(|| {
            crate::kernel::call(libc::SYS_chroot, &mut [Arg::Text(&path)])?;
            for _ in 0..64 {
                call_with(libc::SYS_chdir, &[c"..".as_ptr() as i64])?;
            }
            Ok(())
        })
    });
    drop(fs::remove_dir(&below));
    let walked: Try = (
        "chroot and walk out".into(),
        changed.map(|()| "walked".into()),
    );
    Verdict::of_calls([
        probe("chroot", libc::SYS_chroot, &[NOWHERE]),
        walked,
        probe("pivot_root", libc::SYS_pivot_root, &[NOWHERE, NOWHERE]),
    ])
}

/// `make_devices`: a device of no driver, which is anybody's to make, in every
/// directory that can be written; and one without a name.
pub(crate) fn make_devices(args: &[String]) -> Verdict {
    let kinds = [("character", libc::S_IFCHR), ("block", libc::S_IFBLK)];
    let mut tries: Vec<Try> = Vec::new();
    for (name, kind) in kinds {
        let mode = i64::from(kind | 0o600);
        let device = 0x103;
        tries.push(probe(
            &format!("a {name} device"),
            libc::SYS_mknodat,
            &[HERE, NOWHERE, mode, device],
        ));
        tries.push(probe(
            &format!("a {name} device, an upper bit"),
            libc::SYS_mknodat,
            &[HERE, NOWHERE, mode | crate::kernel::UPPER, device],
        ));
        if let Some(mknod) = arch::MKNOD {
            let what = format!("a {name} device by mknod");
            tries.push(probe(&what, mknod, &[NOWHERE, mode, device]));
        }
    }
    for place in args {
        let path = PathBuf::from(place).join("made-device");
        let path = CString::new(path.to_string_lossy().as_bytes()).expect("no NUL");
        tries.push(attempt(
            &format!("no driver's, in {place}"),
            libc::SYS_mknodat,
            &mut [
                Arg::Number(HERE),
                Arg::Text(&path),
                Arg::Number((libc::S_IFCHR | 0o600).into()),
                Arg::Number(0),
            ],
        ));
    }
    Verdict::of_calls(tries)
}

/// `leave_cgroup`: the files by which a task is moved to another cgroup or has
/// a program run when one ends; and a mount of them.
pub(crate) fn leave_cgroup(_: &[String]) -> Verdict {
    let place = std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from);
    let place = place.join("cgroup");
    drop(fs::create_dir_all(&place));
    let target = CString::new(place.to_string_lossy().as_bytes()).expect("no NUL");
    let mut tries: Vec<Try> = [c"cgroup2", c"cgroup"]
        .map(|kind| {
            attempt(
                &format!("mount {}", kind.to_string_lossy()),
                libc::SYS_mount,
                &mut [
                    Arg::Text(kind),
                    Arg::Text(&target),
                    Arg::Text(kind),
                    Arg::Number(0),
                    Arg::Number(0),
                ],
            )
        })
        .into();
    for directory in [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified",
        "/proc/self/root/sys/fs/cgroup",
    ] {
        for file in [
            "cgroup.procs",
            "release_agent",
            "notify_on_release",
            "tasks",
        ] {
            let path = PathBuf::from(directory).join(file);
            let opened = fs::OpenOptions::new().write(true).open(&path);
            tries.push((
                path.display().to_string(),
                opened.map(|_| "opened for writing".into()),
            ));
        }
    }
    Verdict::of_tries(tries)
}
