//! Attacks on what a jar may see and change of the machine's files.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::symlink},
    path::{Path, PathBuf},
};

use crate::{
    Verdict,
    kernel::{Arg, Side, call, fork},
};

fn scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from)
}

fn peek(path: &Path) -> io::Result<String> {
    fs::read(path).map(|bytes| format!("read {} bytes of {}", bytes.len(), path.display()))
}

/// `read_file PATH…`: reads files that were not granted.
pub(crate) fn read_file(args: &[String]) -> Verdict {
    Verdict::of_tries(
        args.iter()
            .map(|path| (path.clone(), peek(Path::new(path)))),
    )
}

/// `write_file PATH`: changes, renames, removes or shadows a file outside.
pub(crate) fn write_file(args: &[String]) -> Verdict {
    let path = Path::new(&args[0]);
    let sibling = path.with_extension("planted");
    Verdict::of_tries([
        (
            "append".into(),
            OpenOptions::new()
                .append(true)
                .open(path)
                .and_then(|mut file| file.write_all(b"written by a guest"))
                .map(|()| "wrote".into()),
        ),
        (
            "truncate".into(),
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(path)
                .map(|_| "truncated".into()),
        ),
        (
            "plant".into(),
            fs::write(&sibling, "planted").map(|()| "planted".into()),
        ),
        (
            "rename".into(),
            fs::rename(path, &sibling).map(|()| "renamed".into()),
        ),
        (
            "remove".into(),
            fs::remove_file(path).map(|()| "removed".into()),
        ),
    ])
}

/// `walk_out PATH`: reaches a file outside by links and by `..`.
pub(crate) fn walk_out(args: &[String]) -> Verdict {
    let target = Path::new(&args[0]);
    let below = target.strip_prefix("/").unwrap_or(target);
    let here = scratch().join("walk");
    let dots = "../".repeat(40);
    let mut tries: Vec<(String, io::Result<String>)> = Vec::new();
    let mut attempt = |name: &str, result: io::Result<String>| tries.push((name.into(), result));

    attempt(
        "scratch",
        fs::create_dir_all(&here).and(Err(io::Error::other("made"))),
    );
    let link = here.join("link");
    attempt("symlink", symlink(target, &link).and_then(|()| peek(&link)));
    let root = here.join("root");
    attempt(
        "symlink to /",
        symlink("/", &root).and_then(|()| peek(&root.join(below))),
    );
    let climbing = here.join("climbing");
    attempt(
        "symlink with ..",
        symlink(Path::new(&dots).join(below), &climbing).and_then(|()| peek(&climbing)),
    );
    attempt(
        "hard link",
        fs::hard_link(target, here.join("hard")).and_then(|()| peek(&here.join("hard"))),
    );
    for base in [
        here.as_path(),
        Path::new("."),
        Path::new("/proc/self/cwd"),
        Path::new("/proc/self/root"),
        Path::new("/proc/1/cwd"),
        Path::new("/proc/1/root"),
        Path::new("/proc/thread-self/root"),
        Path::new("/dev/fd"),
    ] {
        attempt(
            &format!("{} and ..", base.display()),
            peek(&base.join(&dots).join(below)),
        );
        attempt(&base.display().to_string(), peek(&base.join(below)));
    }
    drop(fs::remove_dir_all(&here));
    Verdict::of_tries(tries)
}

/// `read_marked PATH MARKER…`: finds the machine's own text in a file whose
/// name the jar may have for a text of its own.
pub(crate) fn read_marked(args: &[String]) -> Verdict {
    match fs::read_to_string(&args[0]) {
        Err(error) => Verdict::Stopped(format!("{}: {error}", args[0])),
        Ok(text) => match args[1..].iter().find(|marker| text.contains(*marker)) {
            Some(marker) => Verdict::Escaped(format!("{} has {marker:?}", args[0])),
            None => Verdict::Stopped(format!("{} is the jar's own", args[0])),
        },
    }
}

/// `touch_program PATH…`: changes the file behind a running program. Writing
/// itself is refused for as long as it runs, even where nothing protects it,
/// so that the times of the file tell whether its mount may be written.
pub(crate) fn touch_program(args: &[String]) -> Verdict {
    Verdict::of_tries(args.iter().flat_map(|path| {
        let c_path = CString::new(path.as_str()).expect("no NUL");
        let touched = call(
            libc::SYS_utimensat,
            &mut [
                Arg::Number(libc::AT_FDCWD.into()),
                Arg::Text(&c_path),
                Arg::Number(0),
                Arg::Number(0),
            ],
        )
        .map(|_| "changed its times".to_owned());
        let written = OpenOptions::new()
            .write(true)
            .open(path)
            .map(|_| "opened for writing".to_owned());
        [
            (format!("touch {path}"), touched),
            (format!("write {path}"), written),
        ]
    }))
}

/// `open_for_writing PATH…`: only opens, so that nothing is changed where it can.
pub(crate) fn open_for_writing(args: &[String]) -> Verdict {
    Verdict::of_tries(args.iter().map(|path| {
        let opened = OpenOptions::new().write(true).open(path);
        (
            path.clone(),
            opened.map(|_| "opened for writing".to_owned()),
        )
    }))
}

/// `see_machine_root MAJOR:MINOR`: finds a mount of the whole file system of
/// the machine's root in the list of mounts.
pub(crate) fn see_machine_root(args: &[String]) -> Verdict {
    let mounts = match fs::read_to_string("/proc/self/mountinfo") {
        Ok(mounts) => mounts,
        Err(error) => return Verdict::Stopped(error.to_string()),
    };
    let found = mounts.lines().find(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        fields.get(2) == Some(&args[0].as_str()) && fields.get(3) == Some(&"/")
    });
    match found {
        Some(line) => Verdict::Escaped(line.to_owned()),
        None => Verdict::Stopped(format!("{} mounts, none of it", mounts.lines().count())),
    }
}

/// `open_by_handle PATH`: opens a file by its handle, past every mount point.
pub(crate) fn open_by_handle(args: &[String]) -> Verdict {
    let path = CString::new(args[0].as_str()).expect("no NUL");
    let mut handle = [0_u8; 8 + 128];
    handle[..4].copy_from_slice(&128_u32.to_ne_bytes());
    let mut mount = [0_u8; 4];
    let named = call(
        libc::SYS_name_to_handle_at,
        &mut [
            Arg::Number(libc::AT_FDCWD.into()),
            Arg::Text(&path),
            Arg::Out(&mut handle),
            Arg::Out(&mut mount),
            Arg::Number(0),
        ],
    );
    if let Err(error) = named {
        // Inode 2 is the root of an ext file system: a handle can be guessed.
        handle = [0_u8; 8 + 128];
        handle[..4].copy_from_slice(&8_u32.to_ne_bytes());
        handle[4..8].copy_from_slice(&1_u32.to_ne_bytes());
        handle[8..12].copy_from_slice(&2_u32.to_ne_bytes());
        eprintln!("handle guessed: {error}");
    }
    let base = fs::File::open("/").or_else(|_| fs::File::open("."));
    let Ok(base) = base else {
        return Verdict::Stopped("no directory to start from".into());
    };
    Verdict::of_tries([(
        "open_by_handle_at".into(),
        call(
            libc::SYS_open_by_handle_at,
            &mut [
                Arg::Number(base.as_raw_fd().into()),
                Arg::Out(&mut handle),
                Arg::Number(libc::O_RDONLY.into()),
            ],
        )
        .map(|_| "opened".into()),
    )])
}

/// `see_devices`: finds a device that no jar has, or makes one.
pub(crate) fn see_devices(_: &[String]) -> Verdict {
    const KNOWN: &[&str] = &[
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "fd", "stdin", "stdout",
        "stderr", "shm",
    ];
    let names: Vec<String> = match fs::read_dir("/dev") {
        Err(error) => return Verdict::Stopped(format!("/dev: {error}")),
        Ok(entries) => entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect(),
    };
    if let Some(name) = names.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        return Verdict::Escaped(format!("/dev/{name}"));
    }
    let made = CString::new(scratch().join("kmsg").to_string_lossy().as_bytes()).expect("no NUL");
    Verdict::of_tries([(
        format!("only {names:?}; mknod"),
        call(
            libc::SYS_mknodat,
            &mut [
                Arg::Number(libc::AT_FDCWD.into()),
                Arg::Text(&made),
                Arg::Number((libc::S_IFCHR | 0o666).into()),
                Arg::Number(0x10b),
            ],
        )
        .map(|_| "made a device".into()),
    )])
}

fn mount(source: &str, target: &str, kind: &str, flags: u64) -> io::Result<()> {
    let [source, target, kind] =
        [source, target, kind].map(|text| CString::new(text).expect("no NUL"));
    call(
        libc::SYS_mount,
        &mut [
            Arg::Text(&source),
            Arg::Text(&target),
            Arg::Text(&kind),
            Arg::Number(flags as i64),
            Arg::Number(0),
        ],
    )
    .map(drop)
}

fn unmount(target: &str) -> io::Result<()> {
    let target = CString::new(target).expect("no NUL");
    call(
        libc::SYS_umount2,
        &mut [Arg::Text(&target), Arg::Number(libc::MNT_DETACH.into())],
    )
    .map(drop)
}

/// Mount points of this process, the root left out.
fn mount_points() -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| *point != "/")
        .map(str::to_owned)
        .collect()
}

/// `change_mounts`: mounts, unmounts, remounts, changes the root.
pub(crate) fn change_mounts(_: &[String]) -> Verdict {
    let scratch = scratch();
    let scratch = scratch.to_string_lossy();
    let root = CString::new("/").expect("no NUL");
    let mut tries = vec![
        (
            "mount tmpfs".to_owned(),
            mount("tmpfs", &scratch, "tmpfs", 0).map(|()| "mounted".to_owned()),
        ),
        (
            "bind".into(),
            mount("/", &scratch, "", libc::MS_BIND).map(|()| "bound".into()),
        ),
        (
            "chroot".into(),
            call(libc::SYS_chroot, &mut [Arg::Text(&root)]).map(|_| "changed".into()),
        ),
        (
            "fsopen".into(),
            call(libc::SYS_fsopen, &mut [Arg::Text(c"tmpfs"), Arg::Number(0)])
                .map(|_| "opened".into()),
        ),
        (
            "open_tree".into(),
            call(
                libc::SYS_open_tree,
                &mut [
                    Arg::Number(libc::AT_FDCWD.into()),
                    Arg::Text(&root),
                    Arg::Number(1),
                ],
            )
            .map(|_| "cloned".into()),
        ),
    ];
    for point in mount_points() {
        tries.push((
            format!("unmount {point}"),
            unmount(&point).map(|()| "unmounted".into()),
        ));
        tries.push((
            format!("remount {point}"),
            mount("", &point, "", libc::MS_REMOUNT | libc::MS_BIND).map(|()| "remounted".into()),
        ));
    }
    Verdict::of_tries(tries)
}

/// `undo_mounts_in_new_namespace`: takes every capability in user and mount
/// namespaces of its own and takes off what hides or protects files.
pub(crate) fn undo_mounts_in_new_namespace(_: &[String]) -> Verdict {
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    if let Err(error) = call(libc::SYS_unshare, &mut [Arg::Number(flags.into())]) {
        return Verdict::Stopped(format!("unshare: {error}"));
    }
    let read_only: Vec<String> = fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| {
            fields
                .get(5)
                .is_some_and(|options| options.starts_with("ro"))
        })
        .filter_map(|fields| fields.get(4).map(|point| (*point).to_owned()))
        .collect();
    let mut tries = Vec::new();
    for point in &read_only {
        tries.push((
            format!("remount {point} for writing"),
            mount("", point, "", libc::MS_REMOUNT | libc::MS_BIND).map(|()| "remounted".into()),
        ));
    }
    for point in mount_points() {
        tries.push((
            format!("unmount {point}"),
            unmount(&point).map(|()| "unmounted".into()),
        ));
    }
    // A fresh /proc would have nothing hidden; it needs a child, for the new pid namespace.
    let proc = match fork() {
        Err(error) => Err(error),
        Ok(Side::Child) => {
            let target = scratch();
            let code = match mount("proc", &target.to_string_lossy(), "proc", 0) {
                Ok(()) => 0,
                Err(error) => error.raw_os_error().unwrap_or(255),
            };
            std::process::exit(code);
        }
        Ok(Side::Parent(pid)) => {
            let mut status = [0_u8; 4];
            let waited = call(
                libc::SYS_wait4,
                &mut [
                    Arg::Number(pid.into()),
                    Arg::Out(&mut status),
                    Arg::Number(0),
                    Arg::Number(0),
                ],
            );
            waited.and_then(|_| match i32::from_ne_bytes(status) >> 8 {
                0 => Ok("mounted".to_owned()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            })
        }
    };
    tries.push(("mount a fresh /proc".into(), proc));
    Verdict::of_tries(tries)
}
